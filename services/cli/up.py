"""`nemo up`: the whole platform, from nothing to the URL to open."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from services.cli import keys, language_runtime, weights
from services.cli.embedded import EmbeddedPostgres, EmbeddedRedis
from services.cli.processes import Child, Supervisor, python
from shared.settings import SERVICE_PORTS, ServiceSettings

ORDER = ("gpu-coordinator", "rag", "emotion", "gemma", "transcription", "api-gateway")
READY_S = 120.0
LEAST_DISK_BYTES = 1024**3
COLOURS = {"postgres": 36, "redis": 36, "api-gateway": 32, "rag": 35, "gemma": 33, "transcription": 34, "emotion": 31}


class CannotStart(RuntimeError):
    """Something outside has to change first; the message says what and how."""


class Console:
    """Lines with the name of who wrote them, on the terminal and in one log file a process."""

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._quiet = folder, quiet
        self._colour = sys.stdout.isatty()
        self._files = {name: (folder / f"{name}.log").open("a", encoding="utf-8") for name in (*ORDER, "nemo")}

    def line(self, name: str, text: str) -> None:
        file = self._files.get(name) or self._files["nemo"]
        file.write(text + "\n")
        file.flush()
        if self._quiet and name != "nemo":
            return
        with suppress(BrokenPipeError):
            print(self._painted(name, text), flush=True)

    def _painted(self, name: str, text: str) -> str:
        mark = f"{name:>16} | "
        return f"\x1b[{COLOURS.get(name, 37)}m{mark}\x1b[0m{text}" if self._colour else mark + text

    def say(self, text: str) -> None:
        self.line("nemo", text)


class Platform:
    """The databases and services of one `nemo up`."""

    def __init__(self, settings: ServiceSettings, *, port: int, host: str, quiet: bool) -> None:
        self.data_dir = settings.data_dir.resolve()
        self._settings = settings
        self._port, self._host = port, host
        self._shift = port - SERVICE_PORTS["api-gateway"]
        self.console = Console(self.data_dir / "logs", quiet=quiet)
        self._supervisor = Supervisor(self.console.line)
        self._secrets = settings.secrets_folder.resolve()
        self._builder: asyncio.subprocess.Process | None = None

    def ports(self) -> dict[str, int]:
        return {name: port + self._shift for name, port in SERVICE_PORTS.items()}

    # -- before anything starts

    def check(self) -> None:
        """Raises CannotStart, UnsafeSecret or WrongWeights with the way out."""
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self.data_dir).free < LEAST_DISK_BYTES:
            raise CannotStart(f"Less than 1 GiB is free below {self.data_dir}. Free some space, or set DATA_DIR.")
        self._refuse_second()
        for name, port in self.ports().items():
            if taken(self._host if name == "api-gateway" else "127.0.0.1", port):
                raise CannotStart(
                    f"Port {port}, which {name} needs, is in use by another program. Stop that program, or shift all"
                    f" ports with `nemo up --port {self._port + 1000}`."
                )
        keys.ensure(self._secrets)
        weights.require_embedded(self._settings.models_dir)

    def _refuse_second(self) -> None:
        pid = running_pid(self.data_dir)
        if pid is not None:
            raise CannotStart(f"Nemo Server is already running on this data folder (process {pid}). See `nemo status`.")

    # -- start

    async def start(self) -> None:
        began = time.monotonic()
        (self.data_dir / "nemo.pid").write_text(f"{os.getpid()}\n{self._port}\n", encoding="utf-8")
        urls = await self._databases()
        children = [self._service(name, urls) for name in ORDER]
        for child in children:
            self.console.say(f"starting {child.name}")
            await self._supervisor.start(child)
            if child.name == "gpu-coordinator":  # the others ask it for work
                await self._until_ready(child)
        for child in children:
            await self._until_ready(child)
        await self._language_runtime()
        self.console.say(f"all services are up after {time.monotonic() - began:.1f} s")
        self.console.say("")
        self.console.say(f"  Open  http://{self._shown_host()}:{self._port}")
        self.console.say("")
        self.console.say("  Ctrl-C stops everything.")

    def _shown_host(self) -> str:
        return "localhost" if self._host in ("127.0.0.1", "0.0.0.0", "::", "::1") else self._host

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
            server = kind(self.data_dir, keys.read(self._secrets, secret))
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
        secrets = {
            key.upper(): keys.read(self._secrets, key)
            for key in keys.BELONGS.get(name, ())
            if (self._secrets / key).is_file()
        }
        given = {key: os.environ[key] for key in secrets if key in os.environ}
        places = {
            f"{other.upper().replace('-', '_')}_URL": f"http://127.0.0.1:{p}" for other, p in self.ports().items()
        }
        return {
            **secrets,
            **given,
            **ours,
            **places,
            **urls,
            "DATA_DIR": str(self.data_dir),
            "SECRETS_DIR": str(self._secrets),
            "MODELS_DIR": str(self._settings.models_dir.resolve()),
            f"{prefix}_PORT": str(self.ports()[name]),
            f"{prefix}_HOST": self._host if name == "api-gateway" else "127.0.0.1",
            "OMP_WAIT_POLICY": "passive",
            "HF_HUB_OFFLINE": "1",
        }

    async def _until_ready(self, child: Child, wait_s: float = READY_S) -> None:
        if not await self._supervisor.wait_ready(child, wait_s):
            log = self.data_dir / "logs" / f"{child.name}.log"
            raise CannotStart(f"{child.name} did not become ready within {wait_s:.0f} s; its last words are in {log}.")
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
        (self.data_dir / "nemo.pid").unlink(missing_ok=True)
        self.console.say("stopped")


PASSED = (
    "LOG_LEVEL", "ALLOWED_ORIGINS", "REGISTRATION", "TRANSCRIPTION_MODEL", "SPEAKER_MODEL", "EMOTION_MODEL",
    "EMBEDDING_MODEL", "LLM_MODEL", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def answers(host: str, port: int, path: str) -> bool:
    try:
        with urlopen(f"http://{host}:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def running_pid(data_dir: Path) -> int | None:
    """The process of the `nemo up` that uses this data folder, where there is one."""
    try:
        pid = int((data_dir / "nemo.pid").read_text(encoding="utf-8").split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if b"services" in command or b"nemo" in command else None


async def run(settings: ServiceSettings, *, port: int, host: str, quiet: bool) -> int:
    """Until Ctrl-C or SIGTERM. Answers the exit code."""
    platform = Platform(settings, port=port, host=host, quiet=quiet)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        platform.check()
    except (CannotStart, keys.UnsafeSecret, weights.WrongWeights) as error:
        platform.console.say(f"cannot start: {error}")
        return 1
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
