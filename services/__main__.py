"""`nemo`: up, down, status, gpu, logs, doctor, demo, models, run, users, rekey, rotate, backup, restore, and so on."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

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
    doctor = commands.add_parser("doctor", help="what is wrong, why that matters, and what to do")
    doctor.add_argument("--json", action="store_true", help="as a list for scripts")
    doctor.set_defaults(run=_doctor)

    logs = commands.add_parser("logs", help="what the services wrote")
    logs.add_argument("service", nargs="?", choices=[*SERVICE_PORTS, "postgres", "redis", "nemo", "llama-build"])
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
    rotate = commands.add_parser("rotate", help="a new secret in place of the old: jwt while it runs, others while not")
    rotate.add_argument("what", choices=["jwt", "postgres", "redis", "services"])
    rotate.set_defaults(run=_rotate)
    _add_backup(commands)
    commands.add_parser("openapi", help="the public API as an OpenAPI document").set_defaults(run=_openapi)
    return top


def _add_backup(commands: Any) -> None:
    backup = commands.add_parser("backup", help="everything into one encrypted file, also while the platform runs")
    backup.add_argument("--to", type=Path, metavar="FOLDER", help="where archives lie; else BACKUP_DIR")
    backup.add_argument("--keep", type=_at_least_one, metavar="N", help="remove the oldest archives beyond N")
    instead = backup.add_mutually_exclusive_group()
    instead.add_argument(
        "--every", type=_hours, metavar="HOURS", help="stay, and make one so many hours after the last"
    )
    instead.add_argument("--init", action="store_true", help="make the recovery code of the backups; shown once")
    instead.add_argument("--verify", type=Path, metavar="ARCHIVE", help="read an archive to its end and compare")
    instead.add_argument(
        "--drill", type=Path, nargs="?", const=Path(), metavar="ARCHIVE", help="restore into a folder that goes away"
    )
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="an archive into an empty data folder; stop the platform first")
    restore.add_argument("archive", type=Path)
    restore.add_argument("--to", type=Path, metavar="DATA_DIR", help="another data folder than DATA_DIR")
    restore.add_argument("--replace", action="store_true", help="put what is there aside; it can be put back")
    restore.add_argument("--with-deleted", action="store_true", help="also what was deleted since the backup")
    restore.set_defaults(run=_restore)
    for each in (backup, restore):
        each.add_argument("--key-file", type=Path, metavar="FILE", help="holds the recovery code; else it is asked for")
    check = commands.add_parser("upgrade-check", help="what this version would change, and whether that can be undone")
    check.set_defaults(run=_upgrade_check)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _hours(text: str) -> timedelta:
    number = float(text)
    if not 0 < number <= 24 * 365:
        raise argparse.ArgumentTypeError("hours, more than 0 and at most a year")
    return timedelta(hours=number)


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
    from services.cli.doctor import commands

    return commands.run(ServiceSettings(), as_json=arguments.json)


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


def _rotate(arguments: argparse.Namespace) -> int:
    from services.cli import rotate

    return rotate.run(ServiceSettings(), arguments.what)


def _backup(arguments: argparse.Namespace) -> int:
    from services.cli.backup import commands

    settings, key_file = ServiceSettings(), arguments.key_file
    if arguments.init:
        return commands.init(settings, key_file)
    if arguments.verify:
        return commands.verify(settings, arguments.verify, key_file)
    if arguments.drill:
        named = arguments.drill if arguments.drill != Path() else None
        return asyncio.run(commands.practise(settings, named, key_file))
    if arguments.every:
        from services.cli.backup import schedule

        return schedule.run(settings, arguments.to, arguments.keep, arguments.every)
    return asyncio.run(commands.backup(settings, arguments.to, arguments.keep))


def _restore(arguments: argparse.Namespace) -> int:
    from services.cli.backup import commands

    given = (arguments.archive, arguments.to, arguments.key_file)
    work = commands.bring_back(ServiceSettings(), *given, replace=arguments.replace, deleted=arguments.with_deleted)
    return asyncio.run(work)


def _upgrade_check(arguments: argparse.Namespace) -> int:
    from services.cli.backup import upgrade

    return asyncio.run(upgrade.run(ServiceSettings()))


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
