"""Cuts what is remembered into pieces that a vector can stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.schemas.transcription import Segment, Speaker, Transcript
from shared.words import SENTENCE_END


@dataclass(frozen=True)
class Passage:
    """A stretch of a recording by one speaker."""

    text: str
    segment_id: str
    start_s: float
    end_s: float
    speaker: str
    speaker_keys: tuple[str, ...] = ()
    """All that this speaker is called: label, id, name."""


def chunks_of(text: str, most_chars: int) -> list[str]:
    """Whole sentences up to `most_chars`, each piece beginning with the last sentence of the one before."""
    pieces: list[str] = []
    current: list[str] = []
    for sentence in _sentences(text, most_chars):
        if current and sum(map(len, current)) + len(sentence) > most_chars:
            pieces.append(" ".join(current))
            current = current[-1:] if len(current[-1]) + len(sentence) <= most_chars else []
        current.append(sentence)
    return [*pieces, " ".join(current)] if current else pieces


def _sentences(text: str, most_chars: int) -> Iterator[str]:
    for sentence in SENTENCE_END.split(text):
        stripped = sentence.strip()
        for at in range(0, len(stripped), most_chars):
            yield stripped[at : at + most_chars]


def passages_of(transcript: Transcript, most_chars: int) -> list[Passage]:
    """Turns by speaker, joined up to `most_chars`; long turns are cut between segments with one segment of overlap."""
    found: list[Passage] = []
    current: list[Segment] = []
    for segment in transcript.segments:
        if not segment.text.strip():
            continue
        full = sum(len(each.text) for each in current) + len(segment.text) > most_chars
        other = bool(current) and current[-1].speaker != segment.speaker
        if current and (full or other):
            found.append(_joined(current, transcript))
            current = [] if other or len(current) < 2 else current[-1:]
        current.append(segment)
    return [*found, _joined(current, transcript)] if current else found


@dataclass(frozen=True)
class PassageChanges:
    """From the passages of one document to those of the next, so that only what changed is made anew."""

    gone: list[str]
    """First segments of those that are no more, or read differently now."""
    new: list[Passage]
    moved: list[Passage]
    """Those that read the same, with another speaker, name or time."""


def passage_changes(before: Sequence[Passage], after: Sequence[Passage]) -> PassageChanges:
    """No two passages of a document begin with the same segment."""
    was = {each.segment_id: each for each in before}
    kept = {each.segment_id for each in after if each.segment_id in was and was[each.segment_id].text == each.text}
    return PassageChanges(
        gone=[segment_id for segment_id in was if segment_id not in kept],
        new=[each for each in after if each.segment_id not in kept],
        moved=[each for each in after if each.segment_id in kept and was[each.segment_id] != each],
    )


def _joined(segments: list[Segment], transcript: Transcript) -> Passage:
    first = segments[0]
    speaker = next((each for each in transcript.speakers if each.label == first.speaker), Speaker(label=first.speaker))
    return Passage(
        text=" ".join(each.text.strip() for each in segments),
        segment_id=first.segment_id,
        start_s=first.start_s,
        end_s=segments[-1].end_s,
        speaker=speaker.name or speaker.label,
        speaker_keys=speaker_keys(speaker),
    )


def speaker_keys(speaker: Speaker) -> tuple[str, ...]:
    """All that a speaker may be asked for by."""
    return tuple(key for key in (speaker.label, speaker.speaker_id, speaker.name) if key)
