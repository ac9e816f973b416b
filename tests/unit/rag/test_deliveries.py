"""A vault that is locked: nothing of it stays in memory, and nothing that comes meanwhile is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.rag import conversations, transcripts
from services.rag import vaults as vaults_module
from services.rag.deliveries import Deliveries
from services.rag.engines.fake import FakeEmbedder
from services.rag.outbox import Outbox
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.crypto.passphrase import Cost
from shared.errors import NotFound, StorageFailed, VaultLocked
from shared.schemas.rag import Message, NewMemory, SearchRequest
from shared.schemas.transcription import Transcript
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import in_our_words

ANNA = "usr_anna"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Desk:
    """The memory service without its door."""

    def __init__(self, folder: Path) -> None:
        settings = Settings(data_dir=folder)
        embedder = FakeEmbedder(settings)
        facts = embedder.capabilities
        self.ring = MemoryKeyring(Cost(1024, 1, 1))
        self.vaults = Vaults(settings, self.ring, model=facts.model, dimensions=facts.dimensions)
        self.library = Library(self.vaults, embedder, settings)
        self.outbox = Outbox(folder / "vaults", self.ring)
        self.deliveries = Deliveries(self.library, self.outbox)
        self.key = b""

    async def seal(self) -> None:
        self.key, _ = await self.ring.seal(ANNA, "a long enough pass phrase")
        await self.ring.unlock(ANNA, self.key)

    async def lock(self) -> None:
        self.ring.lock(ANNA)
        await self.vaults.lock(ANNA)

    async def unlock(self) -> None:
        await self.ring.unlock(ANNA, self.key)
        await self.deliveries.take_in(ANNA)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.seal()
    yield made
    await made.deliveries.stop()
    await made.vaults.close()


def transcript(title: str, **more: Any) -> Transcript:
    values = {"transcript_id": "rec_1", "status": "completed", "title": title, "created_at": datetime.now(UTC)}
    return Transcript.model_validate(values | more)


def message(content: str, message_id: str = "msg_1", role: Any = "assistant") -> Message:
    return Message(message_id=message_id, role=role, content=content, created_at=datetime.now(UTC))


async def test_a_locked_vault_is_closed_and_so_is_its_index(desk: Desk) -> None:
    await desk.library.remember(ANNA, NewMemory(content="The spare key lies under the pot."))
    seen: list[Vault] = []
    await desk.library.run(ANNA, lambda vault: seen.append(vault) or len(vault.index))  # type: ignore[func-returns-value]
    await desk.lock()
    for work in (
        desk.library.search(ANNA, SearchRequest(query="key")),
        desk.library.remember(ANNA, NewMemory(content="x")),
        desk.library.run(ANNA, lambda vault: vault.db),
    ):
        with pytest.raises(VaultLocked):
            await work
    with pytest.raises(StorageFailed), in_our_words():
        seen[0].db.execute("SELECT 1")
    assert not [seat for seat in desk.vaults._seats.values() if seat.vault is not None]
    await desk.unlock()
    assert await desk.library.search(ANNA, SearchRequest(query="key"))


async def test_what_comes_while_it_is_locked_goes_in_once(desk: Desk, tmp_path: Path) -> None:
    talk = (await desk.library.run(ANNA, lambda vault: conversations.create(vault, "A talk"))).conversation_id
    await desk.lock()
    await desk.deliveries.transcript(ANNA, transcript("early", status="processing"), remember=True)
    await desk.deliveries.transcript(ANNA, transcript("whole"), remember=True)
    await desk.deliveries.message(ANNA, talk, message("zanzibar"))
    with pytest.raises(VaultLocked):
        await desk.deliveries.message(ANNA, talk, message("a question", "msg_2", "user"))
    assert await desk.deliveries.waiting(ANNA) == 2
    files = [each for each in tmp_path.rglob("*") if each.is_file() and ".outbox" in str(each)]
    assert len(files) == 2 and not any(b"zanzibar" in each.read_bytes() for each in files)
    await desk.deliveries.take_in_left()  # as at a start: still locked
    assert await desk.deliveries.waiting(ANNA) == 2
    await desk.unlock()
    assert await desk.deliveries.waiting(ANNA) == 0 and await desk.outbox.users() == []
    assert (await desk.library.run(ANNA, lambda vault: transcripts.get(vault, "rec_1"))).title == "whole"
    found = await desk.library.run(ANNA, lambda vault: conversations.get(vault, talk))
    assert [each.content for each in found.messages] == ["zanzibar"]


async def test_a_damaged_box_stays_and_keeps_nobody_back(desk: Desk, tmp_path: Path) -> None:
    await desk.lock()
    for number in range(3):
        await desk.deliveries.transcript(ANNA, transcript("whole", transcript_id=f"rec_{number}"), remember=False)
    folder = tmp_path / "vaults" / f"{ANNA}.outbox"
    first, second = (folder / f"transcript-rec_{number}" for number in (0, 1))
    first.write_bytes(first.read_bytes()[:-3] + b"xyz")
    moved = second.read_bytes()
    await desk.unlock()
    assert await desk.outbox.names(ANNA) == ["transcript-rec_0"]
    folder.joinpath("transcript-rec_9").write_bytes(moved)  # another's place is not its own
    await desk.deliveries.take_in(ANNA)
    assert await desk.outbox.names(ANNA) == ["transcript-rec_0", "transcript-rec_9"]


async def test_an_answer_to_a_conversation_that_is_gone_is_let_go(desk: Desk) -> None:
    await desk.lock()
    await desk.deliveries.message(ANNA, "cnv_gone", message("late"))
    await desk.unlock()
    assert await desk.deliveries.waiting(ANNA) == 0


async def test_boxes_go_with_their_owner_and_names_stay_in_their_folder(desk: Desk) -> None:
    await desk.lock()
    with pytest.raises(NotFound):
        await desk.outbox.put(ANNA, "../elsewhere", {})
    await desk.deliveries.message(ANNA, "cnv_1", message("late"))
    await desk.library.delete_owner(ANNA)
    await desk.deliveries.delete_owner(ANNA)
    assert await desk.outbox.users() == []
    await desk.ring.destroy(ANNA)
    with pytest.raises(NotFound):
        await desk.deliveries.message(ANNA, "cnv_1", message("later"))


async def test_an_open_vault_of_whose_sealing_nobody_told_us_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path)
    await desk.library.remember(ANNA, NewMemory(content="The spare key lies under the pot."))
    monkeypatch.setattr(vaults_module, "LOOK_S", -1.0)

    async def down(_: str) -> bytes:
        raise StorageFailed

    with monkeypatch.context() as without_database:
        without_database.setattr(desk.ring, "data_key", down)
        assert await desk.library.search(ANNA, SearchRequest(query="key")), "what is open needs no database"
    await desk.ring.seal(ANNA, "a long enough pass phrase")  # the gateway died before it could say so
    with pytest.raises(VaultLocked):
        await desk.library.search(ANNA, SearchRequest(query="key"))
    assert not [seat for seat in desk.vaults._seats.values() if seat.vault is not None]
    await desk.vaults.close()
