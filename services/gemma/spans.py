"""A transcript as sentences, each with the segments and the seconds in which it was said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.gemma import verdicts
from shared.schemas.transcription import Segment, Transcript
from shared.summary import Sentence
from shared.words import laid

LONGEST_CHARS = 600
"""What has no full stop for longer than this ends with its segment: some talk, and some models, know none."""


@dataclass(frozen=True)
class Spoken(Sentence):
    """A sentence and where it was said."""

    segment_ids: tuple[str, ...] = ()
    start_s: float = 0.0
    end_s: float = 0.0
    worded_from: str = ""
    """The words of the recording, where the text is in other words."""

    @property
    def quote(self) -> str:
        return self.worded_from or self.text


def spoken_of(transcript: Transcript) -> list[Spoken]:
    """All of it, in order; a sentence may go on over segments of the same speaker."""
    names = {each.label: each.name or each.speaker_id or each.label for each in transcript.speakers}
    found: list[Spoken] = []
    for run in _runs(transcript.segments):
        found += _sentences(run, names.get(run[0].speaker, run[0].speaker))
    return found


def _runs(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Segments of one speaker in a row, as long as their last sentence goes on."""
    run: list[Segment] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        ended = bool(run) and (
            run[-1].text.rstrip()[-1:] in tuple(".!?…") or sum(len(each.text) for each in run) > LONGEST_CHARS
        )
        if run and (ended or run[0].speaker != segment.speaker):
            yield run
            run = []
        run.append(segment)
    if run:
        yield run


def _sentences(run: Sequence[Segment], speaker: str) -> Iterator[Spoken]:
    text = " ".join(each.text for each in run)
    places = _places(run)
    for begin, end in verdicts.sentences(text):
        inside = [place for place in places if place.begin < end and place.end > begin] or places[-1:]
        ids = tuple(dict.fromkeys(place.segment_id for place in inside))
        yield Spoken(speaker, text[begin:end], ids, inside[0].start_s, inside[-1].end_s)


@dataclass(frozen=True)
class _Place:
    """A stretch of the text of a run, in characters and in seconds."""

    begin: int
    end: int
    segment_id: str
    start_s: float
    end_s: float


def _places(run: Sequence[Segment]) -> list[_Place]:
    """Word by word where words and text agree, else segment by segment."""
    found, at = [], 0
    for segment in run:
        tokens = laid(segment.text, segment.words) if segment.words else None
        for token in tokens or ():
            begin = at + token.start
            first, last = token.words[0], token.words[-1]
            found.append(_Place(begin, begin + len(token.text), segment.segment_id, first.start_s, last.end_s))
        if not tokens:
            end = at + len(segment.text)
            found.append(_Place(at, end, segment.segment_id, segment.start_s, segment.end_s))
        at += len(segment.text) + 1
    return found
