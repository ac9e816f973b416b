"""`nemo up`: the whole platform, from nothing to the URL to open."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

from services.cli import keys, language_runtime, weights
from services.cli.embedded import EmbeddedMissing, EmbeddedPostgres, EmbeddedRedis
from services.cli.processes import Child, Supervisor, python
from shared.settings import SERVICE_PORTS, ServiceSettings

ORDER = ("gpu-coordinator", "rag", "emotion", "tts", "gemma", "transcription", "api-gateway")
READY_S = 300.0
"""For a machine that is busy; who ends again and again is not waited for."""
LEAST_DISK_BYTES = 1024**3
LOG_BYTES = 20 * 1024**2
"""A log this large is put aside (one old file is kept)."""
COLOURS = {
    "postgres": 36,
    "redis": 36,
    "api-gateway": 32,
    "rag": 35,
    "gemma": 33,
    "transcription": 34,
    "emotion": 31,
    "tts": 94,
}


class CannotStart(RuntimeError):
    """Something outside has to change first; the message says what and how."""


class Console:
    """Lines with the name of who wrote them: all in a log file each, on the terminal those that a person needs."""

    def __init__(self, folder: Path, *, verbose: bool) -> None:
        self._folder, self._verbose = folder, verbose
        self._colour = sys.stdout.isatty()

    def line(self, name: str, text: str) -> None:
        with suppress(OSError):  # a full disk stops the log, not the platform
            self._write(self._folder / f"{name}.log", text)
        if not (self._verbose or name == "nemo" or is_alarming(text)):
            return
        with suppress(OSError, ValueError):  # so does a terminal that went away
            print(self._painted(name, readable(text)), flush=True)

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")

    def last_words(self, name: str, lines: int = 8) -> str:
        with suppress(OSError), (self._folder / f"{name}.log").open(encoding="utf-8", errors="replace") as file:
            return "".join(deque(file, maxlen=lines)).rstrip()
        return ""

    def _painted(self, name: str, text: str) -> str:
        mark = f"{name:>16} | "
        return f"\x1b[{COLOURS.get(name, 37)}m{mark}\x1b[0m{text}" if self._colour else mark + text

    def say(self, text: str) -> None:
        self.line("nemo", text)


def readable(line: str) -> str:
    """A service's JSON line for human eyes; other lines as they are. The files keep the JSON."""
    told = _told(line)
    if told is None or "message" not in told:
        return line
    level, message = told.get("level", "INFO"), str(told["message"]).strip()
    more = " ".join(f"{name}={value}" for name, value in told.items() if name not in _PLAIN)
    return " ".join(part for part in ("" if level == "INFO" else level, message, more) if part)


def is_alarming(line: str) -> bool:
    """A service's warning or worse."""
    told = _told(line)
    return told is not None and told.get("level") in ("WARNING", "ERROR", "CRITICAL")


def _told(line: str) -> dict[str, Any] | None:
    """What a service wrote; None of a line that is no JSON object."""
    with suppress(ValueError):
        told = json.loads(line) if line.startswith("{") else None
        return told if isinstance(told, dict) else None
    return None


_PLAIN = frozenset(("time", "level", "service", "logger", "request_id", "message"))


class Platform:
    """The databases and services of one `nemo up`."""

    def __init__(self, settings: ServiceSettings, *, port: int, host: str, verbose: bool) -> None:
        self.data_dir = settings.data_dir.resolve()
        self._settings = settings
        self._port, self._host = port, host
        self._shift = port - SERVICE_PORTS["api-gateway"]
        self.console = Console(self.data_dir / "logs", verbose=verbose)
        self._supervisor = Supervisor(self.console.line)
        self._secrets = settings.secrets_folder.resolve()
        self._builder: asyncio.subprocess.Process | None = None

    def ports(self) -> dict[str, int]:
        return {name: port + self._shift for name, port in SERVICE_PORTS.items()}

    # -- before anything starts

    def check(self) -> None:
        """Raises CannotStart, UnsafeSecret or WrongWeights with the way out."""
        require_space(self.data_dir)
        for name, port in self.ports().items():
            self._require_port(name, self._host if name == "api-gateway" else "127.0.0.1", port)
        keys.ensure(self._secrets, self.data_dir)
        weights.require_usable(self._settings.models_dir)

    def _require_port(self, name: str, host: str, port: int) -> None:
        if not 0 < port < 65536:
            most = 65535 - max(SERVICE_PORTS.values()) + SERVICE_PORTS["api-gateway"]
            raise CannotStart(f"{name} would get port {port}; choose `--port` between 1 and {most}.")
        error = taken(host, port)
        if error == errno.EADDRINUSE:
            raise CannotStart(
                f"Port {port}, which {name} needs, is in use by another program{holder_of(port)}. Stop that program,"
                f" or shift all ports with `nemo up --port {self._port + 1000 if self._port < 60000 else 9000}`."
            )
        if error == errno.EACCES:
            raise CannotStart(f"Port {port} needs the rights of root; choose one above 1023 with `nemo up --port`.")
        if error:
            raise CannotStart(f"{host!r} is no address of this machine ({os.strerror(error)}); see `nemo up --host`.")

    # -- start

    async def start(self) -> None:
        began = time.monotonic()
        urls = await self._databases()
        children = [self._service(name, urls) for name in ORDER]
        first, *others = children  # the others ask the coordinator for work
        await self._begin(first)
        await self._until_ready(first)
        for child in others:
            await self._begin(child)
        for child in others:
            await self._until_ready(child)
        await self._language_runtime()
        self.console.say(f"all services are up after {time.monotonic() - began:.1f} s")
        self.console.say("")
        self.console.say(f"  Open  http://{self._shown_host()}:{self._port}")
        self.console.say("")
        self.console.say("  Ctrl-C stops everything.")

    def _shown_host(self) -> str:
        local = ("127.0.0.1", "0.0.0.0", "::", "::1")
        return "localhost" if self._host in local else f"[{self._host}]" if ":" in self._host else self._host

    async def _databases(self) -> dict[str, str]:
        urls = {}
        for name, variable, kind in (
            ("PostgreSQL", "DATABASE_URL", EmbeddedPostgres),
            ("Redis", "REDIS_URL", EmbeddedRedis),
        ):
            given = self._given(variable)
            if given:
                self.console.say(f"using your {name}")
                urls[variable] = given
                continue
            self.console.say(f"starting {name} (embedded)")
            secret = "postgres_password" if variable == "DATABASE_URL" else "redis_password"
            server = kind(self.data_dir, keys.value(self._secrets, secret))
            await server.prepare()
            child = server.child()
            await self._supervisor.start(child)
            await self._until_ready(child, 60)
            urls[variable] = server.url
        return urls

    def _given(self, variable: str) -> str | None:
        try:
            return self._settings.postgres_dsn() if variable == "DATABASE_URL" else self._settings.redis_dsn()
        except ValueError:
            return None

    def _service(self, name: str, urls: dict[str, str]) -> Child:
        port = self.ports()[name]

        async def ready() -> bool:
            return await asyncio.to_thread(answers, self._probe_host(name), port, "/live")

        return Child(name, python("-m", "services", "run", name), self._environment(name, urls), ready=ready)

    def _probe_host(self, name: str) -> str:
        wildcard = self._host in ("0.0.0.0", "::")
        return self._host if name == "api-gateway" and not wildcard else "127.0.0.1"

    def _environment(self, name: str, urls: dict[str, str]) -> dict[str, str]:
        """A service's own settings from ours, its own secrets, and where the others are."""
        prefix = name.upper().replace("-", "_")
        ours = {key: value for key, value in os.environ.items() if key.startswith(f"{prefix}_") or key in PASSED}
        stores = {key: url for key, url in urls.items() if key == "REDIS_URL" or name in keys.USES_POSTGRES}
        places = {
            f"{other.upper().replace('-', '_')}_URL": f"http://127.0.0.1:{p}" for other, p in self.ports().items()
        }
        return {
            **keys.of_service(name, self._secrets),
            **ours,
            **places,
            **stores,
            "DATA_DIR": str(self.data_dir),
            "SECRETS_DIR": str(self._secrets),
            "MODELS_DIR": str(self._settings.models_dir.resolve()),
            f"{prefix}_PORT": str(self.ports()[name]),
            f"{prefix}_HOST": self._host if name == "api-gateway" else "127.0.0.1",
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
        }

    async def _begin(self, child: Child) -> None:
        self.console.say(f"starting {child.name}")
        await self._supervisor.start(child)

    async def _until_ready(self, child: Child, wait_s: float = READY_S) -> None:
        if not await self._supervisor.wait_ready(child, wait_s):
            log = self.data_dir / "logs" / f"{child.name}.log"
            how = "ends again and again" if child.restarts else f"did not become ready within {wait_s:.0f} s"
            words = self.console.last_words(child.name)
            raise CannotStart(f"{child.name} {how}. Its last words, from {log}:\n{words}")
        self.console.say(f"{child.name} is ready")

    async def _language_runtime(self) -> None:
        """The one slow step goes on in the background; chat answers with quotations until it is done."""
        state = self.data_dir / "llama-build.json"
        if language_runtime.installed():
            state.write_text(json.dumps({"state": "ready", "percent": 100, "detail": ""}), encoding="utf-8")
            return
        self.console.say("building the language runtime in the background (once, some ten minutes of CPU);")
        self.console.say("until then chat answers with quotations. `nemo status` shows how far it is.")
        state.write_text(json.dumps({"state": "waiting", "percent": 0, "detail": ""}), encoding="utf-8")
        self._builder = await asyncio.create_subprocess_exec(
            *python("-m", "services.cli.language_runtime", str(state)),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )

    async def stop(self) -> None:
        self.console.say("stopping")
        if self._builder is not None and self._builder.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._builder.pid, signal.SIGTERM)
        await self._supervisor.stop()
        self.console.say("stopped")


PID_FILE = "nemo.pid"
RESTORING = ".restoring"
"""There while `nemo restore` moves files into a folder that cannot be exchanged as a whole."""
PASSED = (
    "LOG_LEVEL", "LOG_FORMAT", "SCRAPE_TOKEN", "SCRAPE_TOKEN_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT", "TRACE_SHARE",
    "ALLOWED_ORIGINS", "REGISTRATION", "TRUSTED_PROXIES", "TRANSCRIPTION_MODEL", "SPEAKER_MODEL", "EMOTION_MODEL",
    "EMBEDDING_MODEL", "LLM_MODEL", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def require_space(data_dir: Path) -> None:
    """Raises CannotStart where the data folder cannot be made or written, or is on a full disk."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (data_dir / RESTORING).exists():
            raise CannotStart(
                f"A restore into {data_dir} was interrupted. Run `nemo restore ARCHIVE --replace` again; what was there"
                " before it lies in the folder before-restore-* beside the data."
            )
        if shutil.disk_usage(data_dir).free < LEAST_DISK_BYTES:
            raise CannotStart(f"Less than 1 GiB is free below {data_dir}. Free some space, or set DATA_DIR.")
        with tempfile.TemporaryFile(dir=data_dir):
            pass
    except OSError as error:
        raise CannotStart(
            f"The data folder {data_dir} cannot be written ({error.strerror}). Give this user the right to, or set "
            "DATA_DIR to another folder."
        ) from error


def taken(host: str, port: int) -> int:
    """0 where one can listen there, else the error's number."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except socket.gaierror:
            return errno.EADDRNOTAVAIL
        except OSError as error:
            return error.errno or errno.EINVAL
    return 0


def holder_of(port: int) -> str:
    """` (python, process 42)` where this user may see who listens there."""
    listening = f":{port:04X}"
    with suppress(OSError):
        rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()]
        sockets = {
            f"socket:[{row[9]}]" for row in rows if len(row) > 9 and row[1].endswith(listening) and row[3] == "0A"
        }
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if any(str(each.readlink()) in sockets for each in (process / "fd").iterdir()):
                    return f" ({(process / 'comm').read_text().strip()}, process {process.name})"
    return ""


def answers(host: str, port: int, path: str) -> bool:
    shown = f"[{host}]" if ":" in host else host
    try:
        with directly.open(f"http://{shown}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, HTTPException):
        return False


directly = build_opener(ProxyHandler({}))
"""Our own services are never reached through the proxy that the environment may name."""


def running_pid(data_dir: Path) -> int | None:
    """The process of the `nemo up` that holds this data folder; a file that was left behind fools nobody."""
    try:
        with (data_dir / PID_FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return None


@contextmanager
def held(data_dir: Path, host: str, port: int) -> Iterator[None]:
    """One `nemo up` a data folder. Raises CannotStart for the second."""
    with (data_dir / PID_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = running_pid(data_dir)
            raise CannotStart(
                f"Nemo Server is already running on this data folder (process {pid}). See `nemo status`."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n{port}\n{host}\n")
        file.flush()
        yield
        file.truncate(0)


async def run(settings: ServiceSettings, *, port: int, host: str, verbose: bool) -> int:
    """Until Ctrl-C or SIGTERM. Answers the exit code."""
    platform = Platform(settings, port=port, host=host, verbose=verbose)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup nemo up` outlives its terminal
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        require_space(platform.data_dir)
        with held(platform.data_dir, host, port):
            platform.check()
            return await _until_stopped(platform, stop)
    except (CannotStart, keys.UnsafeSecret, weights.WrongWeights, EmbeddedMissing) as error:
        platform.console.say(f"cannot start: {error}")
        return 1


async def _until_stopped(platform: Platform, stop: asyncio.Event) -> int:
    starting = asyncio.ensure_future(platform.start())
    stopping = asyncio.ensure_future(stop.wait())
    code = 0
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            await stopping
    except (CannotStart, RuntimeError, OSError) as error:
        platform.console.say(f"cannot start: {error}")
        code = 1
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await platform.stop()
    return code
