"""From what was said to what may be worth remembering: the extractor that goes by rules.

A model of a hundred million parameters invents; rules only copy. So each candidate is a clause as it was said, with the
place where it stands. A better extractor has to give the same: it goes behind `Extractor`, and the gate stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from typing import Protocol

from services.rag.dates import WHEN, resolve
from services.rag.phrases import PHRASES, Phrase
from services.rag.sources import Source, Utterance, later, name_key
from shared.schemas.facts import FactKind
from shared.schemas.transcription import Segment
from shared.words import laid, words_of

LONGEST_SENTENCE = 500
"""Characters; nobody says a fact in more."""
MOST_CANDIDATES = 500
"""Of one source."""
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)]*(?=\s)|\n+")
_JOINT = re.compile(
    r"(?:,\s+|\s+|;\s*)(?:and|but|so|because|although|while|then)\s+(?:then\s+)?"
    r"(?=(?i:I|we|my|our|the|he|she|they|let's|his|her|their|it's|it is|remind|don't forget)\b"
    r"|[A-Z][\w-]+(?:'s|'ll| will| is) )"
    r"|;\s+|,\s+(?=(?i:I|we|my|our|let's|remind)\b)|\s[—–-]\s"
)
"""Where a sentence may be cut in two that each have a subject of their own."""
_FILLER = re.compile(
    r"(?:(?:well|so|um+|uh+|er+m?|hmm+|oh|ah|yeah|yes|yep|okay|ok|right|actually|basically|anyway|also|and|but|then|now|"
    r"look|listen|you know|I mean|by the way|honestly|alright|all right|hi|hello|hey|because|plus|of course|sure|great|"
    r"good|perfect|thanks|no problem)\b[,.!]?\s+)+",
    re.IGNORECASE,
)
_SAME_WIDTH = str.maketrans("’‘`´\u00a0\u202f\t\n", "''''    ")
"""Other ways of writing the same, character for character, so that places in the text stay where they are."""
_NO_NAMES = frozenset(
    """
    i you he she it we they this that these those there here who what which everyone everybody somebody someone
    nobody anyone people one and but so then the a an my our your his her their its yes no well ok okay now today
    tomorrow yesterday monday tuesday wednesday thursday friday saturday sunday god also maybe perhaps not never always
    just keep please
    """.split()  # noqa: SIM905 - one word a line would be fifty lines
)


@dataclass(frozen=True)
class Candidate:
    """A clause that may be a fact, and where it stands; nothing has judged it yet."""

    kind: FactKind
    subject: str
    subject_key: str
    slot: str
    value: str
    quote: str
    core: str
    """The beginning of the quote, up to where what it says is said."""
    sentence: str
    """The whole sentence around the quote."""
    utterance: Utterance
    confidence: float
    said_at: datetime
    on_date: date | None = None
    negative: bool = False
    overlap: bool = False
    segment_ids: tuple[str, ...] = ()
    start_s: float | None = None
    end_s: float | None = None


class Extractor(Protocol):
    """Finds candidates; deterministic for one version, so that the same source twice doubles nothing."""

    @property
    def version(self) -> str: ...

    def candidates(self, source: Source) -> Sequence[Candidate]:
        """In the order in which they were said. Blocking; raises nothing for any text."""
        ...


@dataclass(frozen=True)
class Rules:
    """The extractor that goes by `phrases.PHRASES`, for English."""

    version: str = "rules-1"
    """To be raised with any change of the phrases or the gate: a rebuild then learns everything anew."""
    phrases: Sequence[Phrase] = field(default=PHRASES)

    def candidates(self, source: Source) -> list[Candidate]:
        if source.language is not None and source.language.partition("-")[0] != "en":
            return []
        return list(islice(self._found(source), MOST_CANDIDATES))

    def _found(self, source: Source) -> Iterator[Candidate]:
        for utterance in source.utterances:
            plain = utterance.text.translate(_SAME_WIDTH)
            for start, end in _sentences(utterance.text):
                yield from self._in_sentence(utterance, plain, start, end)

    def _in_sentence(self, utterance: Utterance, plain: str, start: int, end: int) -> Iterator[Candidate]:
        for begin, stop in _clauses(plain, start, end):
            for phrase in self.phrases:
                match = phrase.pattern.search(plain[begin:stop])
                if match is None or (phrase.dated and WHEN.search(match["value"]) is None):
                    continue
                subject = _subject(utterance, match)
                if subject is not None:
                    yield _candidate(utterance, phrase, match, (start, end), (begin, stop), subject)
                    break


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for end in [*(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]:
        if text[at:end].strip() and end - at <= LONGEST_SENTENCE:
            yield at, end
        at = end


def _clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Parts of a sentence that can stand alone, without the words that people begin with."""
    cuts = [(found.start(), found.end()) for found in _JOINT.finditer(text, start, end)]
    begins = [start, *(after for _, after in cuts)]
    stops = [*(before for before, _ in cuts), end]
    for begin, stop in zip(begins, stops, strict=True):
        part = text[begin:stop]
        begin += len(part) - len(part.lstrip(' "“'))
        filler = _FILLER.match(text, begin, stop)
        begin = filler.end() if filler else begin
        stop = begin + len(text[begin:stop].rstrip(' .,;:!…"”'))
        if stop - begin >= 6:
            yield begin, stop


def _subject(utterance: Utterance, match: re.Match[str]) -> tuple[str, str] | None:
    """Whom a clause is about: somebody with a name, or whoever said it; None for a name that is none."""
    groups = match.groupdict()
    name = groups.get("name")
    if name is None:
        return utterance.subject, utterance.subject_key
    if groups.get("who"):
        return name, name_key(name)
    return None if name.split()[0].casefold() in _NO_NAMES else (name, name_key(name))


def _candidate(
    utterance: Utterance,
    phrase: Phrase,
    match: re.Match[str],
    sentence: tuple[int, int],
    clause: tuple[int, int],
    subject: tuple[str, str],
) -> Candidate:
    groups = {name: " ".join((text or "").split()).casefold() for name, text in match.groupdict().items()}
    segments, times, heard = _place(utterance, *clause)
    quote = utterance.text[clause[0] : clause[1]]
    return Candidate(
        kind=phrase.kind,
        subject=subject[0],
        subject_key=subject[1],
        slot=_slot(phrase, groups),
        value=match["value"].strip(" .,"),
        quote=quote,
        core=quote[: match.end()],
        sentence=utterance.text[sentence[0] : sentence[1]].strip(),
        utterance=utterance,
        confidence=round(phrase.confidence * heard, 3),
        said_at=utterance.said_at if times is None else _since(utterance, times[0]),
        on_date=resolve(quote, utterance.said_at.date()),
        negative=phrase.negative,
        overlap=any(each.overlap for each in segments),
        segment_ids=tuple(each.segment_id for each in segments),
        start_s=times[0] if times else None,
        end_s=times[1] if times else None,
    )


def _slot(phrase: Phrase, groups: dict[str, str]) -> str:
    """Somebody has one birthday but may have two sons, so without a name there is nothing to be replaced."""
    return "" if "{who}" in phrase.slot and not groups.get("name") else phrase.slot.format_map(groups)


def _since(utterance: Utterance, start_s: float) -> datetime:
    return later(utterance.said_at, start_s - utterance.pieces[0][1].start_s)


def _place(utterance: Utterance, begin: int, stop: int) -> tuple[list[Segment], tuple[float, float] | None, float]:
    """Segments, first and last second of its words, and how well they were heard (1 from a confidence of 0.8 on)."""
    segments: list[Segment] = []
    starts: list[float] = []
    ends: list[float] = []
    sure: list[float] = []
    for at, segment in utterance.pieces:
        text = segment.text.strip()
        if at >= stop or at + len(text) <= begin:
            continue
        segments.append(segment)
        shift = at - (len(segment.text) - len(segment.text.lstrip()))
        for token in laid(segment.text, words_of(segment)) or ():
            if token.start + shift < stop and token.start + len(token.text) + shift > begin:
                starts += [word.start_s for word in token.words]
                ends += [word.end_s for word in token.words]
                sure += [word.confidence for word in token.words]
    if not starts:
        return segments, None, 1.0
    return segments, (min(starts), max(ends)), min(1.0, sum(sure) / len(sure) / 0.8)
