"""Names given, corrected, given again after a failure and taken back: on real PostgreSQL, with a vault in memory."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import services.transcription
from services.rag import edits
from services.transcription.engines import Diarizer, Sample, Thresholds, Voice
from services.transcription.naming import Naming
from services.transcription.repository import Recordings
from services.transcription.speakers import Speakers
from services.transcription.voices import Voices, plain
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Invalid, NotFound, PreconditionFailed, UpstreamUnavailable
from shared.etags import if_match
from shared.schemas.edits import ChangeSpeakers, EditSegment
from shared.schemas.ids import new_id
from shared.schemas.speakers import AssignSpeakers, EditSpeaker, SpeakerOfLabel, SpeakersAssigned
from shared.schemas.transcription import Segment, Transcript, TranscriptSummary
from shared.schemas.wire import Page
from shared.storage import postgres
from shared.storage.keyring import MemoryKeyring

ANNA = Principal("usr_anna", "user")
A, B = "SPEAKER_00", "SPEAKER_01"
MODEL = "toy-voices"
VECTORS = np.eye(8, dtype=np.float32)


class ToyVoices:
    """Compares vectors that are given; hears nothing."""

    model, thresholds = MODEL, Thresholds(same=0.5, margin=0.1, least_s=1.0)

    def sample(self, _: Any) -> Sample:
        self.thread = threading.current_thread().name
        return Sample(Voice(VECTORS[0], 9.0), 0.9)


class ToyVault:
    """The memory service's transcripts, with its own edits and conditions."""

    def __init__(self) -> None:
        self.kept: dict[str, Transcript] = {}
        self.broken: set[str] = set()
        """Recordings whose change fails."""

    async def transcript(self, _: Principal, recording_id: str) -> Transcript:
        if recording_id not in self.kept:
            raise NotFound
        return self.kept[recording_id]

    async def transcripts(self, _: Principal, **__: Any) -> Page[TranscriptSummary]:
        return Page(data=[TranscriptSummary.model_validate(self._summary(each)) for each in self.kept.values()])

    @staticmethod
    def _summary(transcript: Transcript) -> dict[str, Any]:
        return transcript.model_dump(include=set(TranscriptSummary.model_fields))

    async def put_speakers(
        self, user: Principal, recording_id: str, change: ChangeSpeakers, headers: Mapping[str, str] | None = None
    ) -> Transcript:
        now = await self.transcript(user, recording_id)
        if recording_id in self.broken:
            raise UpstreamUnavailable
        if await if_match((headers or {}).get("If-Match")) not in (None, now.revision):
            raise PreconditionFailed
        self.kept[recording_id] = edits.change_speakers(now, change).model_copy(update={"revision": now.revision + 1})
        return self.kept[recording_id]

    def names(self, recording_id: str) -> list[str | None]:
        return [each.name for each in self.kept[recording_id].speakers]


class Bench:
    """Anna's recordings and what names them."""

    def __init__(self, pool: postgres.Pool) -> None:
        keyring = MemoryKeyring()
        self.recordings, self.speakers = Recordings(pool, keyring), Speakers(pool, keyring)
        self.voices, self.vault = Voices(self.speakers), ToyVault()
        self.voices.use(cast(Diarizer, ToyVoices()))
        self.naming = Naming(self.voices, cast(RagClient, self.vault))

    async def recording(self, **voices: int) -> str:
        """A transcript with a segment for each label; the numbers say whose voice it is."""
        name = new_id("rec")
        await self.recordings.add(name, ANNA.user_id, {}, size_bytes=1, sha256="", status="completed")
        heard = {label: plain(Voice(VECTORS[who], 9.0)) | {"model": MODEL} for label, who in voices.items()}
        await self.speakers.keep_voices(ANNA.user_id, name, heard)
        said = [
            Segment(segment_id=f"seg_{at}", start_s=at, end_s=at + 1, speaker=label, text="Hello.", confidence=1)
            for at, label in enumerate(voices)
        ]
        made = Transcript(transcript_id=name, status="completed", title="Call", created_at=datetime.now(UTC))
        self.vault.kept[name] = edits.with_segments(made, said)
        return name

    async def assign(self, recording_id: str, *speakers: SpeakerOfLabel, **more: Any) -> SpeakersAssigned:
        wanted = AssignSpeakers(speakers=list(speakers), **more)
        return await self.naming.assign(ANNA, self.vault.kept[recording_id], wanted)

    async def undo(self, undo_id: str | None) -> tuple[list[str], list[str]]:
        found = await self.naming.undo(ANNA, undo_id or "")
        return found.recordings, found.skipped

    async def prints(self) -> dict[str, int]:
        """How many samples everybody has."""
        return {each.speaker_id: len(each.prints) for each in await self.speakers.all(ANNA.user_id)}


@pytest.fixture
async def bench(postgres_url: str) -> AsyncIterator[Bench]:
    pool = await postgres.connect(postgres_url)
    await postgres.migrate(pool, "transcription", Path(services.transcription.__file__).parent / "migrations")
    yield Bench(pool)
    await pool.close()


def called(name: str | None, label: str = A, **more: Any) -> SpeakerOfLabel:
    return SpeakerOfLabel(label=label, name=name, **more)


async def test_a_corrected_name_takes_the_voice_along_and_gives_it_back(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    first = await bench.assign(talk, called("Alice"))
    second = await bench.assign(talk, called("Bob"))
    assert await bench.prints() == {"alice": 0, "bob": 1}
    assert await bench.undo(second.undo_id) == ([talk], [])
    assert await bench.prints() == {"alice": 1} and bench.vault.names(talk) == ["Alice"]
    assert await bench.undo(first.undo_id) == ([talk], []), "one after the other, back to where it began"
    assert await bench.prints() == {} and bench.vault.names(talk) == [None]


@pytest.mark.parametrize("correction", [called(None), called("Bob", enroll=False)])
async def test_a_voice_goes_also_where_no_other_learns_it(bench: Bench, correction: SpeakerOfLabel) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    await bench.assign(talk, called("Alice"))
    await bench.assign(talk, correction)
    assert (await bench.prints())["alice"] == 0


async def test_the_same_name_again_is_one_sample(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    for _ in range(2):
        await bench.assign(talk, called("Alice"))
    assert await bench.prints() == {"alice": 1}


async def test_a_preview_compares_as_if_the_sample_were_moved_and_moves_nothing(bench: Bench) -> None:
    talk, other = await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=0)
    await bench.assign(talk, called("Alice"))
    preview = await bench.assign(talk, called("Bob"), preview=True)
    assert [(each.transcript_id, each.name) for each in preview.relabelling] == [(other, "Bob")]
    assert await bench.prints() == {"alice": 1}


async def test_later_names_are_not_destroyed(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    first = await bench.assign(talk, called("Alice"))
    await bench.assign(talk, called("Bob"))
    assert await bench.undo(first.undo_id) == ([], [talk])
    assert bench.vault.names(talk) == ["Bob"] and await bench.prints() == {"bob": 1}


async def test_a_change_of_words_since_is_kept(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    first = await bench.assign(talk, called("Alice"))
    kept = bench.vault.kept[talk]
    edited = edits.edit_segment(kept, "seg_0", EditSegment(text="Goodbye."))
    bench.vault.kept[talk] = edited.model_copy(update={"revision": kept.revision + 1})
    assert await bench.undo(first.undo_id) == ([talk], [])
    assert bench.vault.names(talk) == [None] and bench.vault.kept[talk].text == "Goodbye."


async def test_an_undo_that_broke_off_is_done_again(bench: Bench) -> None:
    talk, other = await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=0)
    done = await bench.assign(talk, called("Alice"), relabel=[other])
    assert bench.vault.names(other) == ["Alice"]
    bench.vault.broken = {talk}
    with pytest.raises(UpstreamUnavailable):
        await bench.undo(done.undo_id)
    assert bench.vault.names(other) == [None], "one failure keeps no other from its turn"
    assert await bench.prints() == {"alice": 0}, "what is named so keeps its speaker"
    bench.vault.broken = set()
    assert await bench.undo(done.undo_id) == ([talk, other], [])
    assert await bench.prints() == {} and bench.vault.names(talk) == [None]
    with pytest.raises(NotFound):
        await bench.undo(done.undo_id)


async def test_what_is_gone_is_skipped_and_the_rest_taken_back(bench: Bench) -> None:
    talk, other = await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=0)
    done = await bench.assign(talk, called("Alice"), relabel=[other])
    kept = bench.vault.kept[talk]
    moved = [each.model_copy(update={"speaker": B}) for each in kept.segments]
    bench.vault.kept[talk] = edits.with_segments(kept, moved)
    assert await bench.undo(done.undo_id) == ([other], [talk])
    del bench.vault.kept[talk]
    again = await bench.assign(other, called("Eve"))
    del bench.vault.kept[other]
    assert await bench.undo(again.undo_id) == ([], [other])


async def test_somebody_whom_a_later_call_uses_stays(bench: Bench) -> None:
    talk, other = await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=1)
    first = await bench.assign(talk, called("Alice"))
    await bench.assign(other, called("Alice", enroll=False))
    await bench.undo(first.undo_id)
    assert await bench.prints() == {"alice": 0}


async def test_a_naming_that_fails_leaves_nothing_behind(bench: Bench) -> None:
    talk, other = await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=0)
    bench.vault.broken = {talk}
    with pytest.raises(UpstreamUnavailable):
        await bench.assign(talk, called("Alice"))
    assert await bench.prints() == {}
    bench.vault.broken = {other}
    with pytest.raises(UpstreamUnavailable):
        await bench.assign(talk, called("Alice"), relabel=[other])
    assert await bench.prints() == {} and bench.vault.names(talk) == [None]
    bench.vault.broken = set()
    await bench.assign(talk, called("Alice"))
    bench.vault.broken = {talk}
    with pytest.raises(UpstreamUnavailable):
        await bench.assign(talk, called("Bob"))
    assert await bench.prints() == {"alice": 1}
    with pytest.raises(Invalid):
        await bench.assign(talk, called("Bob"), called("Carol", B))
    assert await bench.prints() == {"alice": 1}


async def test_a_rename_that_broke_off_is_done_again(bench: Bench) -> None:
    talks = [await bench.recording(SPEAKER_00=0), await bench.recording(SPEAKER_00=1)]
    for each in talks:
        await bench.assign(each, called("Alice"))
    bench.vault.broken = {talks[1]}
    with pytest.raises(UpstreamUnavailable):
        await bench.naming.rename(ANNA, "alice", EditSpeaker(name="Alicia"), None)
    bench.vault.broken = set()
    before = bench.vault.kept[talks[0]].revision
    done = await bench.naming.rename(ANNA, "alice", EditSpeaker(name="Alicia"), None)
    assert [bench.vault.names(each) for each in talks] == [["Alicia"]] * 2 and done.recordings == talks
    assert bench.vault.kept[talks[0]].revision == before, "what has the name already is left alone"
    assert (await bench.naming.rename(ANNA, "alice", EditSpeaker(name="Alicia"), None)).undo_id is None


async def test_a_rename_is_not_taken_back_over_a_later_one(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    await bench.assign(talk, called("Alice"))
    first = await bench.naming.rename(ANNA, "alice", EditSpeaker(name="Alicia"), None)
    second = await bench.naming.rename(ANNA, "alice", EditSpeaker(name="Alix"), None)
    assert await bench.undo(first.undo_id) == ([], [talk])
    assert (await bench.speakers.get(ANNA.user_id, "alice")).name == "Alix"
    assert await bench.undo(second.undo_id) == ([talk], [])
    assert (await bench.speakers.get(ANNA.user_id, "alice")).name == "Alicia" and bench.vault.names(talk) == ["Alicia"]


async def test_names_are_given_without_a_speaker_model(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    await bench.assign(talk, called("Alice"))
    bench.voices.use(None)
    assert not bench.voices.ready
    done = await bench.assign(talk, called("Bob"))
    assert bench.vault.names(talk) == ["Bob"] and done.relabelling == []
    assert [each.code for each in done.warnings] == ["voice_not_learned"]
    assert await bench.prints() == {"alice": 0, "bob": 0}


async def test_a_voice_of_another_model_is_not_learned_as_this_ones(bench: Bench) -> None:
    talk = await bench.recording(SPEAKER_00=0)
    other = ToyVoices()
    other.model = "other-voices"
    bench.voices.use(cast(Diarizer, other))
    done = await bench.assign(talk, called("Alice"))
    assert [each.code for each in done.warnings] == ["voice_not_learned"] and await bench.prints() == {"alice": 0}


async def test_the_loop_compares_no_voices_and_asyncios_threads_judge_no_samples(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk, threads = await bench.recording(SPEAKER_00=0), []
    other = await bench.recording(SPEAKER_00=0)
    real = services.transcription.naming._matches

    def matches(*given: Any) -> Any:
        threads.append(threading.current_thread())
        return real(*given)

    monkeypatch.setattr(services.transcription.naming, "_matches", matches)
    found = await bench.assign(talk, called("Alice"))
    assert [each.transcript_id for each in found.relabelling] == [other]
    assert threads and threading.main_thread() not in threads
    await bench.voices.enroll(ANNA.user_id, "eve", None, VECTORS[0], {})
    assert cast(Any, bench.voices.diarizer).thread.startswith("sample")
