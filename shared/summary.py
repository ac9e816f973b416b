"""A summary in the words of the talk itself: its sentences that say most (SumBasic), and its sentiment.

SumBasic (Nenkova and Vanderwende 2005, MSR-TR-2005-101): a sentence weighs the mean probability of its words; the
heaviest is taken, the probabilities of its words are squared, so that the next one says something else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

from shared.schemas.transcription import Segment
from shared.words import GRAMMAR

TEXT_SENTENCES, MOST_POINTS = 2, 5
SHARE = 3
"""At most one sentence in so many is a key point: a list of nearly all of them would be no summary."""
LEAST_WORDS = 3
"""Words with a meaning of their own, below which a sentence ("Yes, hello.") says nothing."""
CLEAR = 0.1
"""Balance of positive and negative talk, of all talk, from which it is either."""
FEELING = {"joy": 1, "anger": -1, "disgust": -1, "fear": -1, "sadness": -1, "surprise": 0, "neutral": 0}
"""Sentiment of Ekman's emotions, as GoEmotions groups them; surprise is ambiguous (Demszky et al. 2020, table 5)."""
_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_OF_TALK = """
    after all also am any because been before being can could doing don't get go going got here him i'd i'll i'm
    i've into isn't it's just know let like mean might more no not now off oh ok okay one out over please really
    right see should some sorry sure thank thanks that's then there's these those too uh um up us very we'll
    we're well yeah yes you're
"""
STOP = GRAMMAR | set(_OF_TALK.split())


@dataclass(frozen=True)
class Sentence:
    """Something that one speaker said."""

    speaker: str
    text: str

    @cached_property
    def words(self) -> list[str]:
        """Those with a meaning of their own, in small letters."""
        found = (word.lower() for word in _WORD.findall(self.text.replace("’", "'")))
        return [word for word in found if len(word) > 2 and word not in STOP]

    def __str__(self) -> str:
        return f"{self.speaker}: {self.text}"


def sentences(said: Iterable[tuple[str, str]]) -> list[Sentence]:
    """Of (speaker, text of a segment), in order; a sentence may go on over segments of the same speaker."""
    runs: list[tuple[str, str]] = []
    for speaker, text in said:
        if runs and runs[-1][0] == speaker:
            runs[-1] = speaker, f"{runs[-1][1]} {text}"
        else:
            runs.append((speaker, text))
    return [Sentence(speaker, each) for speaker, text in runs for each in _SENTENCE.split(text.strip()) if each]


def text(said: Sequence[Sentence]) -> str:
    """The two sentences that say most; a talk of no more than these is its own summary."""
    if len(said) <= TEXT_SENTENCES:
        return " ".join(str(each) for each in said)
    return " ".join(str(each) for each in heaviest(said, TEXT_SENTENCES))


def key_points(said: Sequence[Sentence]) -> list[str]:
    """Up to five, at most a third of what was said; none of a talk too short to choose from."""
    return [str(each) for each in heaviest(said, min(MOST_POINTS, len(said) // SHARE))]


Said = TypeVar("Said", bound=Sentence)


def heaviest(said: Sequence[Said], most: int) -> list[Said]:
    """By SumBasic, in the order in which they were said."""
    count = Counter(word for each in said for word in each.words)
    weight = {word: times / count.total() for word, times in count.items()}
    left = [at for at, each in enumerate(said) if len(each.words) >= LEAST_WORDS]
    chosen: list[int] = []
    while left and len(chosen) < most:
        best = max(left, key=lambda at: sum(weight[word] for word in said[at].words) / len(said[at].words))
        chosen.append(best)
        left.remove(best)
        weight |= {word: weight[word] ** 2 for word in set(said[best].words)}
    return [said[at] for at in sorted(chosen)]


def sentiment(segments: Sequence[Segment]) -> Literal["positive", "neutral", "negative"] | None:
    """By time of talk; None where no emotion is known."""
    felt = [(each.end_s - each.start_s, FEELING.get(each.emotion.label, 0)) for each in segments if each.emotion]
    whole_s = sum(length_s for length_s, _ in felt)
    if whole_s <= 0:
        return None
    balance = sum(length_s * feeling for length_s, feeling in felt) / whole_s
    if abs(balance) < CLEAR:
        return "neutral"
    return "positive" if balance > 0 else "negative"
