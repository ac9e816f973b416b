"""Wraps of data keys, on real PostgreSQL and in the twin."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.cli.embedded import EmbeddedPostgres
from shared.crypto import passphrase
from shared.crypto.envelope import WrongKey, new_key
from shared.errors import Conflict, NotFound, VaultLocked
from shared.storage import postgres
from shared.storage.keyring import Keyring, MemoryKeyring, PostgresKeyring
from tests.conftest import ROOT

MASTER, NEXT = "a master key of at least thirty-two characters", "another master key of thirty-two characters"
OLD, NEW = "a long enough pass phrase", "quite another pass phrase"
QUICK = passphrase.Cost(1024, 1, 1)
ANNA, BEN = "usr_anna", "usr_ben"


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[postgres.Pool]:
    made = await postgres.connect(postgres_url)
    yield made
    await made.close()


@pytest.fixture(params=["postgres", "memory"])
async def ring(request: pytest.FixtureRequest, pool: postgres.Pool) -> Keyring:
    if request.param == "memory":
        return MemoryKeyring(QUICK)
    made = PostgresKeyring(pool, MASTER, cost=QUICK)
    await made.prepare()
    return made


async def test_a_sealed_vault_opens_by_password_and_by_code_only(ring: Keyring) -> None:
    key = await ring.data_key(ANNA)
    sealed, code = await ring.seal(ANNA, OLD)
    assert sealed == key and (await ring.row(ANNA)).wrapped is None
    with pytest.raises(VaultLocked, match="/vault/unlock"):
        await ring.data_key(ANNA)
    assert await ring.by_password(ANNA, OLD, accepted=True) == key
    assert await ring.by_code(ANNA, code.lower().replace("-", " ").replace("O", "0")) == key
    for wrong in (NEW, "", OLD + " "):
        with pytest.raises(WrongKey):
            await ring.by_password(ANNA, wrong, accepted=False)
    for wrong in (passphrase.new_code(), "", code[:-1]):
        with pytest.raises(WrongKey):
            await ring.by_code(ANNA, wrong)
    with pytest.raises(Conflict):
        await ring.seal(ANNA, OLD)


async def test_a_process_has_the_key_until_it_is_locked(ring: Keyring) -> None:
    key, _ = await ring.seal(ANNA, OLD)
    assert await ring.locked(ANNA)
    for wrong in (new_key(), b"", await ring.data_key(BEN)):
        with pytest.raises((WrongKey, ValueError)):
            await ring.unlock(ANNA, wrong)
    assert await ring.locked(ANNA)
    await ring.unlock(ANNA, key)
    assert await ring.data_key(ANNA) == key and not await ring.locked(ANNA)
    ring.lock(ANNA)
    with pytest.raises(VaultLocked):
        await ring.data_key(ANNA)


async def test_what_is_kept_for_a_locked_vault_is_read_after_unlocking(ring: Keyring) -> None:
    before = await ring.keep(ANNA, b"said before", b"a")
    key, _ = await ring.seal(ANNA, OLD)
    meanwhile = await ring.keep(ANNA, b"said meanwhile", b"b")
    assert b"said" not in before + meanwhile
    with pytest.raises(VaultLocked):
        await ring.user_key(ANNA)
    await ring.unlock(ANNA, key)
    opened = await ring.user_key(ANNA)
    assert opened.open(before, b"a") == b"said before" and opened.open(meanwhile, b"b") == b"said meanwhile"
    for sealed, name in ((meanwhile, b"a"), (meanwhile[:-1] + b"\0\1", b"b"), (b"\2", b"b"), (b"", b"b")):
        with pytest.raises(WrongKey):
            opened.open(sealed, name)
    await ring.unseal(ANNA, key)
    assert (await ring.user_key(ANNA)).open(meanwhile, b"b") == b"said meanwhile"


async def test_unsealed_it_is_as_before_and_old_secrets_open_nothing(ring: Keyring) -> None:
    key = await ring.data_key(ANNA)
    _, code = await ring.seal(ANNA, OLD)
    await ring.unseal(ANNA, key)
    assert await ring.data_key(ANNA) == key
    with pytest.raises(Conflict):
        await ring.by_password(ANNA, OLD, accepted=True)
    with pytest.raises(Conflict):
        await ring.by_code(ANNA, code)
    _, second = await ring.seal(ANNA, NEW)
    with pytest.raises(WrongKey):
        await ring.by_code(ANNA, code)
    assert await ring.by_code(ANNA, second) == key


@pytest.mark.parametrize("accounts_took_it", [True, False])
async def test_a_password_change_that_stops_in_the_middle_leaves_the_password_that_signs_in(
    ring: Keyring, accounts_took_it: bool
) -> None:
    key, _ = await ring.seal(ANNA, OLD)
    await ring.set_password(ANNA, key, NEW, beside=True)
    signs_in, other = (NEW, OLD) if accounts_took_it else (OLD, NEW)
    assert await ring.by_password(ANNA, signs_in, accepted=True) == key
    assert await ring.by_password(ANNA, signs_in, accepted=True) == key
    with pytest.raises(WrongKey):
        await ring.by_password(ANNA, other, accepted=False)


async def test_a_settled_password_change_and_a_new_code(ring: Keyring) -> None:
    key, code = await ring.seal(ANNA, OLD)
    await ring.set_password(ANNA, key, NEW, beside=True)
    await ring.settle(ANNA)
    with pytest.raises(WrongKey):
        await ring.by_password(ANNA, OLD, accepted=False)
    again = await ring.new_code(ANNA, await ring.by_password(ANNA, NEW, accepted=True))
    with pytest.raises(WrongKey):
        await ring.by_code(ANNA, code)
    assert await ring.by_code(ANNA, again) == key
    for work in (ring.set_password(ANNA, new_key(), OLD, beside=False), ring.new_code(ANNA, new_key())):
        with pytest.raises(WrongKey):  # nothing is wrapped that would not open the vault
            await work


async def test_two_sealings_at_once_give_one_code(ring: Keyring) -> None:
    await ring.data_key(ANNA)
    done = await asyncio.gather(ring.seal(ANNA, OLD), ring.seal(ANNA, OLD), return_exceptions=True)
    (kept,) = [each for each in done if not isinstance(each, BaseException)]
    assert [type(each) for each in done if isinstance(each, BaseException)] == [Conflict]
    assert await ring.by_code(ANNA, kept[1]) == kept[0]


async def test_a_destroyed_key_stays_destroyed(ring: Keyring) -> None:
    key, code = await ring.seal(ANNA, OLD)
    await ring.unlock(ANNA, key)
    await ring.destroy(ANNA)
    await ring.destroy(ANNA)
    for work in (
        ring.data_key(ANNA), ring.user_key(ANNA), ring.keep(ANNA, b"late", b""), ring.by_password(ANNA, OLD, accepted=True),
        ring.by_code(ANNA, code), ring.unlock(ANNA, key), ring.seal(ANNA, OLD),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await work


def test_wraps_belong_to_their_owner_and_purpose() -> None:
    wrapped = passphrase.wrap(OLD, b"k" * 32, b"anna", QUICK)
    assert passphrase.unwrap(OLD, wrapped, b"anna") == b"k" * 32
    asks_too_much = wrapped[:1] + b"\xff\xff\xff\xff" + wrapped[5:]
    for changed, name in ((wrapped, b"ben"), (asks_too_much, b"anna"), (wrapped[:10], b"anna"), (b"", b"anna")):
        with pytest.raises(WrongKey):
            passphrase.unwrap(OLD, changed, name)
    typed_elsewhere = passphrase.wrap("e\u0301" * 12, b"k" * 32, b"", QUICK)
    assert passphrase.unwrap("\u00e9" * 12, typed_elsewhere, b"") == b"k" * 32
    by_default = passphrase.wrap(OLD, b"k" * 32, b"")
    assert int.from_bytes(by_default[1:5], "big") == 64 * 1024 and tuple(by_default[5:7]) == (3, 1), (
        "RFC 9106, one lane"
    )


async def test_many_derivations_at_once_all_end() -> None:
    """With several lanes, each a thread of OpenSSL's, two at once hung for ever."""
    ring = MemoryKeyring()
    done = await asyncio.gather(*(ring.seal(f"usr_{number}", OLD) for number in range(8)))
    assert len({key for key, _ in done}) == 8


# -- what the database keeps, and another master key


async def test_a_row_of_before_sealed_vaults_is_taken_over(pool: postgres.Pool) -> None:
    from shared.crypto.envelope import derive, seal

    await pool.execute(
        "CREATE TABLE user_key (user_id text PRIMARY KEY, wrapped bytea, created_at timestamptz NOT NULL DEFAULT now(),"
        " destroyed_at timestamptz)"
    )
    wrapped = seal(derive(MASTER, "nemo data key wrapping v1"), b"k" * 32, ANNA.encode())
    await pool.execute("INSERT INTO user_key VALUES ($1, $2), ('usr_gone', NULL)", ANNA, wrapped)
    await pool.execute("UPDATE user_key SET destroyed_at = now() WHERE user_id = 'usr_gone'")
    ring = PostgresKeyring(pool, NEXT, MASTER)
    await ring.prepare()
    await ring.prepare()
    assert await ring.data_key(ANNA) == b"k" * 32 and await ring.rewrap() == 1
    assert await PostgresKeyring(pool, NEXT).data_key(ANNA) == b"k" * 32
    with pytest.raises(NotFound):
        await ring.data_key("usr_gone")


async def test_the_copy_under_the_master_key_is_nowhere_once_it_is_sealed(tmp_path: Path) -> None:
    """In the embedded PostgreSQL: neither in the table's old row versions nor in the write-ahead log."""
    server = EmbeddedPostgres(tmp_path, "a password for this test")
    await server.prepare()
    child = server.child()
    process = subprocess.Popen(child.command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    try:
        while child.ready is None or not await child.ready():
            await asyncio.sleep(0.05)
        pool = await postgres.connect(server.url)
        ring = PostgresKeyring(pool, MASTER, cost=QUICK)
        await ring.prepare()
        wrapped = (await ring.row(ANNA)).wrapped
        assert wrapped is not None and _found(tmp_path, wrapped)
        await ring.seal(ANNA, OLD)
        assert not _found(tmp_path, wrapped)
        by_password = (await ring.row(ANNA)).by_password
        assert by_password is not None and _found(tmp_path, by_password)
        await ring.destroy(ANNA)
        assert not _found(tmp_path, by_password)
        await pool.close()
    finally:
        process.send_signal(child.stop_signal)
        process.wait(15)


def _found(folder: Path, wanted: bytes) -> list[Path]:
    """Where the last bytes of an envelope are; its beginning may lie on another page of the log."""
    files = [each for each in folder.rglob("*") if each.is_file()]
    return [each for each in files if wanted[-24:] in each.read_bytes()]


REWRAP = """
import asyncio, sys
from shared.storage import postgres
from shared.storage.keyring import PostgresKeyring

async def main():
    pool = await postgres.connect(sys.argv[1])
    print(await PostgresKeyring(pool, sys.argv[2], sys.argv[3]).rewrap())

asyncio.run(main())
"""


async def test_a_rekey_killed_half_way_leaves_rows_that_old_or_new_open(pool: postgres.Pool, postgres_url: str) -> None:
    old = PostgresKeyring(pool, MASTER, cost=QUICK)
    await old.prepare()
    users = [f"usr_{number:04}" for number in range(2000)]
    keys = dict(zip(users, await asyncio.gather(*map(old.data_key, users)), strict=True))
    sealed, _ = await old.seal(users[7], OLD)
    await old.destroy(users[8])
    del keys[users[7]], keys[users[8]]
    process = subprocess.Popen([sys.executable, "-c", REWRAP, postgres_url, NEXT, MASTER], cwd=ROOT, env=os.environ)
    try:
        deadline = time.monotonic() + 60
        while await _rewrapped(pool) < 5:
            assert time.monotonic() < deadline
            await asyncio.sleep(0)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait(10)
    done = await _rewrapped(pool)
    assert 5 <= done < len(keys)
    both = PostgresKeyring(pool, NEXT, MASTER)
    assert {user: await both.data_key(user) for user in keys} == keys
    opened = [[await _opens(PostgresKeyring(pool, master), user) for user in keys] for master in (MASTER, NEXT)]
    assert all(one != other for one, other in zip(*opened, strict=True))
    assert await both.rewrap() == len(keys) - done and await both.rewrap() == 0
    new = PostgresKeyring(pool, NEXT)
    assert {user: await new.data_key(user) for user in keys} == keys
    assert not any([await _opens(PostgresKeyring(pool, MASTER), user) for user in keys])
    assert await new.by_password(users[7], OLD, accepted=True) == sealed


async def _rewrapped(pool: postgres.Pool) -> int:
    return int(await pool.fetchval("SELECT count(*) FROM user_key WHERE version > 0 AND wrapped IS NOT NULL"))


async def _opens(ring: PostgresKeyring, user: str) -> bool:
    try:
        await ring.data_key(user)
    except WrongKey:
        return False
    return True
