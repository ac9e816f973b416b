"""Data of every schema that was ever released becomes today's, with every row as it was; newer data is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.api_gateway.repository import STEPS as USERS_STEPS
from services.api_gateway.repository import Accounts
from services.cli.backup import database, schemas
from services.rag.schema import STEPS
from services.rag.vaults import Vault
from shared.crypto.envelope import derive
from shared.errors import StorageFailed
from shared.storage import keyring, postgres, sqlcipher

KEY = bytes(range(32))
TEXT = "x"
"""One value for every text column, so that every reference finds its row."""


def tables(db: Any) -> list[str]:
    rows = db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()
    return [row[0] for row in rows if not row[0].startswith("chunk_text")]


def columns(db: Any, table: str) -> dict[str, str]:
    return {row["name"]: row["type"].upper() for row in db.execute(f"PRAGMA table_info({table})")}


def fill(db: Any) -> dict[str, dict[str, Any]]:
    """One row in every table."""
    db.execute("PRAGMA foreign_keys = OFF")
    made = {}
    for table in tables(db):
        values: dict[str, Any] = {
            name: {"TEXT": TEXT, "INTEGER": 1, "REAL": 0.5, "BLOB": b"\1\2\3\4"}[kind]
            for name, kind in columns(db, table).items()
        }
        if table == "user":
            values["role"] = "admin"
        marks = ", ".join("?" for _ in values)
        db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values()))
        made[table] = values
    assert not db.execute("PRAGMA foreign_key_check").fetchall()
    db.execute("PRAGMA foreign_keys = ON")
    return made


def shape(db: Any) -> set[tuple[str, str]]:
    """Tables with their columns, and indexes."""
    found = {(table, json.dumps(sorted(columns(db, table).items()))) for table in tables(db)}
    rows = db.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL")
    return found | {(row[0], row[1]) for row in rows}


@pytest.mark.parametrize("released", range(1, len(STEPS) + 1))
def test_a_vault_of_every_schema(tmp_path: Path, released: int) -> None:
    path = tmp_path / "old.db"
    db = sqlcipher.connect(path, KEY)
    sqlcipher.migrate(db, STEPS[:released])
    made = fill(db)
    db.close()
    vault = Vault(path, KEY, "a-model", 4)
    fresh = Vault(tmp_path / "fresh.db", KEY, "a-model", 4)
    assert vault.db.execute("PRAGMA user_version").fetchone()[0] == len(STEPS)
    assert shape(vault.db) == shape(fresh.db) and not vault.db.execute("PRAGMA foreign_key_check").fetchall()
    for table, values in made.items():
        rows = vault.db.execute(f"SELECT * FROM {table}").fetchall()  # triggers write rows of their own
        assert values in [{name: row[name] for name in values} for row in rows]
    found = vault.db.execute("SELECT rowid FROM chunk_text WHERE chunk_text MATCH ?", (TEXT,)).fetchall()
    assert len(found) == 1
    vault.close()
    fresh.close()


def test_a_vault_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    db = sqlcipher.connect(path, KEY)
    sqlcipher.migrate(db, (*STEPS, "CREATE TABLE future (x)"))
    db.close()
    with pytest.raises(StorageFailed, match="newer version"):
        Vault(path, KEY, "a-model", 4)
    db = sqlcipher.connect(path, KEY)
    assert db.execute("PRAGMA user_version").fetchone()[0] == len(STEPS) + 1
    db.close()


@pytest.mark.parametrize("released", range(1, len(USERS_STEPS) + 1))
def test_accounts_of_every_schema(tmp_path: Path, released: int) -> None:
    secret = "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU"
    db = sqlcipher.connect(tmp_path / "users.db", derive(secret, "nemo users database v1"))
    sqlcipher.migrate(db, USERS_STEPS[:released])
    made = fill(db)
    db.close()
    accounts = Accounts(tmp_path / "users.db", secret)
    for table, values in made.items():
        row = accounts.one(f"SELECT * FROM {table}")
        assert row is not None and {name: row[name] for name in values} == values
    accounts.close()


CHOSEN = {
    ("device", "kind"): "cpu", ("task", "task_class"): "background", ("holder", "desired"): "parked",
    ("holder", "observed"): "parked", ("task", "state"): "queued", ("recording", "status"): "queued",
}  # fmt: skip
PLAIN = {
    "text": "'x'", "integer": "1", "bigint": "1", "bytea": "'\\x01'", "jsonb": "'{}'", "boolean": "false",
    "timestamp with time zone": "'2026-01-02 03:04:05+00'", "double precision": "0.5", "ARRAY": "'{}'",
}  # fmt: skip


async def fill_postgres(connection: Any) -> dict[str, Any]:
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        " AND is_identity = 'NO' AND table_name <> 'schema_migration'"
    )
    made = {}
    for table in await database._in_order(connection, sorted({row["table_name"] for row in rows})):
        values = {
            row["column_name"]: f"'{CHOSEN[table, row['column_name']]}'"
            if (table, row["column_name"]) in CHOSEN
            else PLAIN[row["data_type"]]
            for row in rows
            if row["table_name"] == table
        }
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())}) RETURNING *"
        made[table] = dict(await connection.fetchrow(sql))
    return made


async def postgres_shape(connection: Any) -> set[tuple[Any, ...]]:
    rows = await connection.fetch(
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_schema = current_schema()"
    )
    indexes = await connection.fetch("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()")
    return {tuple(row) for row in rows} | {tuple(row) for row in indexes}


RELEASED = [
    (service, int(file.name[:3])) for service in ("gpu-coordinator", "transcription") for file in schemas.files(service)
]


@pytest.mark.parametrize(("service", "released"), RELEASED)
async def test_tables_of_every_schema(postgres_url: str, service: str, released: int) -> None:
    pool = await postgres.connect(postgres_url, max_size=1)
    async with pool.acquire() as connection:
        await postgres.apply(connection, service, schemas.files(service, released))
        made = await fill_postgres(connection)
        await postgres.apply(connection, service, schemas.files(service))
        for table, values in made.items():
            rows = await connection.fetch(f"SELECT * FROM {table}")  # triggers write rows of their own
            assert values in [{name: row[name] for name in values} for row in rows]
        upgraded = await postgres_shape(connection)
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        await postgres.apply(connection, service, schemas.files(service))
        assert await postgres_shape(connection) == upgraded
    await pool.close()


async def test_keys_of_the_first_schema(postgres_url: str) -> None:
    """The table before the columns of sealed vaults."""
    master = "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU"
    pool = await postgres.connect(postgres_url)
    await pool.execute(keyring.SCHEMA.split("ALTER")[0])
    older = keyring.seal(derive(master, "nemo data key wrapping v1"), KEY, b"usr_a")
    await pool.execute("INSERT INTO user_key (user_id, wrapped) VALUES ('usr_a', $1)", older)
    ring = keyring.PostgresKeyring(pool, master)
    await ring.prepare()
    assert await ring.data_key("usr_a") == KEY
    await pool.close()


async def test_tables_of_a_newer_version_are_left_alone(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await postgres.apply(connection, "transcription", schemas.files("transcription"))
    await connection.execute("INSERT INTO schema_migration VALUES ('transcription', 999)")
    await connection.close()
    pool = await postgres.connect(postgres_url)
    with pytest.raises(StorageFailed, match="newer version"):
        await postgres.migrate(pool, "transcription", schemas.FOLDERS["transcription"])
    await pool.close()
