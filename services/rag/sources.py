"""What facts are learnt from: recordings turn by turn, and what a user wrote in chats."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.rag.passages import speaker_keys
from shared.schemas.rag import Message
from shared.schemas.transcription import Segment, Speaker, Transcript

MOST_CHARS = 50_000
"""Of one message that are read; more is something pasted, not something said."""
LONGEST_TURN = 600
"""Characters up to which segments are joined, where a sentence goes on from one to the next."""
LONGEST_PAUSE_S = 1.5
USER = "You"
_ENDS = re.compile(r"[.!?…][\"'”’)]*$")


@dataclass(frozen=True)
class Utterance:
    """What one person said or wrote in one go."""

    text: str
    subject: str
    subject_key: str
    """Who that is, for comparing: an unknown voice of one recording is nobody in another."""
    said_at: datetime
    speaker_keys: tuple[str, ...] = ()
    """All that the speaker may be asked for by."""
    pieces: tuple[tuple[int, Segment], ...] = ()
    """Segments and where in the text each begins; none where it was written."""
    around: str = ""
    """What the same person said right before and after: an order may stand one sentence off."""


@dataclass(frozen=True)
class Source:
    """One recording or one message, read for facts."""

    source_id: str
    utterances: tuple[Utterance, ...]
    transcript_id: str | None = None
    conversation_id: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with whatever facts can depend on: words, times and speakers, not titles or emotions."""
        told = hashlib.sha256(repr(self.language).encode())
        for each in self.utterances:
            times = [(at, piece.segment_id, piece.start_s, piece.end_s) for at, piece in each.pieces]
            told.update(repr((each.text, each.subject, each.subject_key, each.said_at, times)).encode())
        return told.hexdigest()


def of_transcript(transcript: Transcript) -> Source:
    """Turns of one speaker; a sentence that goes on in the next segment is whole."""
    speakers = {each.label: each for each in transcript.speakers}
    marked = any(_ENDS.search(each.text.strip()) for each in transcript.segments)
    said = [
        _turn(transcript, speakers.get(group[0].speaker, Speaker(label=group[0].speaker)), group)
        for group in _turns(transcript.segments, joined=marked)
    ]
    name = transcript.transcript_id
    return Source(name, tuple(_among(said)), name, None, transcript.language, tuple(transcript.tags))


def _among(said: Sequence[Utterance]) -> Iterator[Utterance]:
    for at, each in enumerate(said):
        beside = [*said[max(0, at - 1) : at], *said[at + 1 : at + 2]]
        around = "\n".join(other.text for other in beside if other.subject_key == each.subject_key)
        yield replace(each, around=around)


def _turns(segments: Sequence[Segment], *, joined: bool) -> Iterator[list[Segment]]:
    """Without marks of sentences (`joined` false) each segment is one."""
    group: list[Segment] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        if group and not (joined and _goes_on(group, segment)):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _goes_on(group: Sequence[Segment], segment: Segment) -> bool:
    last = group[-1]
    return (
        last.speaker == segment.speaker
        and not _ENDS.search(last.text.strip())
        and segment.start_s - last.end_s <= LONGEST_PAUSE_S
        and sum(len(each.text) for each in group) + len(segment.text) <= LONGEST_TURN
    )


def _turn(transcript: Transcript, speaker: Speaker, group: Sequence[Segment]) -> Utterance:
    pieces, at = [], 0
    for segment in group:
        pieces.append((at, segment))
        at += len(segment.text.strip()) + 1
    text = " ".join(segment.text.strip() for segment in group)
    said_at = later(transcript.created_at, group[0].start_s)
    name, key = speaker.name or speaker.label, person_key(transcript, speaker)
    return Utterance(text, name, key, said_at, speaker_keys(speaker), tuple(pieces))


def later(at: datetime, seconds: float) -> datetime:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return at


def person_key(transcript: Transcript, speaker: Speaker) -> str:
    """The same for one person in all recordings once they have a name."""
    if speaker.name:
        return name_key(speaker.name)
    return f"id:{speaker.speaker_id}" if speaker.speaker_id else f"label:{transcript.transcript_id}/{speaker.label}"


def name_key(name: str) -> str:
    return f"name:{' '.join(name.split()).casefold()}"


def of_message(conversation_id: str, message: Message) -> Source:
    """What the user wrote; what a model wrote is nobody's fact."""
    texts = [message.content[:MOST_CHARS]] if message.role == "user" else []
    said = tuple(Utterance(text, USER, "user", message.created_at, (USER,)) for text in texts)
    return Source(message.message_id, said, None, conversation_id)
