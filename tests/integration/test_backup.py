"""Backup and restore over a database of the operator's own, without the platform: what is refused, and why."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.api_gateway.repository import Accounts
from services.cli import keys, up
from services.cli.backup import Refused, archive, database, drill, key, make, restore, schedule, schemas, upgrade
from services.rag.vaults import Vault
from shared.crypto import passphrase
from shared.settings import ServiceSettings
from shared.storage import backup_records as records
from shared.storage import deletions, postgres
from shared.storage.blobs import FileBlobs
from shared.storage.deletions import Deletions
from shared.storage.keyring import PostgresKeyring
from tests.conftest import ROOT
from tests.integration.gpu_house import until

ANNA, BEN, GONE = "usr_anna", "usr_ben", "usr_gone"
SOUND = bytes(range(256)) * 3000
QUICK = passphrase.Cost(1024, 1, 1)


class House:
    """A data folder as the services leave it, and the database beside it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data, self.store, self.url = folder / "data", folder / "store", url
        self.settings = self.settings_of(self.data)
        self.private = b""

    def settings_of(self, data: Path, url: str | None = None) -> ServiceSettings:
        return ServiceSettings(DATA_DIR=data, DATABASE_URL=url or self.url)

    async def build(self) -> None:
        secrets = self.settings.secrets_folder
        keys.ensure(secrets, self.data)
        self.private = key.private_of(key.init(secrets, None))
        pool = await postgres.connect(self.url)
        for service in ("gpu-coordinator", "transcription"):
            await postgres.migrate(pool, service, schemas.FOLDERS[service])
        ring = PostgresKeyring(pool, keys.value(secrets, "rag_db_key"), cost=QUICK)
        await ring.prepare()
        accounts = Accounts(self.data / "users.db", keys.value(secrets, "users_db_key"))
        for owner in (ANNA, BEN, GONE):
            await accounts.add_user(owner, owner, "hash", may_join=True)
            vault = Vault(self.data / "vaults" / f"{owner}.db", await ring.data_key(owner), "a-model", 4)
            vault.db.execute(
                "INSERT INTO conversation (conversation_id, title, created_at, updated_at) VALUES ('con_1', 't', '', '')"
            )
            vault.close()
            await self._recording(pool, ring, owner)
        accounts.close()
        await ring.seal(BEN, "a long enough pass phrase")
        await pool.execute("SELECT setval('task_token', 4711)")
        await pool.close()

    async def _recording(self, pool: Any, ring: PostgresKeyring, owner: str) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            yield SOUND

        blobs, name = FileBlobs(self.data / "blobs"), f"rec_{owner[4:]}"
        await blobs.write(owner, name, await ring.data_key(owner), chunks(), max_bytes=10**9)
        await pool.execute(
            "INSERT INTO recording (recording_id, owner, sealed, size_bytes, sha256) VALUES ($1, $2, '', 1, '')",
            name,
            owner,
        )

    async def backup(self, keep: int | None = None) -> Path:
        return (await make.run(self.settings, self.store, keep)).path


@pytest.fixture
async def house(tmp_path: Path, postgres_url: str) -> House:
    made = House(tmp_path, postgres_url)
    await made.build()
    return made


@pytest.fixture
async def elsewhere(postgres_server: str) -> AsyncIterator[str]:
    """A second empty database."""
    admin = await asyncpg.connect(postgres_server)
    await admin.execute("CREATE DATABASE elsewhere")
    yield postgres_server.rsplit("/", 1)[0] + "/elsewhere"
    await admin.execute("DROP DATABASE elsewhere WITH (FORCE)")
    await admin.close()


async def ask(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_to_a_fresh_machine_and_a_fresh_database(house: House, elsewhere: str, tmp_path: Path) -> None:
    path, target = await house.backup(), tmp_path / "new"
    assert await restore.run(house.settings_of(target, elsewhere), path, target, house.private, replace=False) is None
    assert await ask(elsewhere, "SELECT count(*) FROM recording") == 3
    assert await ask(elsewhere, "SELECT nextval('task_token')") == 4712
    assert (target / "users.db").stat().st_mode & 0o077 == 0 == (target / "secrets").stat().st_mode & 0o077
    for name in ("rag_db_key", "users_db_key", "service_keys/rag.key"):
        assert (target / "secrets" / name).read_bytes() == (house.data / "secrets" / name).read_bytes()
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(".restore")]
    seen = await restored(target, elsewhere)
    assert (seen.vaults, seen.sealed, seen.recordings, seen.rows["conversation"]) == (2, 1, 2, 2)


async def restored(target: Path, url: str) -> Any:
    from services.cli.backup import vaults

    return await vaults.look(url, target, target / "secrets", whole=True)


async def test_what_is_there_is_put_aside_and_only_when_asked(house: House) -> None:
    path = await house.backup()
    run = (house.settings, path, house.data, house.private)
    with pytest.raises(Refused, match="--replace"):
        await restore.run(*run, replace=False)
    await ask(house.url, "DELETE FROM recording WHERE owner = 'usr_anna'")
    in_use = await asyncpg.connect(house.url)
    with pytest.raises(Refused, match="Stop every service"):
        await restore.run(*run, replace=True)
    await in_use.close()
    assert await ask(house.url, "SELECT count(*) FROM recording") == 2
    (house.data / "a file of the day after").touch()
    aside = await restore.run(*run, replace=True)
    assert aside is not None and (aside / "a file of the day after").exists() and (house.data / "users.db").exists()
    assert await ask(house.url, "SELECT count(*) FROM recording") == 3
    old = await ask(house.url, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'before_restore_%'")
    assert await ask(house.url, f"SELECT count(*) FROM {old}.recording") == 2


async def test_a_running_platform_is_not_replaced(house: House) -> None:
    path = await house.backup()
    with up.held(house.data, "127.0.0.1", 1), pytest.raises(up.CannotStart, match="already running"):
        await restore.run(house.settings, path, house.data, house.private, replace=True)


async def test_deletions_since_are_done_again(house: House) -> None:
    before, lists = Deletions(house.data / "deletions"), house.data / "deletions"
    await before.record(ANNA, "memory", "mem_before")
    path = await house.backup()
    await before.record(ANNA, "transcript", "rec_anna")
    await before.record(ANNA, "memory", "mem_since")
    await before.record(GONE, "account", GONE)
    with (lists / ANNA).open("a") as file:
        file.write("memory torn by a cra")
    await restore.run(house.settings, path, house.data, house.private, replace=True)
    assert Deletions(lists).again(ANNA) == [("transcript", "rec_anna"), ("memory", "mem_since")]
    assert await ask(house.url, "SELECT count(*) FROM recording") == 1  # ben's
    assert not list((house.data / "blobs" / ANNA).iterdir()) and not (house.data / "vaults" / f"{GONE}.db").exists()
    assert not (house.data / "blobs" / GONE).exists()
    key_row = await ask(
        house.url, f"SELECT wrapped IS NULL AND destroyed_at IS NOT NULL FROM user_key WHERE user_id = '{GONE}'"
    )
    assert key_row is True
    accounts = Accounts(house.data / "users.db", keys.value(house.settings.secrets_folder, "users_db_key"))
    assert sorted(user.id for user in accounts.users(10, None)) == [ANNA, BEN]
    accounts.close()
    assert "memory mem_before" in deletions.lines(lists / ANNA)


async def test_or_brought_back_where_the_operator_says_so(house: House) -> None:
    path = await house.backup()
    await Deletions(house.data / "deletions").record(ANNA, "transcript", "rec_anna")
    await restore.run(house.settings, path, house.data, house.private, replace=True, deleted=True)
    assert await ask(house.url, "SELECT count(*) FROM recording") == 3


async def test_nothing_of_a_newer_version_and_nothing_damaged(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    known = schemas.known()
    monkeypatch.setattr(schemas, "known", lambda: known | {"vault": 99})
    newer = await house.backup()
    monkeypatch.undo()
    with pytest.raises(Refused, match="vault has schema 99"):
        await restore.run(house.settings, newer, house.data, house.private, replace=True)
    whole = newer.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 50, 0):
        newer.write_bytes(whole[:size])
        with pytest.raises(Refused, match=r"damaged|cut off"):
            drill.verify(house.data, newer, house.private)
    with pytest.raises(Refused, match="no file"):
        drill.verify(house.data, house.store / "none.nemo", house.private)
    assert "verified" not in records.read(house.data)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "vaults/..", ".hidden", "a/b/c/d/e"])
def test_a_member_never_leaves_the_folder(tmp_path: Path, name: str) -> None:
    private = key.private_of(passphrase.new_code())
    from shared.crypto.sealed_stream import public_of

    path = tmp_path / "forged.nemo"
    with path.open("wb") as file, archive.packing(file, public_of(private), {"schemas": {}}) as packer:
        packer.add_bytes(name, b"x")
        packer.finish({})
    with pytest.raises(Refused, match="damaged"):
        archive.unpack(path, private, lambda member: member.save(tmp_path / "inside" / member.name))
    assert [each.name for each in tmp_path.iterdir()] == ["forged.nemo"]


async def test_a_manifest_that_names_other_members(tmp_path: Path) -> None:
    private = key.private_of(passphrase.new_code())
    from shared.crypto.sealed_stream import public_of

    path = tmp_path / "forged.nemo"
    with path.open("wb") as file, archive.packing(file, public_of(private), {"schemas": {}}) as packer:
        packer.add_bytes("users.db", b"x")
        packer.members[-1]["sha256"] = "0" * 64
        packer.finish({})
    with pytest.raises(Refused, match="damaged"):
        archive.unpack(path, private, lambda member: None)


async def test_a_full_disk_leaves_nothing_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(make.os, "fsync", full)
        with pytest.raises(Refused, match="is full"):
            await house.backup()
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as patched:
        patched.setattr(make.shutil, "disk_usage", lambda _path: usage(100, 99, 1))
        with pytest.raises(Refused, match="MB are free"):
            await house.backup()
    assert [each.name for each in house.store.iterdir()] == [".lock"] and "made" not in records.read(house.data)


async def test_a_full_disk_while_unpacking_touches_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_member: archive.Member, _path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = await house.backup()
    monkeypatch.setattr(archive.Member, "save", full)
    with pytest.raises(Refused, match="Nothing was touched"):
        await restore.run(house.settings, path, house.data, house.private, replace=True)
    assert not list(house.data.parent.glob(".restore-*")) and (house.data / "users.db").exists()


async def test_a_database_that_goes_away_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = database._copied

    async def cut_off(connection: Any, *given: Any) -> Any:
        await ask(house.url, f"SELECT pg_terminate_backend({connection.get_server_pid()}, 5000)")
        return await copied(connection, *given)

    monkeypatch.setattr(database, "_copied", cut_off)
    with pytest.raises(Refused, match="stopped answering"):
        await house.backup()
    assert [each.name for each in house.store.iterdir()] == [".lock"]


async def test_the_newest_are_kept(house: House) -> None:
    (house.store).mkdir()
    (house.store / ".nemo-20200101T000000Z.nemo.part").touch()  # of one that was killed
    (house.store / "nemo-20200101T000000Z.nemo").touch()
    (house.store / "a file of somebody else.nemo").touch()
    made = [await house.backup(keep=2) for _ in range(3)]
    assert sorted(each.name for each in house.store.glob("nemo-*.nemo")) == [each.name for each in made[1:]]
    assert (house.store / "a file of somebody else.nemo").exists() and not list(house.store.glob(".nemo-*"))


async def test_before_an_upgrade(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    assert await upgrade.run(house.settings) == upgrade.NOT_READY and "ever made" in capsys.readouterr().out
    path = await house.backup()
    assert await upgrade.run(house.settings) == upgrade.OK
    said = capsys.readouterr().out
    assert "2 at schema" in said and "sealed vaults" in said
    records.write(house.data, "made", archive=str(path))
    text = (house.data / records.FILE).read_text()
    (house.data / records.FILE).write_text(text.replace(f'"at": "{records.now()[:4]}', '"at": "2020'))
    assert await upgrade.run(house.settings) == upgrade.NOT_READY and "days old" in capsys.readouterr().out
    versions = "SELECT array_agg(version ORDER BY version) FROM schema_migration WHERE service = 'transcription'"
    *_, before, newest = await ask(house.url, versions)
    await ask(house.url, f"DELETE FROM schema_migration WHERE service = 'transcription' AND version = {newest}")
    await upgrade.run(house.settings)
    assert f"schema {before}, becomes {newest}" in capsys.readouterr().out
    await ask(house.url, "INSERT INTO schema_migration VALUES ('transcription', 999)")
    assert await upgrade.run(house.settings) == upgrade.TOO_NEW and "newer version" in capsys.readouterr().out


def test_the_code_is_shown_once(tmp_path: Path) -> None:
    secrets, file = tmp_path / "secrets", tmp_path / "code"
    with pytest.raises(Refused, match="--init"):
        key.public(secrets)
    code = key.init(secrets, file)
    assert file.stat().st_mode & 0o077 == 0 and key.private(file) == key.private_of(code.lower().replace("-", " "))
    assert not any(code in each.read_text() for each in secrets.iterdir())
    with pytest.raises(Refused, match="already"):
        key.init(secrets, None)
    (secrets / key.NAME).write_text("nonsense")
    with pytest.raises(Refused, match="damaged"):
        key.public(secrets)
    file.write_text("ABCD")
    with pytest.raises(Refused, match="eight groups"):
        key.private(file)
    with pytest.raises(Refused, match="cannot be read"):
        key.private(tmp_path / "none")


SCHEDULE = """
import sys
from datetime import timedelta
from services.cli.backup import schedule
from shared.settings import ServiceSettings
schedule.LOOK_S = 0.2
sys.exit(schedule.run(ServiceSettings(), None, 2, timedelta(seconds=2)))
"""


async def test_the_schedule_waits_for_a_key_and_then_goes_on_by_itself(house: House, tmp_path: Path) -> None:
    secret, log = house.data / "secrets" / key.NAME, tmp_path / "log"
    kept = secret.read_bytes()
    secret.write_bytes(b"")  # as containers are given it
    given = {"DATA_DIR": str(house.data), "DATABASE_URL": house.url, "BACKUP_DIR": str(house.store)}
    with log.open("w") as file:
        running = subprocess.Popen(
            [sys.executable, "-c", SCHEDULE], cwd=ROOT, env=os.environ | given, stdout=file, stderr=file
        )
    try:
        until(lambda: "--init" in log.read_text())
        time.sleep(1)
        assert log.read_text().count("--init") == 1 and (house.store / schedule.SIGN).exists()
        assert not list(house.store.glob("*.nemo"))
        secret.write_bytes(kept)
        first = until(lambda: list(house.store.glob("*.nemo")))[0]
        until(lambda: not first.exists(), 60)  # two are kept, so a third was made
        assert log.read_text().count("!!") == 1
    finally:
        running.terminate()
        assert running.wait(15) == 0
    assert not [each.name for each in house.store.iterdir() if each.name.startswith(".nemo")]


def test_a_schedule_that_fails_says_so_once_and_its_sign_grows_old(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    house.store.write_text("in the way")
    said = schedule.look(house.settings, house.store, 2, timedelta(days=1))
    assert "--to" in said and schedule.look(house.settings, house.store, 2, timedelta(days=1), said) == said
    assert capsys.readouterr().out.count("!!") == 1
    house.store.unlink()
    assert schedule.look(house.settings, house.store, 2, timedelta(days=1), said) == ""
    made = list(house.store.glob("*.nemo"))
    assert len(made) == 1 and (house.store / schedule.SIGN).exists()
    assert schedule.look(house.settings, house.store, 2, timedelta(days=1)) == ""
    assert list(house.store.glob("*.nemo")) == made, "the next is not due"


async def test_doctor_knows_of_backups(house: House) -> None:
    from services.cli.doctor.care import backups

    assert "no backup yet" in next(backups(house.settings)).what
    await house.backup()
    assert [each.code for each in backups(house.settings)] == ["drill_old"]
    path = house.data / records.FILE
    path.write_text(path.read_text().replace(f'"at": "{records.now()[:4]}', '"at": "2020'))
    (house.data / up.RESTORING).touch()
    codes = [each.code for each in backups(house.settings)]
    assert codes == ["restore_interrupted", "backup_old", "drill_old"]
    with pytest.raises(up.CannotStart, match="interrupted"):
        up.require_space(house.data)


def test_a_mounted_folder_is_filled_entry_by_entry(tmp_path: Path) -> None:
    target, staging = tmp_path / "volume", tmp_path / "volume" / ".restore-volume-1"
    staging.mkdir(parents=True)
    (target / "users.db").write_text("old")
    (staging / "users.db").write_text("new")
    aside = restore._moved_in(staging, target)
    assert aside is not None and (aside / "users.db").read_text() == "old"
    assert (target / "users.db").read_text() == "new" and not (target / up.RESTORING).exists()


def test_folders_that_are_volumes_of_their_own_keep_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in containers; scripts/compose_test does it with real volumes."""
    target, staging = tmp_path / "volume", tmp_path / "volume" / ".restore-volume-1"
    for folder, text in ((target, "old"), (staging, "new")):
        (folder / "vaults" / "usr_a.outbox").mkdir(parents=True)
        (folder / "vaults" / "usr_a.db").write_text(text)
        (folder / "vaults" / "usr_a.outbox" / text).write_text(text)
    place, rename = (target / "vaults").stat().st_ino, Path.rename

    def refused(path: Path, to: Path) -> Path:
        if target / "vaults" in (path, to):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refused)
    aside = restore._moved_in(staging, target)
    assert aside is not None and (aside / "vaults" / "usr_a.db").read_text() == "old"
    assert (target / "vaults").stat().st_ino == place
    assert (target / "vaults" / "usr_a.db").read_text() == "new"
    assert [each.name for each in (target / "vaults" / "usr_a.outbox").iterdir()] == ["new"]
    assert [each.name for each in (aside / "vaults" / "usr_a.outbox").iterdir()] == ["old"]
