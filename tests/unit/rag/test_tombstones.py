"""What was deleted since a backup is deleted again, at once or when the vault can be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.rag.tombstones import Tombstones
from shared.errors import VaultLocked
from shared.storage import deletions
from tests.vault_world import ANNA, BEN, World, fill


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.vaults.close()


def again(world: World, user: str, *lines: str) -> None:
    deletions.append(world.folder / "deletions" / f"{user}.again", list(lines))


async def test_each_kind_goes_once_more_and_the_rest_stays(house: World) -> None:
    made = await fill(house)
    for kind, key in made.items():
        assert await house.found("dentist", ANNA)
        again(
            house, ANNA.user_id, *(f"{kind} {key}" for kind, key in made.items() if kind != "memory"), "speaker spk_1"
        )
        await Tombstones(house.library, house.reading).apply_all()
    assert await house.found("dentist", ANNA) and not await house.found("boiler", ANNA)
    assert not await house.found("flowerpot spare key", ANNA) and not list((house.folder / "documents").rglob("doc_*"))
    again(house, ANNA.user_id, f"memory {made['memory']}", "memory mem_unknown")
    await Tombstones(house.library, house.reading).apply_all()
    assert not await house.found("dentist", ANNA) and house.library.deletions.to_do() == []


async def test_a_sealed_vault_waits_for_its_unlocking(house: World) -> None:
    made = await fill(house)
    key, _ = await house.keyring.seal(ANNA.user_id, "a long enough pass phrase")
    again(house, ANNA.user_id, "vault all")
    again(house, BEN.user_id, "vault all")
    await house.vaults.lock(ANNA.user_id)
    stones = Tombstones(house.library, house.reading)
    await stones.apply_all()
    assert house.library.deletions.to_do() == [ANNA.user_id]
    with pytest.raises(VaultLocked):
        await stones.apply(ANNA.user_id)
    await house.keyring.unlock(ANNA.user_id, key)
    await stones.apply(ANNA.user_id)
    assert not await house.found("dentist", ANNA) and house.library.deletions.to_do() == [] and made


async def test_a_line_that_cannot_be_written_stops_no_deletion(house: World, caplog: pytest.LogCaptureFixture) -> None:
    (house.folder / "deletions").write_text("in the way")
    await house.library.deletions.record(ANNA.user_id, "memory", "mem_1")
    assert "not written down" in caplog.text


async def test_deleting_a_document_is_written_down(house: World) -> None:
    made = await fill(house)
    await house.reading.delete(ANNA, made["document"])
    assert deletions.lines(house.folder / "deletions" / ANNA.user_id) == [f"document {made['document']}"]
