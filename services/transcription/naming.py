"""Names for the speakers of a recording, and for the same voices in earlier ones; each change can be taken back."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from services.transcription.identification import Known, identify
from services.transcription.speakers import Person, Speakers
from services.transcription.voices import ENOUGH_S, Voices, enrolled, voice_of
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Invalid, NotFound, ProductError
from shared.schemas.edits import ChangeSpeakers
from shared.schemas.ids import new_id
from shared.schemas.problem import FieldError
from shared.schemas.speakers import (
    AssignSpeakers,
    EditSpeaker,
    Relabelling,
    SpeakerEdited,
    SpeakerOfLabel,
    SpeakersAssigned,
    Undone,
)
from shared.schemas.transcription import Notice, Speaker, Transcript

MOST_LOOKED_AT = 2_000
"""Voices of earlier recordings that a new name is compared with, the newest first."""
LEAST_S = 3.0
"""Speech from which a label's voice is worth learning."""


class Naming:
    """All users' names; every method is told whose."""

    def __init__(self, voices: Voices, rag: RagClient) -> None:
        self._voices, self._speakers, self._rag = voices, voices.speakers, rag

    async def assign(self, user: Principal, transcript: Transcript, wanted: AssignSpeakers) -> SpeakersAssigned:
        """Raises Invalid naming the label or the speaker that is not there."""
        change = _Change(user, self._speakers, preview=wanted.preview)
        labels = {each.label for each in transcript.speakers}
        warnings: list[Notice] = []
        named: dict[str, Speaker] = {}
        for at, each in enumerate(wanted.speakers):
            if each.label not in labels:
                raise _invalid(f"/speakers/{at}/label", f"The recording has no speaker {each.label!r}.")
            named[each.label] = await self._speaker(change, at, each)
        voices = await self._speakers.voices(user.user_id, transcript.transcript_id)
        known = await self._learned(change, wanted, named, voices, transcript.transcript_id, warnings)
        found = await self._heard_elsewhere(user, transcript.transcript_id, known, change.names)
        if wanted.preview:
            return SpeakersAssigned(transcript=_with(transcript, named), relabelling=found, warnings=warnings)
        changed = await self._put(change, transcript, list(named.values()))
        chosen = [each for each in found if each.transcript_id in wanted.relabel]
        await self._relabel(change, chosen)
        return SpeakersAssigned(
            transcript=changed,
            relabelling=[each for each in found if each not in chosen],
            relabelled=chosen,
            warnings=warnings,
            undo_id=await change.kept(),
        )

    async def _speaker(self, change: _Change, at: int, wanted: SpeakerOfLabel) -> Speaker:
        if wanted.speaker_id is None and wanted.name is None:
            return Speaker(label=wanted.label)
        people = await change.people()
        person = people.get(wanted.speaker_id or "") or _called(people, wanted.name, wanted.speaker_id)
        if person is None and wanted.name is None:
            raise _invalid(f"/speakers/{at}/speaker_id", f"There is no speaker {wanted.speaker_id!r}; say a name too.")
        speaker_id = person.speaker_id if person else wanted.speaker_id or slug(wanted.name or "", set(people))
        name = person.name if person else wanted.name or speaker_id
        if person is None:
            await change.add(speaker_id, name)
        change.names[speaker_id] = name
        return Speaker(label=wanted.label, speaker_id=speaker_id, name=name, method="manual")

    async def _learned(
        self,
        change: _Change,
        wanted: AssignSpeakers,
        named: dict[str, Speaker],
        voices: dict[str, dict[str, Any]],
        recording_id: str,
        warnings: list[Notice],
    ) -> list[Known]:
        """The voices of those who were named, as they may be looked for elsewhere."""
        fresh: dict[str, list[Any]] = {}
        for each in wanted.speakers:
            speaker_id, value = named[each.label].speaker_id, voices.get(each.label)
            if speaker_id is None or not each.enroll:
                continue
            if value is None or value["seconds"] < LEAST_S:
                detail = f"{each.label} speaks too little to be recognised elsewhere; the name is used here."
                warnings.append(Notice(code="voice_too_short", detail=detail))
                continue
            voice = voice_of(value)
            fresh.setdefault(speaker_id, []).append(voice.vector)
            if not change.preview:
                quality = min(1.0, voice.seconds / ENOUGH_S)
                source = {"recording_id": recording_id, "label": each.label}
                change.prints.append(await self._voices.add(change.user.user_id, speaker_id, voice, quality, source))
        known = {each.speaker_id: list(each.vectors) for each in (await self._voices.known(change.user.user_id))[0]}
        for speaker_id, vectors in fresh.items():
            if change.preview:
                known.setdefault(speaker_id, []).extend(vectors)
        return [Known(speaker_id, vectors) for speaker_id, vectors in known.items()]

    async def _heard_elsewhere(
        self, user: Principal, recording_id: str, known: Sequence[Known], names: dict[str, str]
    ) -> list[Relabelling]:
        """Labels of other recordings that sound like somebody who was named now and are not called so."""
        model = self._voices.diarizer.model
        by_recording: dict[str, dict[str, Any]] = {}
        for other, label, value in await self._speakers.other_voices(user.user_id, recording_id, MOST_LOOKED_AT):
            if value["model"] == model:
                by_recording.setdefault(other, {})[label] = voice_of(value)
        found = []
        for other, voices in by_recording.items():
            labels = list(voices)
            matches = identify(dict(enumerate(voices.values())), known, self._voices.diarizer.thresholds)
            wanted = {
                labels[at]: match for at, match in matches.items() if match is not None and match.speaker_id in names
            }
            if wanted:
                found += await self._relabellings(user, other, wanted, names)
        return found

    async def _relabellings(
        self, user: Principal, recording_id: str, matches: dict[str, Any], names: dict[str, str]
    ) -> list[Relabelling]:
        try:
            transcript = await self._rag.transcript(user, recording_id)
        except NotFound:
            return []
        return [
            Relabelling(
                transcript_id=recording_id, title=transcript.title, created_at=transcript.created_at, label=each.label,
                name_now=each.name, speaker_id=match.speaker_id, name=names[match.speaker_id],
                confidence=round(match.confidence, 3), talk_s=each.talk_s,
            )
            for each in transcript.speakers
            if (match := matches.get(each.label)) and each.speaker_id != match.speaker_id and each.method != "manual"
        ]  # fmt: skip

    async def _relabel(self, change: _Change, chosen: Sequence[Relabelling]) -> None:
        by_recording: dict[str, list[Speaker]] = {}
        for each in chosen:
            speaker = Speaker(
                label=each.label, speaker_id=each.speaker_id, name=each.name, confidence=each.confidence,
                method="voiceprint",
            )  # fmt: skip
            by_recording.setdefault(each.transcript_id, []).append(speaker)
        for recording_id, speakers in by_recording.items():
            with suppress(NotFound):  # deleted meanwhile
                await self._put(change, await self._rag.transcript(change.user, recording_id), speakers)

    async def _put(self, change: _Change, transcript: Transcript, speakers: list[Speaker]) -> Transcript:
        before = [each for each in transcript.speakers if each.label in {s.label for s in speakers}]
        change.before[transcript.transcript_id] = [each.model_dump() for each in before]
        return await self._rag.put_speakers(change.user, transcript.transcript_id, ChangeSpeakers(speakers=speakers))

    # -- another name

    async def rename(self, user: Principal, speaker_id: str, edit: EditSpeaker, expected: int | None) -> SpeakerEdited:
        """The name in every recording that carries it. Raises NotFound, PreconditionFailed."""
        person = await self._speakers.get(user.user_id, speaker_id)
        carry = await self._recordings_of(user, speaker_id)
        ids = [each.transcript_id for each in carry]
        if edit.preview or edit.name == person.name:
            return SpeakerEdited(speaker=enrolled(person), recordings=ids)
        change = _Change(user, self._speakers)
        change.renamed = {speaker_id: person.name}
        await self._speakers.rename(user.user_id, speaker_id, edit.name, expected)
        for transcript in carry:
            theirs = [each for each in transcript.speakers if each.speaker_id == speaker_id]
            with suppress(NotFound):
                renamed = [each.model_copy(update={"name": edit.name}) for each in theirs]
                await self._put(change, transcript, renamed)
        now = await self._speakers.get(user.user_id, speaker_id)
        return SpeakerEdited(speaker=enrolled(now), recordings=ids, undo_id=await change.kept())

    async def _recordings_of(self, user: Principal, speaker_id: str) -> list[Transcript]:
        found: list[Transcript] = []
        cursor: str | None = None
        while True:
            page = await self._rag.transcripts(user, limit=200, cursor=cursor, speaker=speaker_id)
            carry = [each for each in page.data if any(who.speaker_id == speaker_id for who in each.speakers)]
            found += [await self._rag.transcript(user, each.transcript_id) for each in carry]
            if not page.has_more:
                return found
            cursor = page.next_cursor

    # -- taking back

    async def undo(self, user: Principal, undo_id: str) -> Undone:
        """All that one naming changed. Raises NotFound, also for one that was taken back already."""
        value = await self._speakers.take_naming(user.user_id, undo_id)
        done, skipped = [], []
        for recording_id, speakers in value["before"].items():
            change = ChangeSpeakers(speakers=[Speaker.model_validate(each) for each in speakers])
            try:
                await self._rag.put_speakers(user, recording_id, change)
                done.append(recording_id)
            except NotFound:
                skipped.append(recording_id)
        await self._speakers.delete_prints(user.user_id, value["prints"])
        with suppress(ProductError):
            for speaker_id, name in value["renamed"].items():
                await self._speakers.rename(user.user_id, speaker_id, name, None)
            for speaker_id in value["added"]:
                if not (await self._speakers.get(user.user_id, speaker_id)).prints:
                    await self._speakers.delete(user.user_id, speaker_id, None)
        return Undone(recordings=done, skipped=skipped)


class _Change:
    """What one call changes, so that it can be taken back."""

    def __init__(self, user: Principal, speakers: Speakers, *, preview: bool = False) -> None:
        self.user, self.preview, self._speakers = user, preview, speakers
        self.names: dict[str, str] = {}
        """Of those who are named in this call, by speaker id."""
        self.before: dict[str, list[dict[str, Any]]] = {}
        self.prints: list[str] = []
        self.added: list[str] = []
        self.renamed: dict[str, str] = {}

    async def people(self) -> dict[str, Person]:
        return {each.speaker_id: each for each in await self._speakers.all(self.user.user_id)}

    async def add(self, speaker_id: str, name: str) -> None:
        if not self.preview:
            await self._speakers.add(self.user.user_id, speaker_id, name)
            self.added.append(speaker_id)

    async def kept(self) -> str:
        value = {"before": self.before, "prints": self.prints, "added": self.added, "renamed": self.renamed}
        return await self._speakers.add_naming(self.user.user_id, value)


def _with(transcript: Transcript, named: dict[str, Speaker]) -> Transcript:
    """As it would be."""
    speakers = [
        named[each.label].model_copy(update={"talk_s": each.talk_s}) if each.label in named else each
        for each in transcript.speakers
    ]
    return transcript.model_copy(update={"speakers": speakers})


def _called(people: dict[str, Person], name: str | None, speaker_id: str | None) -> Person | None:
    """Somebody of that name, where no id says that another is meant."""
    if name is None or speaker_id is not None:
        return None
    wanted = name.casefold()
    return next((each for each in people.values() if each.name.casefold() == wanted), None)


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError(pointer=pointer, detail=detail)])


def slug(name: str, taken: set[str]) -> str:
    """An id for a name, `john_doe`; one of its own where nothing of the name can be used."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    base = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")[:48]
    if not base:
        return new_id("spk")
    if base not in taken:
        return base
    return next(found for at in range(2, 10_000) if (found := f"{base}_{at}") not in taken)
