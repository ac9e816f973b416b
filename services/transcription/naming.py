"""Names for the speakers of a recording, and for the same voices in earlier ones; each change can be taken back."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from typing import Any

from services.transcription.engines import Thresholds, Voice
from services.transcription.identification import Known, Match, identify
from services.transcription.speakers import Person, Speakers
from services.transcription.voices import ENOUGH_S, Voices, enrolled, voice_of
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Invalid, NotFound, PreconditionFailed, ProductError
from shared.etags import etag
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
        """All or nothing. Raises Invalid naming the label or the speaker that is not there."""
        change = _Change(user, self._speakers, preview=wanted.preview)
        try:
            return await self._assigned(change, transcript, wanted)
        except BaseException:  # also where the caller hung up
            with suppress(ProductError):  # the first error is the one to tell
                await self._rolled_back(change)
            raise

    async def _assigned(self, change: _Change, transcript: Transcript, wanted: AssignSpeakers) -> SpeakersAssigned:
        labels = {each.label for each in transcript.speakers}
        named: dict[str, Speaker] = {}
        for at, each in enumerate(wanted.speakers):
            if each.label not in labels:
                raise _invalid(f"/speakers/{at}/label", f"The recording has no speaker {each.label!r}.")
            named[each.label] = await self._speaker(change, at, each)
        voices, warnings = await self._voices_of(change, transcript.transcript_id, wanted, named)
        known = await self._learned(change, transcript.transcript_id, named, voices)
        found = await self._heard_elsewhere(change.user, transcript.transcript_id, known, change.names)
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

    async def _voices_of(
        self, change: _Change, recording_id: str, wanted: AssignSpeakers, named: dict[str, Speaker]
    ) -> tuple[dict[str, Voice], list[Notice]]:
        """By label, the voices to be learned; and why others are not."""
        model = self._voices.diarizer.model if self._voices.ready else None
        stored = await self._speakers.voices(change.user.user_id, recording_id)
        voices: dict[str, Voice] = {}
        warnings: list[Notice] = []
        for each in wanted.speakers:
            if named[each.label].speaker_id is None or not each.enroll:
                continue
            value = stored.get(each.label)
            warning = _unfit(each.label, value, model)
            if warning is not None:
                warnings.append(warning)
            elif value is not None:
                voices[each.label] = voice_of(value)
        return voices, warnings

    async def _learned(
        self, change: _Change, recording_id: str, named: dict[str, Speaker], voices: dict[str, Voice]
    ) -> list[Known]:
        """Everybody's voices as they may be looked for elsewhere, these among them."""
        outdated = await self._outdated(change, recording_id, named, voices)
        if not change.preview:
            await self._drop(change, outdated)
            for label, voice in voices.items():
                await self._learn(change, recording_id, named[label], voice)
        if not self._voices.ready:
            return []
        known = {
            each.speaker_id: list(each.vectors)
            for each in (await self._voices.known(change.user.user_id, [each["print_id"] for each in outdated]))[0]
        }
        if change.preview:
            for label, voice in voices.items():
                known.setdefault(named[label].speaker_id or "", []).append(voice.vector)
        return [Known(speaker_id, vectors) for speaker_id, vectors in known.items()]

    async def _outdated(
        self, change: _Change, recording_id: str, named: dict[str, Speaker], voices: dict[str, Voice]
    ) -> list[dict[str, Any]]:
        """Samples of these labels that are now another's, or that are learned anew.

        A sample learned under a wrong name would mislead for ever.
        """
        return [
            {"print_id": print_id, "speaker_id": person.speaker_id, "value": value}
            for person in (await change.people()).values()
            for print_id, value in person.prints.items()
            if value.get("recording_id") == recording_id
            and (label := value.get("label")) in named
            and (label in voices or named[label].speaker_id != person.speaker_id)
        ]

    async def _drop(self, change: _Change, prints: list[dict[str, Any]]) -> None:
        change.dropped = prints
        if prints:
            await self._speakers.delete_prints(change.user.user_id, [each["print_id"] for each in prints])

    async def _learn(self, change: _Change, recording_id: str, speaker: Speaker, voice: Voice) -> None:
        quality = min(1.0, voice.seconds / ENOUGH_S)
        source = {"recording_id": recording_id, "label": speaker.label}
        added = await self._voices.add(change.user.user_id, speaker.speaker_id or "", voice, quality, source)
        change.prints.append(added)

    async def _heard_elsewhere(
        self, user: Principal, recording_id: str, known: Sequence[Known], names: dict[str, str]
    ) -> list[Relabelling]:
        """Labels of other recordings that sound like somebody who was named now and are not called so."""
        if not known or not names:
            return []
        others = await self._speakers.other_voices(user.user_id, recording_id, MOST_LOOKED_AT)
        diarizer = self._voices.diarizer
        # Seconds of computing for somebody who has many recordings.
        matches = await asyncio.to_thread(_matches, others, known, names, diarizer.model, diarizer.thresholds)
        return [
            each for other, wanted in matches.items() for each in await self._relabellings(user, other, wanted, names)
        ]

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
        labels = {each.label for each in speakers}
        change.before[transcript.transcript_id] = [
            each.model_dump() for each in transcript.speakers if each.label in labels
        ]
        change.after[transcript.transcript_id] = [each.model_dump() for each in speakers]
        changed = await self._rag.put_speakers(change.user, transcript.transcript_id, ChangeSpeakers(speakers=speakers))
        change.stored.add(transcript.transcript_id)
        return changed

    async def _rolled_back(self, change: _Change) -> None:
        """As if the call had never been; what cannot be taken back from a recording keeps its people and voices."""
        if change.preview:
            return
        user, value = change.user, change.value()
        back = await self._recordings_back(user, value)
        if change.stored & back.failed.keys():
            return
        await self._prints_back(user, value)
        for speaker_id in change.added:
            await self._remove(user, speaker_id)

    # -- another name

    async def rename(self, user: Principal, speaker_id: str, edit: EditSpeaker, expected: int | None) -> SpeakerEdited:
        """The name in every recording that carries it; done again, it goes on where it broke off.

        Raises NotFound, PreconditionFailed.
        """
        person = await self._speakers.get(user.user_id, speaker_id)
        carry = await self._recordings_of(user, speaker_id)
        ids = [each.transcript_id for each in carry]
        late = [each for each in carry if any(who.name != edit.name for who in _theirs(each, speaker_id))]
        if edit.preview or (edit.name == person.name and not late):
            return SpeakerEdited(speaker=enrolled(person), recordings=ids)
        change = _Change(user, self._speakers)
        if edit.name != person.name:
            change.renamed = {speaker_id: {"before": person.name, "after": edit.name}}
            await self._speakers.rename(user.user_id, speaker_id, edit.name, expected)
        for transcript in late:
            with suppress(NotFound):
                renamed = [each.model_copy(update={"name": edit.name}) for each in _theirs(transcript, speaker_id)]
                await self._put(change, transcript, renamed)
        now = await self._speakers.get(user.user_id, speaker_id)
        return SpeakerEdited(speaker=enrolled(now), recordings=ids, undo_id=await change.kept())

    async def _recordings_of(self, user: Principal, speaker_id: str) -> list[Transcript]:
        return [await self._rag.transcript(user, each) async for each in self._carriers(user, speaker_id)]

    async def _carriers(self, user: Principal, speaker_id: str) -> AsyncIterator[str]:
        """Ids of the recordings in which somebody is heard."""
        cursor: str | None = None
        while True:
            page = await self._rag.transcripts(user, limit=200, cursor=cursor, speaker=speaker_id)
            for each in page.data:
                if any(who.speaker_id == speaker_id for who in each.speakers):
                    yield each.transcript_id
            if not page.has_more:
                return
            cursor = page.next_cursor

    # -- taking back

    async def undo(self, user: Principal, undo_id: str) -> Undone:
        """All that one naming changed. Raises NotFound, also for one that was taken back already.

        Where it breaks off it can be done again: each step may be done twice, and the record of it goes last.
        """
        value = await self._speakers.naming(user.user_id, undo_id)
        await self._prints_back(user, value)
        back = await self._recordings_back(user, value)
        for speaker_id, names in value["renamed"].items():
            await self._name_back(user, speaker_id, names["before"], names["after"])
        for error in back.failed.values():
            raise error
        for speaker_id in value["added"]:
            if not await self._is_carried(user, speaker_id):
                await self._remove(user, speaker_id)
        await self._speakers.delete_naming(user.user_id, undo_id)
        return Undone(recordings=back.done, skipped=back.skipped)

    async def _prints_back(self, user: Principal, value: dict[str, Any]) -> None:
        if value["prints"]:
            await self._speakers.delete_prints(user.user_id, value["prints"])
        for each in value["dropped"]:
            with suppress(NotFound):  # the speaker was deleted since
                await self._speakers.restore_print(user.user_id, each["speaker_id"], each["print_id"], each["value"])

    async def _recordings_back(self, user: Principal, value: dict[str, Any]) -> _Back:
        """One that fails keeps no other from its turn."""
        back = _Back()
        for recording_id, before in value["before"].items():
            try:
                is_back = await self._recording_back(user, recording_id, before, value["after"][recording_id])
            except (NotFound, PreconditionFailed, Invalid):  # deleted or changed meanwhile
                back.skipped.append(recording_id)
            except ProductError as error:
                back.failed[recording_id] = error
            else:
                (back.done if is_back else back.skipped).append(recording_id)
        return back

    async def _recording_back(
        self, user: Principal, recording_id: str, before: list[dict[str, Any]], after: list[dict[str, Any]]
    ) -> bool:
        """False where its speakers were named anew since. Edits of what they say do not matter."""
        now = await self._rag.transcript(user, recording_id)
        if _carries(now, before):
            return True
        if not _carries(now, after):
            return False
        change = ChangeSpeakers(speakers=[Speaker.model_validate(each) for each in before])
        await self._rag.put_speakers(user, recording_id, change, {"If-Match": etag(now.revision)})
        return True

    async def _name_back(self, user: Principal, speaker_id: str, before: str, after: str) -> None:
        with suppress(NotFound, PreconditionFailed):  # deleted or renamed meanwhile
            person = await self._speakers.get(user.user_id, speaker_id)
            if person.name == after:
                await self._speakers.rename(user.user_id, speaker_id, before, person.revision)

    async def _is_carried(self, user: Principal, speaker_id: str) -> bool:
        """By a recording that was named by another call."""
        async for _ in self._carriers(user, speaker_id):
            return True
        return False

    async def _remove(self, user: Principal, speaker_id: str) -> None:
        """Unless there are other samples of the voice."""
        with suppress(NotFound, PreconditionFailed):
            person = await self._speakers.get(user.user_id, speaker_id)
            if not person.prints:
                await self._speakers.delete(user.user_id, speaker_id, person.revision)


class _Change:
    """What one call changes, so that it can be taken back."""

    def __init__(self, user: Principal, speakers: Speakers, *, preview: bool = False) -> None:
        self.user, self.preview, self._speakers = user, preview, speakers
        self.names: dict[str, str] = {}
        """Of those who are named in this call, by speaker id."""
        self.before: dict[str, list[dict[str, Any]]] = {}
        """By recording, the speakers that were changed, as they were; and in `after`, as this call makes them."""
        self.after: dict[str, list[dict[str, Any]]] = {}
        self.stored: set[str] = set()
        """Recordings that have been changed for sure."""
        self.prints: list[str] = []
        self.dropped: list[dict[str, Any]] = []
        """Samples that were deleted: print_id, speaker_id and the value."""
        self.added: list[str] = []
        self.renamed: dict[str, dict[str, str]] = {}
        """By speaker id, the name before and after."""

    async def people(self) -> dict[str, Person]:
        return {each.speaker_id: each for each in await self._speakers.all(self.user.user_id)}

    async def add(self, speaker_id: str, name: str) -> None:
        if not self.preview:
            await self._speakers.add(self.user.user_id, speaker_id, name)
            self.added.append(speaker_id)

    def value(self) -> dict[str, Any]:
        return {
            "before": self.before, "after": self.after, "prints": self.prints, "dropped": self.dropped,
            "added": self.added, "renamed": self.renamed,
        }  # fmt: skip

    async def kept(self) -> str:
        return await self._speakers.add_naming(self.user.user_id, self.value())


class _Back:
    """Recordings whose speakers are again what they were, those that are left alone, and those to be tried again."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.skipped: list[str] = []
        self.failed: dict[str, ProductError] = {}


def _unfit(label: str, value: dict[str, Any] | None, model: str | None) -> Notice | None:
    """Why a voice is not learned, for a reader."""
    if model is None or (value is not None and value["model"] != model):
        detail = f"The voice of {label} cannot be compared with others now; the name is used here."
        return Notice(code="voice_not_learned", detail=detail)
    if value is None or value["seconds"] < LEAST_S:
        detail = f"{label} speaks too little to be recognised elsewhere; the name is used here."
        return Notice(code="voice_too_short", detail=detail)
    return None


def _matches(
    others: Sequence[tuple[str, str, dict[str, Any]]],
    known: Sequence[Known],
    names: Collection[str],
    model: str,
    thresholds: Thresholds,
) -> dict[str, dict[str, Match]]:
    """By recording and label, those of `names` who are heard there. Computes for long where there are many voices."""
    voices: dict[str, dict[str, Voice]] = {}
    for recording_id, label, value in others:
        if value["model"] == model:
            voices.setdefault(recording_id, {})[label] = voice_of(value)
    found: dict[str, dict[str, Match]] = {}
    for recording_id, by_label in voices.items():
        labels = list(by_label)
        matches = identify(dict(enumerate(by_label.values())), known, thresholds)
        wanted = {labels[at]: match for at, match in matches.items() if match and match.speaker_id in names}
        if wanted:
            found[recording_id] = wanted
    return found


def _theirs(transcript: Transcript, speaker_id: str) -> list[Speaker]:
    return [each for each in transcript.speakers if each.speaker_id == speaker_id]


def _carries(transcript: Transcript, speakers: Sequence[dict[str, Any]]) -> bool:
    """Its labels are these speakers; how long they talk does not matter."""
    now = {each.label: each.model_dump(exclude={"talk_s"}) for each in transcript.speakers}
    wanted = [{name: value for name, value in each.items() if name != "talk_s"} for each in speakers]
    return all(now.get(each["label"]) == each for each in wanted)


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
