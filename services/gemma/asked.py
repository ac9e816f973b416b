"""What a question asks for, and whether passages can hold it at all.

What is near is not yet an answer: "What colour is the plumber's van?" is near every visit of the plumber. An answer to
it must hold a colour; one to "How much ...?" a number; one to "Which airline ...?" is about an airline. Questions of
other shapes, and of other languages than English, are taken to be answered by what is near.

The lists and the shares were chosen on the tuning half of scripts/bench/questions; scripts/bench/retrieval.py counts
how many questions without an answer are told, and how many with one wrongly.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.gemma.quantities import CLASSES, values_of
from services.gemma.wording import IRREGULAR, STOP, akin, stem
from shared.schemas.rag import SearchHit

Kind = Literal["age", "colour", "count", "number", "moment", "thing"]
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_BEFORE_VERBS = """
    is are was were am be been did do does has have had will would can could may might must shall should
"""
_AUXILIARIES = frozenset(_BEFORE_VERBS.split())
_LINKS = """
    of in on at for to from with by about after before during against near under over as into per out up and or that
    who which when where
"""
_BEHIND_A_NOUN = frozenset(_LINKS.split())
_ARTICLES = """
    the a an his her their my our your its this that these those him them it us me
"""
_BEFORE_A_NOUN = frozenset(_ARTICLES.split())
_IRREGULAR_NOUNS = """
    child children man men woman women foot feet tooth teeth person people life lives wife wives knife knives
"""
_IRREGULAR_VERBS = (IRREGULAR.keys() | set(IRREGULAR.values())) - set(_IRREGULAR_NOUNS.split())
_COUNTED = """
    price cost amount number deposit rate reduction gap fee interest rent discount sum total percentage temperature
    weight height length distance size salary budget charge phone reference speed width depth
"""
_QUANTITIES = frozenset(_COUNTED.split())
"""A number answers "What is the ...?"."""
_MOMENTS = frozenset({"day", "date", "time", "hour", "year", "month", "week"})
_SAYING_LITTLE = """
    kind sort type part thing way else person name much many happens happened
"""
_WIDE = frozenset(_SAYING_LITTLE.split())
"""Say nothing of what is asked for."""
_MORE_COLOURS = {"beige", "violet", "gold", "golden", "silver", "turquoise", "cream"}
_COLOURS = {word for word, kind in CLASSES.items() if kind == "colour"} | _MORE_COLOURS
_MEASURED = re.compile(
    r"\bhow (?:much|long|far|high|heavy|cold|warm|hot|big|large|often|soon|wide|tall|deep|fast|humid|expensive)\b"
    r"|\b(?:costs?|price)\b"
)
_AGED = re.compile(r"\b(?:years?|months?|weeks?)[ -]old\b|\bborn\b|\baged?\b|\bbirthday\b", re.IGNORECASE)
_FREE_MOMENT = re.compile(r"\b(?:christmas|easter|whitsun|until|before|after|without|now)\b", re.IGNORECASE)
_POSSESSED = re.compile(r"^wh\w+ (?:is|was|are|were) .*?['’]s ((?:[\w-]+ ?){1,3})\?*$")
_OF = re.compile(
    r"^wh\w+ (?:is|was|are|were) (?:the|this|his|her|their|my|our) ((?:[\w-]+ ){0,2}?[\w-]+) (?:of|in|on|at|for)\b"
)
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(rf"\b[\w-]+ (?:of |to the [\w-]+ of )(?:{_MONTHS})\b|\b(?:{_MONTHS}) [\w-]+")
LONGEST = 300
"""Characters of a question; what is longer is a text."""
ON_TOPIC = 0.34
"""Share of the question's other words, of those that the best recording or note has, that one must have."""
SURE, KNOWN = 0.34, 0.5
"""Score of the best passage, and share of the question's other words that were said, from which on the topic is taken
to be found. Below, the passages may say it all in other words, and words cannot tell what is missing."""


@dataclass(frozen=True)
class Asked:
    """What must be in an answer."""

    kind: Kind
    words: tuple[str, ...] = ()
    """What it is about: of each a form must have been said."""


def asked_for(question: str) -> Asked | None:
    """None where anything may answer."""
    question = question[:LONGEST]
    words = _words(question)
    plain = " ".join(words)
    if re.search(r"\bhow old\b", plain):
        return Asked("age")
    if re.search(r"\bwh(?:at|ich) colou?rs?\b", plain):
        return Asked("colour")
    if "how many" in plain:
        return Asked("count")
    if _MEASURED.search(plain):
        return Asked("number")
    if re.match(r"(?:\w+ ){0,2}when\b", plain):
        return Asked("moment")
    return _of_noun(_named_noun(question, words))


def _named_noun(question: str, words: Sequence[str]) -> tuple[str, ...]:
    """The words after "which" and "what", or of "What is the ... of" and "What is somebody's ...?"."""
    at = next((at for at, word in enumerate(words[:-1]) if word in ("what", "which")), None)
    if at is None or words[-1] in ("called", "named"):
        return ()
    if words[at + 1] not in _AUXILIARIES:
        return _noun(words[at + 1 :])
    said = _POSSESSED.match(question.lower()) or _OF.match(question.lower())
    return tuple(_WORD.findall(said.group(1))) if said else ()


def _noun(words: Sequence[str]) -> tuple[str, ...]:
    """The noun of "airline flies them", "operating system does it have"."""
    found: list[str] = []
    for word in words[:4]:
        if word in _AUXILIARIES or word in _BEHIND_A_NOUN or (found and _is_verb(word)):
            return tuple(found)
        if word in _BEFORE_A_NOUN:  # "what causes the noise": no noun at all
            return tuple(found[:-1])
        found.append(word)
    return tuple(found[:1])


def _is_verb(word: str) -> bool:
    return word.endswith(("ed", "ly")) or word in _IRREGULAR_VERBS


def _of_noun(noun: tuple[str, ...]) -> Asked | None:
    words = tuple(word for word in noun if word not in _WIDE)
    if not words:
        return None
    if words[-1] in _MOMENTS:
        return Asked("moment")
    if words[-1] in _QUANTITIES:
        return Asked("number", tuple(word for word in words if word not in _QUANTITIES))
    return Asked("thing", words[-1:])


def holds(question: str, hits: Sequence[SearchHit]) -> bool:
    """Whether any of the passages, best first, may answer by what kind of answer is asked for."""
    wanted = asked_for(question)
    if wanted is None or not hits:
        return True
    others = [word for word in _words(question) if word not in STOP and word not in wanted.words and word not in _WIDE]
    looked_into = _on_topic(others, hits)
    if not _CAN[wanted.kind](" \n".join(hit.content for hit in looked_into)):
        return False
    said: set[str] = set().union(*map(_stems, looked_into))
    known = sum(_is_in(word, said) for word in others)
    return all(_is_in(word, said) for word in wanted.words) or hits[0].score < SURE or known < KNOWN * len(others)


def _on_topic(others: Sequence[str], hits: Sequence[SearchHit]) -> list[SearchHit]:
    """Those of recordings and notes that speak of what else the question names."""
    said: defaultdict[str, set[str]] = defaultdict(set)
    for hit in hits:
        said[_source(hit)] |= _stems(hit)
    known = {source: sum(_is_in(word, stems) for word in others) for source, stems in said.items()}
    least = ON_TOPIC * max(known.values())
    return [hit for hit in hits if known[_source(hit)] >= least]


def _source(hit: SearchHit) -> str:
    return hit.metadata.transcript_id or hit.metadata.memory_id


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _stems(hit: SearchHit) -> set[str]:
    words = _words(f"{hit.content} {hit.metadata.speaker or ''} {hit.metadata.title or ''}")
    return {stem(part) for word in words for part in (word, *word.split("-"))}


def _is_in(word: str, stems: set[str]) -> bool:
    found = stem(word)
    return any(akin(found, other) for other in stems)


def _has_number(text: str) -> bool:
    """Other than the day of a date."""
    values = values_of(_DATE.sub(" ", text))[0]
    return any(value.kind in ("number", "text") and not value.soft for value in values)


def _has_moment(text: str) -> bool:
    return bool(values_of(text)[0]) or _FREE_MOMENT.search(text) is not None


_CAN: dict[Kind, Callable[[str], bool]] = {
    "age": lambda text: _AGED.search(text) is not None,
    "colour": lambda text: not _COLOURS.isdisjoint(_words(text)),
    "count": _has_number,
    "number": _has_number,
    "moment": _has_moment,
    "thing": bool,
}
