"""The whole of a talk in short, in its own words: cut into chunks, the sentences that say most of each, and of these.

Map and reduce: what a chunk gives goes on to the next round, as often as it takes to fit; each sentence keeps its span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.gemma import points
from services.gemma.spans import Spoken
from shared import summary
from shared.schemas.summaries import Coverage, CoveredChunk, SummaryMode, SummaryPoint, SummaryTemplate
from shared.schemas.transcription import Transcript

CHUNK_CHARS = 3000
"""Read in one go; some 750 tokens, so that a small model has room for its instructions and its words."""
PER_CHUNK = 4
SHARE = 3
"""At most one sentence of a chunk in so many goes on."""
ROUND = 48
"""Most sentences that are weighed against each other at once."""
PARTS = 3
"""Of a talk, each of which gives its share: its end counts as much as its beginning."""
TEXT_SENTENCES = 3
MOST_CLAIMS = 30
POINTS: dict[SummaryTemplate, int] = {"meeting": 7, "interview": 8, "voice_note": 3, "lecture": 10}
"""Most key points."""


@dataclass
class Chunk:
    """Sentences that are read together, and what goes on from them."""

    said: Sequence[Spoken]
    kept: Sequence[Spoken] = ()
    dropped: int = 0
    method: SummaryMode = "extractive"

    @property
    def text(self) -> str:
        return "\n".join(map(str, self.said))

    def halves(self) -> list[Chunk]:
        """Empty for a single sentence."""
        middle = len(self.said) // 2
        return [Chunk(self.said[:middle]), Chunk(self.said[middle:])] if middle else []


def chunked(said: Sequence[Spoken], most_chars: int = CHUNK_CHARS) -> list[Chunk]:
    """All of it, in order, each sentence once; a sentence that is too long by itself is a chunk of its own."""
    found: list[list[Spoken]] = []
    size = most_chars
    for each in said:
        if size + len(each.text) > most_chars:
            found.append([])
            size = 0
        found[-1].append(each)
        size += len(each.text)
    return [Chunk(each) for each in found]


def telling(said: Sequence[Spoken], most: int) -> list[Spoken]:
    """The sentences that say most; the first ones where none says anything by itself."""
    return summary.heaviest(said, most) or list(said[:most])


def extract(chunk: Chunk) -> None:
    """Leaves what says most in it."""
    chunk.kept = telling(chunk.said, max(1, min(PER_CHUNK, len(chunk.said) // SHARE)))
    chunk.method = "extractive"


def brought_together(kept: Sequence[Spoken], most: int) -> tuple[list[Spoken], int]:
    """At most so many of them, and the rounds it took."""
    left, rounds = list(kept), 0
    while len(left) > max(most, ROUND):
        left = [one for at in range(0, len(left), ROUND) for one in telling(left[at : at + ROUND], ROUND // 4)]
        rounds += 1
    if len(left) <= most:
        return left, rounds
    parts = min(PARTS, most)
    cuts = [len(left) * n // parts for n in range(parts + 1)]
    shares = [most * (n + 1) // parts - most * n // parts for n in range(parts)]
    found = [one for (a, b), share in zip(pairwise(cuts), shares, strict=True) for one in telling(left[a:b], share)]
    return found, rounds + 1


def text_of(kept: Sequence[Spoken]) -> str:
    return " ".join(str(each) for each in brought_together(kept, TEXT_SENTENCES)[0])


def key_points(kept: Sequence[Spoken], template: SummaryTemplate) -> tuple[list[SummaryPoint], int]:
    """And the rounds that it took to have so few."""
    found, rounds = brought_together(kept, POINTS[template])
    return [points.point(each) for each in found], rounds


def claims(said: Sequence[Spoken]) -> tuple[list[SummaryPoint], int]:
    """Those that say most, and how many more there are."""
    found = points.claims(said)
    listed, _ = brought_together(found, MOST_CLAIMS)
    return [points.point(each) for each in listed], len(found) - len(listed)


def coverage(transcript: Transcript, chunks: Sequence[Chunk], *, rounds: int, claims_left_out: int) -> Coverage:
    """Counted from what was read, not from what should have been."""
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    read = {name for chunk in chunks for each in chunk.said for name in each.segment_ids}
    seen = [segment for segment in spoken if segment.segment_id in read]
    return Coverage(
        segments=len(spoken),
        segments_read=len(seen),
        seconds=round(sum(each.end_s - each.start_s for each in spoken), 3),
        seconds_read=round(sum(each.end_s - each.start_s for each in seen), 3),
        share=round(len(seen) / len(spoken), 4) if spoken else 1.0,
        rounds=rounds,
        claims_left_out=claims_left_out,
        chunks=list(_covered(chunks)),
    )


def _covered(chunks: Sequence[Chunk]) -> Iterator[CoveredChunk]:
    for chunk in chunks:
        first, last = chunk.said[0], chunk.said[-1]
        yield CoveredChunk(
            first_segment_id=first.segment_ids[0],
            last_segment_id=last.segment_ids[-1],
            start_s=first.start_s,
            end_s=last.end_s,
            sentences=len(chunk.said),
            points=len(chunk.kept),
            dropped=chunk.dropped,
            method=chunk.method,
        )
