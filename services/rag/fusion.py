"""One score of meaning, words and what was said around a passage.

In a conversation the turn that answers seldom holds the words of the question: "And the price?" - "Seven thousand
eight hundred." So a passage inherits from the one before it, is lent a little by its neighbours and gains with the best
passage of its recording, while a passage that asks gives way to the answer. A note has no neighbours; to keep it
comparable, inheriting never lifts a passage above the one it inherits from, and lending stays small.

Meaning and words are added as scores, not as ranks (Bruch, Gai and Ingber, 2023, "An analysis of fusion functions for
hybrid retrieval"): cosine, and BM25 over the most that the words of the query could give. The weights were tuned on one
half of the questions of scripts/bench/questions and proven on the other: docs/adr/0016-fusion-that-was-measured.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Weights:
    """What each sign is worth beside a cosine of 1."""

    words: float = 0.3
    """All words of the query in one passage."""
    named: float = 0.1
    """The query names the speaker."""
    inherited: float = 0.7
    """Share that a passage has from the one before it, where that one fits better."""
    around: tuple[float, float, float] = (0.2, 0.1, 0.1)
    """Lent by the passage before, the one before that, and the next one."""
    recording: float = 0.5
    """The best passage of the same recording or memory."""
    asking: float = 0.5
    """Share that a passage of a recording loses when it ends with a question."""


WEIGHTS = Weights()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that may be the answer, or that stands beside one."""

    chunk_id: int
    whole: str
    """Id of what it is a part of: its recording, else its memory."""
    asks: bool = False
    """It is a passage of a recording and ends with a question."""
    is_named: bool = False
    """The query names its speaker."""
    around: tuple[int | None, int | None, int | None] = (None, None, None)
    """Chunks before, before that, and next, in the order of the recording."""


def own_scores(
    candidates: Iterable[Candidate], cosines: Mapping[int, float], words: Mapping[int, float], weights: Weights
) -> dict[int, float]:
    """What speaks for each passage by itself. `words`: 0 to about 1, absent is 0; so is an absent cosine."""
    return {
        each.chunk_id: max(0.0, cosines.get(each.chunk_id, 0.0))
        + weights.words * words.get(each.chunk_id, 0.0)
        + weights.named * each.is_named
        for each in candidates
    }


def ranked(
    candidates: Collection[Candidate], own: Mapping[int, float], weights: Weights = WEIGHTS
) -> list[tuple[int, float]]:
    """(chunk, score), best first; scores are between 0 and about 1."""
    best: dict[str, float] = {}
    for each in candidates:
        best[each.whole] = max(best.get(each.whole, 0.0), own[each.chunk_id])
    most = (1 + weights.words) * (1 + weights.recording + sum(weights.around))
    scores = [
        (each.chunk_id, (_in_context(each, own, weights) + weights.recording * best[each.whole]) / most)
        for each in candidates
    ]
    return sorted(scores, key=lambda pair: -pair[1])


def _in_context(candidate: Candidate, own: Mapping[int, float], weights: Weights) -> float:
    score = own[candidate.chunk_id]
    if candidate.around == (None, None, None):
        return score
    near = [own.get(chunk, 0.0) if chunk is not None else 0.0 for chunk in candidate.around]
    score += weights.inherited * max(0.0, near[0] - score)
    if candidate.asks:
        score *= 1 - weights.asking
    return score + sum(weight * each for weight, each in zip(weights.around, near, strict=True))
