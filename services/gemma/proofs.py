"""An answer held against what was found: each sentence with its verdict and the citation that shows it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Generic, TypeVar

from services.gemma import verdicts
from services.gemma.evidence import Quote
from services.gemma.verdicts import Finding, Source, Text, Unit
from shared.schemas.rag import Citation, Evidence, QuoteMatch, SearchHit

MOST = 64
"""Sentences that are looked at; an answer has a few."""
NEAR = 6
"""Stretches of the sources, those with most words in common, whose cosine with a sentence is asked for."""
CLOSE = 0.8
"""Share of a quotation's words that must stand in the source, in order."""
QUOTED_WORDS = 3
"""Fewer words between quotation marks are a name or an irony."""
_MARKED = re.compile(r"\[\d{1,3}\]")
_QUOTED = re.compile(r"[“\"«„]([^“”\"«»„]{2,600})[”\"»“]")
_NO_CLAIM = re.compile(
    r"\b(?:(?:do|does|did|can|could)(?: not|n['’]t) (?:know|find|say|tell)|not (?:sure|mentioned|enough)|"
    r"no (?:information|mention)|sorry)\b",
    re.IGNORECASE,
)
WORDS, WITH_COSINE, EXACT = "words+numbers", "words+numbers+embedding", "exact"


Owner = TypeVar("Owner")


@dataclass(frozen=True)
class Claim:
    """A sentence of an answer that states something."""

    text: str
    start: int
    """Where in the answer, in characters."""
    end: int

    @property
    def quotes(self) -> list[str]:
        return [quote for quote in _QUOTED.findall(self.text) if len(_plain(quote)) >= QUOTED_WORDS]

    @property
    def compared(self) -> str:
        """Without the numbers of citations; 2,000 characters are enough to judge any sentence."""
        return _MARKED.sub(" ", self.text)[:2000]


def claims_of(text: str, begin: int = 0) -> list[Claim]:
    """The sentences from `begin` on, without questions and without those that say that nothing is known."""
    found = []
    for start, end in verdicts.sentences(text[begin:]):
        sentence = text[begin + start : begin + end]
        if not sentence.endswith("?") and not _NO_CLAIM.search(sentence) and verdicts.states(sentence):
            found.append(Claim(sentence, begin + start, begin + end))
    return found[:MOST]


class Proof(Generic[Owner]):
    """Holds sentences against stretches of sources, each of which belongs to something (`Owner`)."""

    def __init__(self, owned: Iterable[tuple[Unit, Owner]]) -> None:
        pairs = list(owned)
        self.units = [unit for unit, _ in pairs]
        self._owners = {id(unit): owner for unit, owner in pairs}

    def owner(self, unit: Unit) -> Owner:
        return self._owners[id(unit)]

    def near(self, claim: Claim) -> list[Unit]:
        """Those that a cosine could still speak for, the most alike first."""
        said = Text(claim.compared)
        scored = [(verdicts.overlap(said, unit), at) for at, unit in enumerate(self.units)]
        best = sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:NEAR]
        return [self.units[at] for score, at in best if score > 0]

    def by_words(self, claim: Claim) -> Finding:
        return verdicts.judge(claim.compared, self.units)

    def find(self, quote: str) -> tuple[Unit, str, str] | None:
        """(unit, the words of the source, `exact` or `close`) of a quotation; None where nobody said it."""
        wanted = _plain(quote)
        best: tuple[float, Unit, str] | None = None
        for unit in self.units:
            share, text = _aligned(wanted, unit.said.text)
            if share == 1.0 and len(_plain(text)) == len(wanted):
                return unit, text, "exact"
            if share >= CLOSE and (best is None or share > best[0]):
                best = share, unit, text
        return (best[1], best[2], "close") if best else None


_TOKEN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def _plain(text: str) -> list[str]:
    return [word.replace("’", "'").casefold() for word in _TOKEN.findall(text)]


def _aligned(wanted: Sequence[str], text: str) -> tuple[float, str]:
    """How much of the wanted words stands in the text in order, and that stretch of the text."""
    places = list(_TOKEN.finditer(text))
    words = [place.group().replace("’", "'").casefold() for place in places]
    for at in range(len(words) - len(wanted) + 1):
        if words[at : at + len(wanted)] == list(wanted):
            return 1.0, text[places[at].start() : places[at + len(wanted) - 1].end()]
    blocks = [
        block for block in SequenceMatcher(None, wanted, words, autojunk=False).get_matching_blocks() if block.size
    ]
    if not blocks:
        return 0.0, ""
    first, last = blocks[0].b, blocks[-1].b + blocks[-1].size - 1
    inside = sum(block.size for block in blocks)
    longest = max(len(wanted), last - first + 1)
    return inside / longest, text[places[first].start() : places[last].end()]


class Exhibits:
    """The citations of an answer; what a verdict rests on joins them where it is not among them."""

    def __init__(self, citations: list[Citation], cite: Callable[[Quote], Citation]) -> None:
        """`citations` is added to."""
        self.all, self._cite = citations, cite

    def number(self, text: str, hit: SearchHit, score: float) -> int:
        """Of the citation that holds the text (from 1)."""
        wanted = _plain(text)
        for at, citation in enumerate(self.all, start=1):
            if citation.memory_id == hit.metadata.memory_id and _holds(citation.quote, wanted):
                return at
        self.all.append(self._cite(Quote(text, hit, score)))
        return len(self.all)


def _holds(quote: str, wanted: Sequence[str]) -> bool:
    words = _plain(quote)
    return any(words[at : at + len(wanted)] == list(wanted) for at in range(len(words) - len(wanted) + 1))


def of_hits(hits: Sequence[SearchHit]) -> Proof[SearchHit]:
    """Passages that were found, with the names of their speakers and titles."""
    sources = [
        (Source(hit.content, " ".join(filter(None, (hit.metadata.speaker, hit.metadata.title)))), hit) for hit in hits
    ]
    return Proof((unit, hit) for source, hit in sources for unit in source.units)


def quoted(text: str, citations: Sequence[Citation], hits: Sequence[SearchHit]) -> list[Evidence]:
    """The quotations that an answer begins with, each held against its memory letter by letter."""
    by_memory = {hit.metadata.memory_id: hit.content for hit in hits}
    found, at = [], 0
    for number, citation in enumerate(citations, start=1):
        start = text.find(f"“{citation.quote}”", at)
        if start < 0:
            continue
        start, at = start + 1, start + len(citation.quote) + 1
        stands = citation.quote in by_memory.get(citation.memory_id, "")
        found.append(
            Evidence(
                sentence=citation.quote,
                start=start,
                end=at,
                verdict="supported" if stands else "unsupported",
                method=EXACT,
                citation=number,
                score=float(stands),
                why=None if stands else "quote",
            )
        )
    return found


def concluded(claim: Claim, finding: Finding, method: str, proof: Proof[SearchHit], exhibits: Exhibits) -> Evidence:
    """The verdict with its citation. Words that it puts between quotation marks must have been said."""
    quotes = [_match(quote, proof, exhibits) for quote in claim.quotes]
    if any(quote.match == "none" for quote in quotes):
        finding = _without_quotes(claim, proof)
    number = None
    if finding.unit is not None and finding.verdict != "unsupported":
        number = exhibits.number(finding.unit.said.text, proof.owner(finding.unit), finding.score)
    return Evidence(
        sentence=claim.text,
        start=claim.start,
        end=claim.end,
        verdict=finding.verdict,
        method=method,
        citation=number,
        score=min(1.0, finding.score),
        why=finding.why,
        quotes=quotes,
    )


def _without_quotes(claim: Claim, proof: Proof[SearchHit]) -> Finding:
    """Of a sentence that quotes what nobody said: at most the rest of it can be told to be wrong."""
    rest = verdicts.judge(_QUOTED.sub(" ", claim.compared), proof.units)
    return rest if rest.verdict == "contradicted" else Finding("unsupported", 0.0, None, "quote")


def _match(quote: str, proof: Proof[SearchHit], exhibits: Exhibits) -> QuoteMatch:
    found = proof.find(quote)
    if found is None:
        return QuoteMatch(quote=quote, match="none")
    unit, text, how = found
    return QuoteMatch(quote=quote, match=how, citation=exhibits.number(text, proof.owner(unit), 1.0))


def newest_first(quotes: Sequence[Quote]) -> list[tuple[Quote, int | None]]:
    """Each with the number (from 1) of the newer one that says otherwise, which then stands right before it."""
    left = list(quotes)
    ordered: list[tuple[Quote, int | None]] = []
    while left:
        quote = left.pop(0)
        rivals = [other for other in left if differ(quote, other)]
        group = sorted([quote, *rivals], key=_said, reverse=True)
        first = len(ordered) + 1
        ordered += [(each, None if each is group[0] else first) for each in group]
        left = [other for other in left if other not in rivals]
    return ordered


def differ(one: Quote, other: Quote) -> bool:
    """They state the same matter otherwise, at different times."""
    if _said(one) == _said(other):
        return False
    both = (verdicts.judge(a.text, [Unit.of(b.text)]).verdict for a, b in ((one, other), (other, one)))
    return "contradicted" in both


def _said(quote: Quote) -> tuple[float, float]:
    facts = quote.hit.metadata
    return (facts.occurred_at or facts.created_at).timestamp(), facts.start_s or 0.0
