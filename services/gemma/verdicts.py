"""Is a sentence supported, contradicted or left unsupported by what was said?

No weights for entailment are at hand, so this is a check of words, made where small models go wrong: what a sentence
states exactly (numbers, times, days, names) must stand in the source, its words must be denied or affirmed alike, and
enough of them must be found there; the cosine of sentence and source speaks for words that are put differently.
Thresholds: scripts/bench/evidence.py, chosen on one half of its set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby, pairwise
from typing import Literal

from services.gemma import quantities
from services.gemma.quantities import Value
from services.gemma.wording import DENIALS, LIGHT, STOP, akin, opposed, stem
from shared.words import ABBREVIATIONS

Kind = Literal["supported", "contradicted", "unsupported"]
COVERED = 0.8
"""Share of a sentence's telling words found in the source from which it is supported without a look at the cosine."""
COVERED_ALIKE, ALIKE = 0.40, 0.55
"""The same, where the cosine is at least that."""
GAP = 1
"""Most words in a row that may be missing then."""
CLASHES, CLASHES_LEAST, CLASHES_ALIKE = 0.60, 0.30, 0.55
"""Coverage from which a difference is about the same matter; the lesser one with a cosine of at least the last."""
TURNED = 0.5
"""Share of the common words that one denies and the other affirms, from which the sentence denies its source."""
_JOINS = "but|because|although|though|while|since|so that|when|if|after|before|until|unless|where|which|who"
_SUBJECTS = "i|we|you|he|she|it|they|the|my|our|your|his|her|their|nobody|everybody|no|all"
_CLAUSE = re.compile(rf"[,;:.!?…—–()]\s+|\s[-–—]\s|\s(?:{_JOINS}|and(?=\s+(?:{_SUBJECTS})\b))\s", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?…])[\"”’')\]]*\s+(?=[\"“‘'(\[]*[A-Z0-9À-Þ])|\n+")
_ABBREVIATION = re.compile(rf"\b(?:{'|'.join(ABBREVIATIONS)}|No|[ap]\.m|[A-Z])\.$")
_SPEAKS = re.compile(r"\b(?:i|we)\b", re.IGNORECASE)
_OWNS = re.compile(r"\b(?:my|our|mine|ours)\b", re.IGNORECASE)
_REPORTS = re.compile(
    r"\b(?:said|says|told|asked|asks|mentioned|explained|according|stated|recommended|suggested|thinks?|wants?|wrote)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Term:
    """One telling word of a text."""

    stem: str
    denied: bool
    """Its clause holds a denial."""
    name: bool
    first: bool
    """It begins a sentence, so that its capital says nothing."""
    at: int
    """Which token it is."""
    light: bool = False
    """`over`, `before`: it says something only beside what has the opposite."""


@dataclass(frozen=True)
class Text:
    """A text as it is compared."""

    text: str

    @cached_property
    def tokens(self) -> list[str]:
        return quantities.TOKEN.findall(self.text)

    @cached_property
    def _values(self) -> tuple[list[Value], set[int]]:
        return quantities.values_of(self.text)

    @property
    def values(self) -> list[Value]:
        return self._values[0]

    @cached_property
    def terms(self) -> list[Term]:
        return [term for term in self._all_terms() if term.at not in self._values[1]]

    def _all_terms(self) -> Iterator[Term]:
        at, begins = 0, True
        for clause in clauses(self.text):
            tokens = quantities.TOKEN.findall(clause)
            denied = any(token.lower() in DENIALS or token.lower().endswith(("n't", "n’t")) for token in tokens)
            for token in tokens:
                low = token.lower().replace("’", "'")
                light = low in STOP
                if low in LIGHT or not (light or low.endswith("n't") or len(low) < 2 or not low[0].isalpha()):
                    yield Term(stem(token), denied, not light and token[0].isupper(), begins, at, light)
                at, begins = at + 1, False
            begins = clause.rstrip()[-1:] in tuple(".!?…")


def clauses(text: str) -> list[str]:
    """In which a denial reaches; what divides them stays at their ends."""
    found, at = [], 0
    for mark in _CLAUSE.finditer(text):
        found.append(text[at : mark.end()])
        at = mark.end()
    return [*found, text[at:]]


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each begins and ends, in characters, without blanks around it."""
    cuts = [
        (mark.start(), mark.end())
        for mark in _SENTENCE.finditer(text)
        if "\n" in mark.group() or not _ABBREVIATION.search(text[max(0, mark.start() - 8) : mark.start()])
    ]
    begins, ends = [0, *(end for _, end in cuts)], [*(begin for begin, _ in cuts), len(text)]
    found = []
    for begin, end in zip(begins, ends, strict=True):
        end += len(mark.group()) if (mark := re.match(r"[\"”’')\]]+", text[end:])) else 0
        part = text[begin:end]
        if part.strip():
            found.append((begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())))
    return found


@dataclass(frozen=True)
class Source:
    """Something that was said or written, and the names that stand beside it."""

    text: str
    names: str = ""
    """Its speaker and title."""

    @cached_property
    def units(self) -> list[Unit]:
        """Its sentences, and each two in a row."""
        spans = sentences(self.text)
        pairs = [(one[0], two[1]) for one, two in pairwise(spans)]
        return [Unit(Text(self.text[begin:end]), self) for begin, end in [*spans, *pairs]]


@dataclass(frozen=True)
class Unit:
    """A stretch of a source that a sentence is compared with."""

    said: Text
    source: Source

    @classmethod
    def of(cls, text: str) -> Unit:
        """A text by itself, with no names beside it."""
        return cls(Text(text), Source(text))


@dataclass(frozen=True)
class Finding:
    """What one unit says to one sentence."""

    verdict: Kind
    score: float
    """0 to 1: how much of the sentence it holds."""
    unit: Unit | None = None
    why: str | None = None
    """What differs or is missing: number, time, day, name, negation, opposite, words."""
    clashes: tuple[str, ...] = field(default=())


def judge(sentence: str, units: Sequence[Unit], cosines: Sequence[float] | None = None) -> Finding:
    """`cosines`: of the sentence and each unit; without them words alone decide."""
    said = Text(sentence)
    found = [compare(said, unit, cosines[at] if cosines else None) for at, unit in enumerate(units)]
    for verdict in ("supported", "contradicted"):
        if some := [each for each in found if each.verdict == verdict]:
            return max(some, key=_weight)
    return max(found, key=_weight, default=Finding("unsupported", 0.0, None, "words"))


def states(sentence: str) -> bool:
    """It has a word or a value that can be looked for."""
    said = Text(sentence)
    return bool(said.values) or any(not term.light for term in said.terms)


def overlap(said: Text, unit: Unit) -> float:
    """Share of its telling words that the unit holds."""
    return _share([other is not None for _, other in _paired(said.terms, unit.said.terms)], said)


def _weight(found: Finding) -> tuple[float, int]:
    """The better one; of equals the shorter source."""
    return round(found.score, 3), -(len(found.unit.said.text) if found.unit else 0)


def compare(said: Text, unit: Unit, cosine: float | None = None) -> Finding:
    """One sentence and one stretch of the source."""
    pairs = list(_paired(said.terms, unit.said.terms))
    names = _of_names(said, unit, pairs)
    clashes, missing = _differences(said, unit, pairs)
    clashes += ["name"] * names.clash
    missing += ["name"] * names.missing
    telling = [(term, other) for term, other in pairs if not term.light]
    known = [other is not None or term.at in names.beside for term, other in telling]
    covered = _share(known, said)
    near = _share([other is not None for term, other in telling if term.at not in names.strange], said)
    score = round(covered if cosine is None else (covered + max(0.0, cosine)) / 2, 4)
    if clashes and (near >= CLASHES or (cosine is not None and cosine >= CLASHES_ALIKE and near >= CLASHES_LEAST)):
        return Finding("contradicted", score, unit, clashes[0], tuple(clashes))
    enough = covered >= COVERED or (
        cosine is not None and cosine >= ALIKE and covered >= COVERED_ALIKE and _longest_gap(known) <= GAP
    )
    if clashes or missing or not enough:
        return Finding("unsupported", score, unit, [*clashes, *missing, "words"][0], tuple(clashes))
    return Finding("supported", score, unit)


def _share(found: Sequence[bool], said: Text) -> float:
    """A sentence of nothing but a number is covered by its number."""
    return sum(found) / len(found) if found else float(bool(said.values))


def _longest_gap(known: Sequence[bool]) -> int:
    """Telling words in a row that the source does not hold: what is made up is mostly said in one piece."""
    return max((len(list(run)) for here, run in groupby(known) if not here), default=0)


def _paired(terms: Sequence[Term], others: Sequence[Term]) -> Iterator[tuple[Term, Term | None]]:
    """Each term with its match in the source; a match that is denied alike is preferred, an opposite taken last."""
    for term in terms:
        same = [other for other in others if akin(term.stem, other.stem)]
        if same:
            yield term, next((other for other in same if other.denied == term.denied), same[0])
        else:
            yield term, next((other for other in others if opposed(term.stem, other.stem)), None)


def _differences(said: Text, unit: Unit, pairs: Sequence[tuple[Term, Term | None]]) -> tuple[list[str], list[str]]:
    """What the source states otherwise, and what it does not state at all."""
    clashes, missing = _of_values(said, unit.said)
    turned, explained = [], False
    for term, other in pairs:
        if other is None:
            continue
        if akin(term.stem, other.stem):
            turned += [] if term.light else [term.denied != other.denied]
        elif term.light and _follower(said, term) != _follower(unit.said, other):
            continue
        elif term.denied == other.denied:
            clashes.append("opposite")
        else:
            explained = True  # not open is closed
    if turned and not explained and sum(turned) / len(turned) >= TURNED:
        clashes.append("negation")
    return clashes, missing


def _follower(text: Text, term: Term) -> str:
    return next(iter(text.tokens[term.at + 1 : term.at + 2]), "").lower()


def _of_values(said: Text, source: Text) -> tuple[list[str], list[str]]:
    clashes, missing = [], []
    for value in said.values:
        others = [other for other in source.values if other.kind == value.kind]
        about = [other for other in others if other.of & value.of]
        if any(value.equals(other) for other in about or others):
            continue
        if value.soft and not about:
            continue
        hard = [other for other in about or others if not other.soft or about]
        name = value.kind if value.kind in ("number", "time") else "day"
        if hard:
            clashes.append(name)
        elif value.kind != "daypart":
            missing.append(name)
    return clashes, missing


@dataclass(frozen=True)
class Names:
    """Those of a sentence that its source does not hold, by their tokens."""

    beside: frozenset[int]
    """Of the title; of the speaker, where somebody tells of themselves."""
    strange: frozenset[int]
    clash: bool
    """The source has another name in its place."""
    missing: bool


def _of_names(said: Text, unit: Unit, pairs: Sequence[tuple[Term, Term | None]]) -> Names:
    around = {stem(token) for token in quantities.TOKEN.findall(unit.source.names)}
    told = bool(_SPEAKS.search(unit.said.text) or _REPORTS.search(said.text))
    owned = _OWNS.search(unit.said.text) is not None
    own = {term.stem for term in said.terms}
    others = [t for t in unit.said.terms if t.name and not t.first and not any(akin(t.stem, each) for each in own)]
    absent = [term for term, other in pairs if term.name and other is None]
    beside = {
        term.at
        for term, other in pairs
        if other is None
        and term.stem in around
        and (told or not term.name or (owned and said.tokens[term.at].endswith(("'s", "’s", "s'"))))
    }
    strange = [term for term in absent if term.at not in beside]
    replaced = [term for term in strange if (others and not term.first) or _replaced(said, term, unit.said)]
    return Names(
        frozenset(beside),
        frozenset(term.at for term in replaced),
        clash=bool(replaced),
        missing=any(not term.first for term in strange),
    )


def _replaced(said: Text, term: Term, source: Text) -> bool:
    """Another capital word of the source stands before the same word, or after it."""
    own = [token.lower() for token in said.tokens]
    words = [token.lower() for token in source.tokens]
    after = own[term.at + 1 : term.at + 2]
    for other in source.terms:
        if other.name and other.stem != term.stem and after and words[other.at + 1 : other.at + 2] == after:
            return True
    return False
