"""Whose voice is it? Samples of voices, and the speakers of a recording recognised by them.

Open set: whoever is not clearly one of the enrolled stays unknown. A voice is a convenience, never authentication.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from services.transcription.diarization import label_of
from services.transcription.engines import Diarizer, Sample, Sound, Voice
from services.transcription.engines.live_speakers import LiveSpeakers
from services.transcription.identification import Known, Match, identify
from services.transcription.repository import Recording
from services.transcription.speakers import Person, Speakers
from shared.errors import Invalid, ModelNotReady
from shared.lifecycle import comes
from shared.schemas.problem import FieldError
from shared.schemas.speakers import EnrolledSpeaker, Enrolment
from shared.schemas.transcription import Speaker

Plain = dict[str, Any]
SETTLE_S = 20.0
"""How long one waits for the speaker model: it comes a moment later than the first client of a service just started."""
ENOUGH_S = 20.0
"""Speech from which more of it makes a sample little better."""
PROBLEMS = {
    "too_short": "There is too little speech in it; a few sentences, ten seconds or more, make a good sample.",
    "no_speech": "No speech was found in it: silence, noise or music cannot be enrolled.",
    "several_voices": "More than one voice is heard in it; send a part in which only this person speaks.",
    "music": "It sounds like music rather than speech.",
}


def plain(voice: Voice) -> Plain:
    """As JSON."""
    vector = base64.b64encode(np.asarray(voice.vector, dtype="<f4").tobytes()).decode()
    return {"vector": vector, "seconds": round(voice.seconds, 3)}


def voice_of(value: Mapping[str, Any]) -> Voice:
    vector = np.frombuffer(base64.b64decode(value["vector"]), dtype="<f4")
    return Voice(vector, float(value["seconds"]))


class Voices:
    """The enrolled voices of all users; every method is told whose."""

    def __init__(self, speakers: Speakers) -> None:
        self.speakers = speakers
        self._diarizer: Diarizer | None = None
        self._settled = asyncio.Event()
        # Not asyncio's own threads: live streams need those for what they write.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sample")

    def use(self, diarizer: Diarizer | None) -> None:
        self._diarizer = diarizer
        self._settled.set()

    async def loaded(self) -> Diarizer:
        """Waits a moment for a model that is still being loaded. Raises ModelNotReady."""
        if not await comes(self._settled, SETTLE_S):
            raise ModelNotReady("The speaker model is still being loaded; try again in a minute.")
        return self.diarizer

    @property
    def ready(self) -> bool:
        """False where no speaker model is installed: nothing can be learned or compared."""
        return self._diarizer is not None

    @property
    def diarizer(self) -> Diarizer:
        """Raises ModelNotReady."""
        if self._diarizer is None:
            raise ModelNotReady("No speaker model is installed; run `nemo models pull` and start again.")
        return self._diarizer

    # -- recognising

    async def known(self, owner: str, without: Collection[str] = ()) -> tuple[list[Known], dict[str, Person]]:
        """Those with samples that this model can compare, but for the samples with these ids; and everybody."""
        people = {each.speaker_id: each for each in await self.speakers.all(owner)}
        found = [
            Known(each.speaker_id, vectors) for each in people.values() if (vectors := self._vectors(each, without))
        ]
        return found, people

    def _vectors(self, person: Person, without: Collection[str]) -> list[Sound]:
        kept = [value for print_id, value in person.prints.items() if print_id not in without]
        return [voice_of(each).vector for each in kept if each["model"] == self.diarizer.model]

    async def matches(self, owner: str, voices: Mapping[str, Voice]) -> dict[str, Match]:
        """By label, those who were recognised."""
        if self._diarizer is None or not voices:
            return {}
        known, _ = await self.known(owner)
        labels = list(voices)
        numbered = {number: voices[label] for number, label in enumerate(labels)}
        found = identify(numbered, known, self._diarizer.thresholds)
        return {labels[number]: match for number, match in found.items() if match is not None}

    async def recognised(self, owner: str, voices: Mapping[str, Voice]) -> dict[str, Speaker]:
        """By label, as a transcript carries them."""
        matches = await self.matches(owner, voices)
        names = {each.speaker_id: each.name for each in await self.speakers.all(owner)} if matches else {}
        return {
            label: Speaker(
                label=label, speaker_id=match.speaker_id, name=names[match.speaker_id],
                confidence=round(match.confidence, 3), method="voiceprint",
            )
            for label, match in matches.items() if match.speaker_id in names
        }  # fmt: skip

    async def keep(self, recording: Recording, voices: Mapping[str, Voice]) -> None:
        """How the labels of a recording sound, for names that are given later."""
        model = self._diarizer.model if self._diarizer is not None else ""
        values = {label: plain(voice) | {"model": model} for label, voice in voices.items()}
        await self.speakers.keep_voices(recording.owner, recording.recording_id, values)

    async def live(self, recording: Recording) -> LiveVoices:
        """For one live session; who is enrolled while it runs is recognised by its end."""
        await comes(self._settled, SETTLE_S)
        if self._diarizer is None:
            return LiveVoices(None, [], {})
        known, people = await self.known(recording.owner)
        return LiveVoices(self._diarizer, known, {each.speaker_id: each.name for each in people.values()})

    # -- enrolling

    async def enroll(self, owner: str, speaker_id: str, name: str | None, sound: Sound, source: Plain) -> Enrolment:
        """One more sample. Raises Invalid with the reason where it is none."""
        diarizer = await self.loaded()
        sample = await asyncio.get_running_loop().run_in_executor(self._thread, diarizer.sample, sound)
        if sample.voice is None or sample.problem is not None:
            raise unfit(sample)
        await self._named(owner, speaker_id, name)
        await self.add(owner, speaker_id, sample.voice, sample.quality, source)
        person = await self.speakers.get(owner, speaker_id)
        seconds = round(sample.voice.seconds, 1)
        return Enrolment(
            speaker=enrolled(person), seconds=seconds, quality=round(sample.quality, 3), detail=_worth(sample, seconds)
        )

    async def _named(self, owner: str, speaker_id: str, name: str | None) -> None:
        """The speaker is there, under this name where one is said."""
        there = {each.speaker_id: each for each in await self.speakers.all(owner)}
        if speaker_id not in there:
            await self.speakers.add(owner, speaker_id, name or speaker_id.replace("_", " "))
        elif name is not None and there[speaker_id].name != name:
            await self.speakers.rename(owner, speaker_id, name, None)

    async def add(self, owner: str, speaker_id: str, voice: Voice, quality: float, source: Plain) -> str:
        """The sample's id."""
        value = plain(voice) | source | {"model": self.diarizer.model, "quality": round(quality, 3)}
        return await self.speakers.add_print(owner, speaker_id, value)


def unfit(sample: Sample) -> Invalid:
    problem = sample.problem or "no_speech"
    return Invalid(
        f"This cannot be used as a sample of a voice. {PROBLEMS[problem]}",
        errors=[FieldError(pointer="/audio_file", detail=problem)],
    )


def _worth(sample: Sample, seconds: float) -> str:
    if sample.quality >= 0.7:
        return f"A good sample of {seconds:g} s of speech."
    hint = "more speech" if seconds < ENOUGH_S else "a quieter room or a closer microphone"
    return f"A usable sample of {seconds:g} s of speech; {hint} would make it better."


def enrolled(person: Person) -> EnrolledSpeaker:
    """Quality of several samples: the mean, weighted by how much speech is in each."""
    seconds = [float(each["seconds"]) for each in person.prints.values()]
    quality = [float(each["quality"]) for each in person.prints.values()]
    mean = float(np.average(quality, weights=np.maximum(seconds, 0.1))) if seconds else 0.0
    return EnrolledSpeaker(
        speaker_id=person.speaker_id, name=person.name, embeddings=len(person.prints), seconds=round(sum(seconds), 1),
        quality=round(mean, 3), created_at=person.created_at, updated_at=person.updated_at, revision=person.revision,
    )  # fmt: skip


class LiveVoices:
    """Labels and names of one live session."""

    def __init__(self, diarizer: Diarizer | None, known: Sequence[Known], names: Mapping[str, str]) -> None:
        self._diarizer, self._known, self._people = diarizer, known, names
        self._speakers = LiveSpeakers()
        self._segments: list[tuple[list[str], str]] = []
        """Segment ids of each voice that was added, and the label that they carry."""
        self._names: dict[str, str] = {}
        self._since = 0

    @staticmethod
    def plain(voice: Voice | None) -> Plain | None:
        return None if voice is None else plain(voice)

    def restore(self, voice: Plain | None, segments: Sequence[Mapping[str, Any]]) -> None:
        if segments:
            self.add(voice_of(voice) if voice else None, [each["segment_id"] for each in segments])

    def add(self, voice: Voice | None, segment_ids: list[str]) -> str:
        """The label of an utterance; without a voice that of the one before."""
        if voice is None:
            return self._segments[-1][1] if self._segments else label_of(0)
        label = label_of(self._speakers.add(voice))
        self._segments.append((segment_ids, label))
        self._since += 1
        self._recognise(label, voice)
        return label

    def _recognise(self, label: str, voice: Voice) -> None:
        if label in self._names or self._diarizer is None:
            return
        match = identify({0: voice}, self._known, self._diarizer.thresholds).get(0)
        if match is not None:
            self._names[label] = self._people[match.speaker_id]

    def name_of(self, label: str) -> str | None:
        return self._names.get(label)

    def labels(self) -> Iterator[tuple[str, str]]:
        """(segment id, label) of all, as they are now."""
        for segment_ids, label in self._segments:
            yield from ((each, label) for each in segment_ids)

    def due(self, every: int) -> bool:
        """So many utterances were added since the labels were looked at anew."""
        return self._since >= every

    def revised(self) -> list[tuple[str, str]]:
        """(segment id, label) of those that turned out to be another's."""
        self._since, changed = 0, []
        for at, number in enumerate(self._speakers.revised()):
            segment_ids, label = self._segments[at]
            if label_of(number) != label:
                self._segments[at] = (segment_ids, label_of(number))
                changed += [(each, label_of(number)) for each in segment_ids]
        return changed
