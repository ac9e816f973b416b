"""The platform in containers: up, looked at, one killed, down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import time
from pathlib import Path
from typing import Any

from containers.engine import BASE, ROOT, Engine, run, say

OWNER = 10001
SERVICES = (
    "api-gateway",
    "gemma",
    "gpu-coordinator",
    "transcription",
    "rag",
    "emotion",
    "tts",
    "postgres",
    "redis",
    "backup",
)
HEALTHY_S = 600.0
CODE = re.compile(r"[0-9A-Z]{4}(-[0-9A-Z]{4}){7}")


class Stack:
    """One `docker-compose up` with secrets, volumes and a port of its own."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.secrets, self.backups = engine, folder / "secrets", folder / "backups"
        self.project = f"nemo-test-{os.getpid()}"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._containers: dict[str, str] = {}
        self._environment = engine.environment | {
            "NEMO_SECRETS": str(self.secrets),
            "NEMO_ENV_FILE": str(folder / "env"),
            "NEMO_MODELS": str(_seed(folder)),
            "NEMO_PORT": str(self.port),
            "NEMO_BASE": BASE,
            "NEMO_UID": str(OWNER),
            "NEMO_GID": str(OWNER),
            "NEMO_BACKUPS": str(self.backups),
        }
        self.secrets.mkdir(mode=0o700)
        self.backups.mkdir(mode=0o700)
        os.chown(self.backups, OWNER, OWNER)

    def make_secrets(self) -> None:
        run(str(ROOT / "docker/secrets/generate_secrets.sh"), environment=self._environment)

    def begin_backups(self) -> None:
        """The recovery code, as the operator sees it, goes into a file beside the archives, as none should."""
        told = run(str(ROOT / "docker/secrets/generate_secrets.sh"), "--backups", environment=self._environment)
        code = self.backups / "code"
        code.write_text(next(line.strip() for line in told.splitlines() if CODE.fullmatch(line.strip())))
        os.chown(code, OWNER, OWNER)

    def archives(self) -> list[str]:
        return sorted(each.name for each in self.backups.glob("nemo-*.nemo"))

    def restore(self, archive: str) -> str:
        """With everything stopped but PostgreSQL; what the operator is told."""
        self.compose("stop")
        self.compose("start", "postgres")
        self.until_healthy("postgres")
        command = ("nemo", "restore", f"/backups/{archive}", "--replace", "--key-file", "/backups/code")
        return self.compose("run", "--rm", "backup", *command)

    def compose(self, *arguments: str, check: bool = True) -> str:
        program = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
        file = str(ROOT / "docker/compose.yaml")
        return run(*program, "-p", self.project, "-f", file, *arguments, environment=self._environment, check=check)

    def up(self) -> float:
        """Seconds until all are healthy."""
        began = time.monotonic()
        self.compose("up", "-d", "--no-build")
        for name in SERVICES:
            self.until_healthy(name)
        return time.monotonic() - began

    def container(self, service: str) -> str:
        """Its id, running or stopped. Not by compose, which takes seconds to say it."""
        if service not in self._containers:
            labels = (f"project={self.project}", f"service={service}")
            filters = [part for label in labels for part in ("--filter", f"label=com.docker.compose.{label}")]
            self._containers[service] = self.engine.docker("ps", "-aq", *filters).strip()
        return self._containers[service]

    def look(self, service: str) -> dict[str, Any]:
        """What the engine knows of its container."""
        found: dict[str, Any] = json.loads(self.engine.docker("inspect", self.container(service)))[0]
        return found

    def until_healthy(self, service: str, wait_s: float = HEALTHY_S) -> None:
        deadline = time.monotonic() + wait_s
        identity = self.container(service)
        while (state := self._health(identity)) != "healthy":
            if time.monotonic() > deadline:
                words = self.engine.docker("logs", "--tail", "20", identity, check=False)
                raise RuntimeError(f"{service} is {state} after {wait_s:.0f} s\n{words}")
            time.sleep(0.5)

    def _health(self, identity: str) -> str:
        return self.engine.docker("inspect", "--format", "{{.State.Health.Status}}", identity).strip()

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        return self.engine.docker("exec", self.container(service), *command, check=check, limit_s=60)

    def python(self, service: str, program: str, check: bool = True) -> str:
        return self.inside(service, "python3", "-c", program, check=check)

    def kill(self, service: str) -> float:
        """SIGKILL to its first process, as a crash would be; seconds until it is back and healthy."""
        before = self.look(service)
        began = time.monotonic()
        os.kill(before["State"]["Pid"], signal.SIGKILL)  # `docker kill` would count as the operator's wish
        while self.look(service)["RestartCount"] == before["RestartCount"]:
            if time.monotonic() > began + 60:
                raise RuntimeError(f"{service} was killed and is not started again")
            time.sleep(0.2)
        self.until_healthy(service)
        return time.monotonic() - began

    def stop(self) -> dict[str, int]:
        """Stopped by the operator; answers the exit codes, 137 where one had to be killed."""
        self.compose("stop")
        return {name: int(self.look(name)["State"]["ExitCode"]) for name in SERVICES}

    def memory_mib(self) -> dict[str, float]:
        """Memory of each container without its page cache, as the engine counts it."""
        lines = self.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
        found = {}
        for line in lines:
            name, used = line.split()[:2]
            if name.startswith(self.project):
                found[name.removeprefix(f"{self.project}_").removesuffix("_1")] = _mib(used)
        return found

    def down(self) -> None:
        say("taking it down")
        self.compose("down", "-v", "--remove-orphans", check=False)
        left = self.engine.docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()
        if left:
            raise RuntimeError(f"containers are left: {left}")


def _mib(text: str) -> float:
    for unit, factor in (("GiB", 1024.0), ("MiB", 1.0), ("KiB", 1 / 1024), ("B", 1 / 1024**2)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


def _seed(folder: Path) -> Path:
    """The weights of the checkout as plain files: a link would lead nowhere inside a container."""
    target = folder / "models"
    shutil.copytree(ROOT / "models", target, symlinks=False, copy_function=_linked)
    return target


def _linked(source: str, target: str) -> None:
    try:
        os.link(Path(source).resolve(), target)
    except OSError:
        shutil.copy(source, target)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
