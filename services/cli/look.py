"""`nemo status`, `nemo logs`, `nemo down`: how it is."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from pathlib import Path
from urllib.error import HTTPError

from services.cli import language_runtime
from services.cli.up import PID_FILE, directly, running_pid
from shared.settings import SERVICE_PORTS, ServiceSettings


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
