"""`nemo`: up, down, status, gpu, logs, doctor, demo, models, run, users, rekey."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from importlib import import_module

from shared.settings import SERVICE_PORTS, ServiceSettings


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except (OSError, ValueError, RuntimeError) as error:  # wrong settings, secrets, folders: a line, not a traceback
        if sys.flags.dev_mode:
            raise
        print(f"!!  {error}", file=sys.stderr)
        return 1
    return code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="nemo", description="A private memory for what you hear and say.")
    commands = top.add_subparsers(required=True, metavar="command")

    up = commands.add_parser("up", help="start the whole platform; Ctrl-C stops it")
    up.add_argument("--port", type=int, default=8000, help="port of the web page; the services follow it (8000)")
    up.add_argument("--host", default="127.0.0.1", help="address of the web page; 0.0.0.0 opens it to the network")
    up.add_argument("--verbose", action="store_true", help="show every line of the services' logs, not only warnings")
    up.set_defaults(run=_up)

    commands.add_parser("down", help="stop it").set_defaults(run=_down)
    commands.add_parser("status", help="how each service is").set_defaults(run=_status)
    gpu = commands.add_parser("gpu", help="who holds the memory of the GPU (or the host), live; Ctrl-C ends it")
    gpu.add_argument("--once", action="store_true", help="print one picture and end")
    gpu.set_defaults(run=_gpu)
    commands.add_parser("doctor", help="what is wrong and what to do").set_defaults(run=_doctor)

    logs = commands.add_parser("logs", help="what the services wrote")
    logs.add_argument("service", nargs="?", choices=[*SERVICE_PORTS, "nemo"])
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--lines", type=int, default=50)
    logs.set_defaults(run=_logs)

    demo = commands.add_parser("demo", help="load a demo conversation and ask about it")
    demo.add_argument("--user", default="demo", help="account to load it into; made where it does not exist (demo)")
    demo.add_argument("--password", help="asked for when it is not given")
    demo.set_defaults(run=_demo)

    models = commands.add_parser("models", help="the weights: list, pull, verify")
    models.add_argument("what", choices=["list", "pull", "verify"])
    models.add_argument("names", nargs="*", help="which ones; for pull, the embedded ones when none is named")
    models.set_defaults(run=_models)

    run = commands.add_parser("run", help="run one service in the foreground (what containers do)")
    run.add_argument("service", choices=list(SERVICE_PORTS))
    run.set_defaults(run=_run)

    users = commands.add_parser("users", help="list, add, or set a password, from this machine")
    users.add_argument("what", choices=["list", "add", "set-password"])
    users.add_argument("username", nargs="?")
    users.set_defaults(run=_users)
    rekey = commands.add_parser("rekey", help="a new master key for all users' keys; stop the platform first")
    rekey.set_defaults(run=_rekey)
    commands.add_parser("openapi", help="the public API as an OpenAPI document").set_defaults(run=_openapi)
    return top


def _up(arguments: argparse.Namespace) -> int:
    from services.cli import up

    settings = ServiceSettings()
    return asyncio.run(up.run(settings, port=arguments.port, host=arguments.host, verbose=arguments.verbose))


def _down(arguments: argparse.Namespace) -> int:
    from services.cli import look

    return look.down(ServiceSettings())


def _status(arguments: argparse.Namespace) -> int:
    from services.cli import look

    return look.status(ServiceSettings())


def _gpu(arguments: argparse.Namespace) -> int:
    from services.cli import gpu

    return gpu.run(ServiceSettings(), once=arguments.once)


def _doctor(arguments: argparse.Namespace) -> int:
    from services.cli import look

    return look.doctor(ServiceSettings())


def _logs(arguments: argparse.Namespace) -> int:
    from services.cli import look

    return look.logs(ServiceSettings(), arguments.service, follow=arguments.follow, lines=arguments.lines)


def _demo(arguments: argparse.Namespace) -> int:
    from services.cli import demo

    return demo.run(ServiceSettings(), arguments.user, arguments.password)


def _models(arguments: argparse.Namespace) -> int:
    from services.cli import models

    return models.run(ServiceSettings(), arguments.what, arguments.names)


def _openapi(arguments: argparse.Namespace) -> int:
    from services.api_gateway.app import create_app

    print(json.dumps(create_app().openapi(), indent=1, sort_keys=True))
    return 0


def _users(arguments: argparse.Namespace) -> int:
    from services.cli import users

    return asyncio.run(users.run(arguments.what, arguments.username))


def _rekey(arguments: argparse.Namespace) -> int:
    from services.cli import rekey

    return asyncio.run(rekey.run(ServiceSettings()))


def _run(arguments: argparse.Namespace) -> int:
    """One service by uvicorn; the same line in `nemo up` and in a container."""
    import uvicorn

    from services.cli.bounded_http import BoundedHttp
    from shared.clients import SOCKET_BYTES

    package = f"services.{arguments.service.replace('-', '_')}"
    settings = import_module(f"{package}.settings").Settings()
    app = import_module(f"{package}.app").create_app(settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port_of(arguments.service),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=8,
        timeout_keep_alive=30,
        ws_max_size=SOCKET_BYTES,
        ws_per_message_deflate=False,
        http=BoundedHttp,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
