"""PostgreSQL out of and into archives: each table as COPY gives it, from one snapshot.

The tables are not described in the archive. Our own migrations make them, as far as the archive's schema goes, and the
rows go in as they were; so no program of PostgreSQL's has to fit the version of the server.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import asyncpg

from services.cli import keys, up
from services.cli.backup import Refused, schemas
from services.cli.embedded import DATABASE, POSTGRES_USER, EmbeddedPostgres
from services.cli.processes import Supervisor
from shared.settings import ServiceSettings
from shared.storage import keyring, postgres

DERIVED = ("schema_migration", "rag_vector", "memory_sample")
"""Made anew by migrations, from the vaults, by the passing of time."""
READY_S = 60.0
COPY_S = 3600.0


class Dump:
    """Tables of one moment."""

    def __init__(self) -> None:
        self.tables: dict[str, tuple[BinaryIO, int]] = {}
        """By name: a file at its beginning, and how many rows it holds."""
        self.columns: dict[str, list[str]] = {}
        self.sequences: dict[str, int] = {}
        self.schemas: dict[str, int] = {}
        self.owners: set[str] = set()
        """Users who have a key; what others have stored came later than this moment."""

    @property
    def about(self) -> dict[str, Any]:
        rows = {name: count for name, (_, count) in self.tables.items()}
        return {"columns": self.columns, "sequences": self.sequences, "rows": rows}


async def dump(url: str, folder: Path) -> Dump:
    """Into files without a name in `folder`. Raises Refused."""
    found = Dump()
    connection = await _connected(url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            found.schemas = await schema_versions(connection)
            for table in await _tables(connection):
                found.columns[table] = await _columns(connection, table)
                found.tables[table] = await _copied(connection, table, found.columns[table], folder)
            if "user_key" in found.tables:
                rows = await connection.fetch("SELECT user_id FROM user_key WHERE destroyed_at IS NULL")
                found.owners = {row["user_id"] for row in rows}
        # No snapshot holds sequences; later than the rows they can only be ahead of them.
        for row in await connection.fetch("SELECT sequencename, last_value FROM pg_sequences"):
            if row["last_value"] is not None:
                found.sequences[row["sequencename"]] = row["last_value"]
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Refused("PostgreSQL stopped answering while it was read. Nothing was written; try again.") from error
    finally:
        await connection.close()
    return found


async def _connected(url: str) -> Any:
    try:
        return await asyncpg.connect(url, timeout=10)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Refused("PostgreSQL does not answer. Start it, or see `nemo doctor`.") from error


async def schema_versions(connection: Any) -> dict[str, int]:
    """Of each service that has tables there."""
    if await connection.fetchval("SELECT to_regclass('schema_migration')") is None:
        return {}
    rows = await connection.fetch("SELECT service, max(version) AS version FROM schema_migration GROUP BY service")
    return {row["service"]: row["version"] for row in rows}


async def _tables(connection: Any) -> list[str]:
    rows = await connection.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL ($1) ORDER BY tablename",
        DERIVED,
    )
    return [row["tablename"] for row in rows]


async def _columns(connection: Any, table: str) -> list[str]:
    rows = await connection.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1"
        " AND is_generated = 'NEVER' ORDER BY ordinal_position",
        table,
    )
    return [row["column_name"] for row in rows]


async def _copied(connection: Any, table: str, columns: list[str], folder: Path) -> tuple[BinaryIO, int]:
    file = cast("BinaryIO", TemporaryFile(dir=folder))  # noqa: SIM115 - closed by whoever packs it
    status = await connection.copy_from_table(table, columns=columns, output=file, format="binary", timeout=COPY_S)
    file.seek(0)
    return file, int(status.split()[-1])


# -- and back


async def load(url: str, folder: Path, about: dict[str, Any], versions: dict[str, int], *, replace: bool) -> str | None:
    """All or nothing. What was there is kept under the answered name of a schema.

    Raises Refused where the database is in use, or holds data and `replace` was not said.
    """
    connection = await _connected(url)
    try:
        async with connection.transaction():
            aside = await _make_room(connection, replace=replace)
            for service, version in sorted(versions.items()):
                await postgres.apply(connection, service, schemas.files(service, version))
            if "user_key" in about["columns"]:
                await connection.execute(keyring.SCHEMA)
            for table in await _in_order(connection, list(about["columns"])):
                await _filled(connection, folder / f"{table}.copy", table, about)
            for name, value in about["sequences"].items():
                await connection.execute("SELECT setval(quote_ident($1)::regclass, $2)", name, value)
            return aside
    except (asyncpg.PostgresError, KeyError) as error:
        raise Refused(f"The database could not be restored ({error}). It is as it was before.") from error
    finally:
        await connection.close()


async def _make_room(connection: Any, *, replace: bool) -> str | None:
    if not await _tables(connection):
        return None
    if not replace:
        raise Refused(
            "The database holds data already. With `--replace` it is put aside and the backup takes its place."
        )
    others = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    if others:
        raise Refused(f"{others} connections use the database. Stop every service first, then run this again.")
    aside = f"before_restore_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}"
    await connection.execute(f"ALTER SCHEMA public RENAME TO {aside}")
    await connection.execute("CREATE SCHEMA public")
    if await connection.fetchval("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        await connection.execute("ALTER EXTENSION vector SET SCHEMA public")
    return aside


async def _in_order(connection: Any, tables: list[str]) -> list[str]:
    """Those that others refer to first."""
    rows = await connection.fetch(
        "SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent FROM pg_constraint"
        " WHERE contype = 'f' AND conrelid <> confrelid"
    )
    needs = {table: {row["parent"] for row in rows if row["child"] == table} for table in tables}
    done: list[str] = []
    while needs:
        ready = sorted(table for table, parents in needs.items() if not parents & set(needs))
        if not ready:
            raise Refused("The tables of this version refer to each other in a circle; nothing was restored.")
        done += ready
        needs = {table: parents for table, parents in needs.items() if table not in ready}
    return done


async def _filled(connection: Any, path: Path, table: str, about: dict[str, Any]) -> None:
    with path.open("rb") as file:
        status = await connection.copy_to_table(
            table, source=file, columns=about["columns"][table], format="binary", timeout=COPY_S
        )
    if int(status.split()[-1]) != about["rows"][table]:
        raise Refused(f"The table {table} came back with another number of rows; nothing was restored.")


# -- where it is


@asynccontextmanager
async def reached(settings: ServiceSettings) -> AsyncIterator[str]:
    """URL of the database: the operator's own, the embedded one that runs, or started for as long as it takes."""
    if settings.database_url or settings.postgres_host:
        yield settings.postgres_dsn()
        return
    data_dir = settings.data_dir.resolve()
    password = keys.value(settings.secrets_folder, "postgres_password")
    if up.running_pid(data_dir) is not None:
        yield running_url(data_dir, password)
        return
    with up.held(data_dir, "backup", 0):
        async with started(data_dir, password) as url:
            yield url


def running_url(data_dir: Path, password: str) -> str:
    with suppress(OSError, IndexError, ValueError):
        lines = (data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return f"postgresql://{POSTGRES_USER}:{quote(password, safe='')}@127.0.0.1:{int(lines[3])}/{DATABASE}"
    raise Refused("The platform is just starting or stopping. Try again in a minute.")


@asynccontextmanager
async def started(data_dir: Path, password: str) -> AsyncIterator[str]:
    """The embedded server of this folder, made where there is none."""
    server = EmbeddedPostgres(data_dir, password)
    await server.prepare()
    supervisor, child = Supervisor(lambda _name, _line: None), server.child()
    try:
        await supervisor.start(child)
        if not await supervisor.wait_ready(child, READY_S):
            raise Refused("PostgreSQL did not start; see `nemo doctor`.")
        yield server.url
    finally:
        await supervisor.stop()
