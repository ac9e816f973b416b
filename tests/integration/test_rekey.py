"""`nemo rekey` as an operator runs it, killed at any moment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.cli import keys
from shared.storage import postgres
from shared.storage.keyring import PostgresKeyring
from tests.conftest import ROOT

USERS = [f"usr_{number:03}" for number in range(150)]


def environment(data: Path, database: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "DATA_DIR": str(data), "DATABASE_URL": database}


def rekey(data: Path, database: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "services", "rekey"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(data, database), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


async def test_killed_anywhere_every_key_opens_and_the_next_run_ends_it(tmp_path: Path, postgres_url: str) -> None:
    data, folder = tmp_path, tmp_path / "secrets"
    keys.ensure(folder, data)
    first = keys.value(folder, "rag_db_key")
    pool = await postgres.connect(postgres_url)
    ring = PostgresKeyring(pool, first)
    await ring.prepare()
    known = {user: await ring.data_key(user) for user in USERS}

    async def opened() -> dict[str, bytes]:
        """By the keys that the services would be given now."""
        given = keys.of_service("rag", folder)
        now = PostgresKeyring(pool, given["RAG_DB_KEY"], given.get("RAG_DB_KEY_PREVIOUS"))
        return {user: await now.data_key(user) for user in USERS}

    done = 0
    process = rekey(data, postgres_url)
    try:
        deadline = time.monotonic() + 60
        while done < 3:
            assert time.monotonic() < deadline and process.poll() is None
            done = await pool.fetchval("SELECT count(*) FROM user_key WHERE version > 0")
            await asyncio.sleep(0)
    finally:
        process.kill()
        process.wait(10)
    assert (folder / "rag_db_key_previous").read_text() == first and await opened() == known
    again = rekey(data, postgres_url)
    said, _ = await asyncio.to_thread(again.communicate, timeout=90)
    assert again.returncode == 0 and "none needs the old one" in said
    second = keys.value(folder, "rag_db_key")
    assert second != first and not (folder / "rag_db_key_previous").exists() and await opened() == known
    assert {user: await PostgresKeyring(pool, second).data_key(user) for user in USERS} == known
    assert first not in said and second not in said
    await pool.close()


@pytest.mark.parametrize("killed_after", ["the old key was put aside", "the new key was written"])
def test_the_files_are_whole_at_every_step(tmp_path: Path, killed_after: str) -> None:
    folder = tmp_path / "secrets"
    keys.ensure(folder, tmp_path)
    first = keys.value(folder, "rag_db_key")
    if killed_after == "the old key was put aside":
        (folder / "rag_db_key_previous").write_text(first)
    else:
        keys.begin_rekey(folder)
    keys.begin_rekey(folder)
    second = keys.value(folder, "rag_db_key")
    assert (folder / "rag_db_key_previous").read_text() == first != second
    keys.begin_rekey(folder)
    assert keys.value(folder, "rag_db_key") == second
    for service in ("api-gateway", "rag", "transcription"):
        assert keys.of_service(service, folder)["RAG_DB_KEY_PREVIOUS"] == first
    assert "RAG_DB_KEY_PREVIOUS" not in keys.of_service("gemma", folder)
    keys.end_rekey(folder)
    assert "RAG_DB_KEY_PREVIOUS" not in keys.of_service("rag", folder)


def test_a_key_of_the_operators_own_needs_the_one_before(tmp_path: Path) -> None:
    given = environment(tmp_path, "postgresql://nobody@127.0.0.1:1/none") | {
        "RAG_DB_KEY": "k3J9-xQ7v_R2mZ8wLp5tYb1nHc6dFg4s0AeU"
    }
    found = subprocess.run(
        [sys.executable, "-m", "services", "rekey"], cwd=ROOT, env=given, text=True, capture_output=True, check=False
    )
    assert found.returncode == 2 and "RAG_DB_KEY_PREVIOUS" in found.stdout
