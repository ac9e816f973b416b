"""The gate before the memory: what of a candidate is kept, shown to its user first, or locked away. Pure functions.

Each check has a name, and the names are what a user reads as `reasons`. Junk is worse than a gap: what is doubtful goes
to the inbox, what is no statement goes nowhere.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from services.rag.facts import Candidate
from services.rag.orders import instruction_shaped

SURE = 0.6
"""Confidence from which a fact needs nobody's word."""
LEAST = 0.25
"""Confidence below which it is not even asked about."""
HEDGED = 0.6
"""What "I think" leaves of a confidence."""
OVERLAPPED = 0.7
"""What somebody else's voice at the same time leaves of it."""
ALIKE = 0.8
"""Cosine of all-MiniLM-L6-v2 from which two statements of one kind about one subject may be one: `same` asks
for more. Measured by scripts/bench/facts.py: the least alike of those that are one have 0.86, and of those that differ
the most alike have 0.98."""

Outcome = Literal["active", "pending", "quarantined", "dropped"]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a candidate, and the names of the checks that said so."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    confidence: float = 1.0


def judge(candidate: Candidate, orders: Sequence[str] | None = None) -> Verdict:
    """Quarantine first: what reads like an order to a machine is not weighed at all. `orders`: of `orders_around`."""
    if candidate.quote not in candidate.utterance.text or not candidate.quote.strip():
        return Verdict("dropped", ("no_source",), 0.0)
    shapes = orders_around(candidate) if orders is None else orders
    if shapes:
        return Verdict("quarantined", tuple(shapes), candidate.confidence)
    for name, check in _DROPS.items():
        if check(candidate):
            return Verdict("dropped", (name,), candidate.confidence)
    return _weighed(candidate)


def orders_around(candidate: Candidate) -> list[str]:
    """What gives orders in all that was said in one go, right before and after, and in the name."""
    return instruction_shaped(candidate.utterance.text, candidate.utterance.around, candidate.subject)


def _weighed(candidate: Candidate) -> Verdict:
    doubts = {name: factor for name, (check, factor) in _DOUBTS.items() if check(candidate)}
    confidence = candidate.confidence
    for factor in doubts.values():
        confidence *= factor
    confidence = round(confidence, 3)
    if confidence < LEAST:
        return Verdict("dropped", (*doubts, "low_confidence"), confidence)
    if confidence < SURE:
        return Verdict("pending", (*doubts, "low_confidence"), confidence)
    return Verdict("active", (), confidence)


# ---------------------------------------------------------------- what is no statement

_QUESTION = re.compile(
    r"^(?:(?:and|so|but|well|okay|ok|hey|hm+|sorry|wait)[, ]+)*"
    r"(?:what|who|whom|whose|where|when|why|how|which|do|does|did|is|are|was|were|am|can|could|shall|should|will|would"
    r"|have|has|had|might|(?:is|are|do|does|did|wo|would|ca|could)n't) "
    r"(?!I (?:mean|say)\b)(?:I|you|we|he|she|it|they|the|my|your|our|his|her|their|there|this|that|is|are|do|does|did"
    r"|was|were|if|about|long|much|many|far|often|time|day|to|(?-i:[A-Z]\w+))\b",
    re.IGNORECASE,
)
_IF = re.compile(
    r"\b(?:if|unless|suppose|supposing|imagine|pretend|what if|let's say|let's assume|assuming|wish|in case"
    r"|provided that|hypothetically|for example|for instance|as if|in theory|in the (?:film|movie|book"
    r"|story|game|novel|song|dream)|dream(?:ed|t)?|once upon|(?:just )?kidding|joking|in another life)\b",
    re.IGNORECASE,
)
_MODAL = re.compile(
    r"\b(?:would|could|might|(?<!\d )(?-i:may)(?! \d)|should(?! remember))(?:n't)?\b|\w'd\b(?! better)", re.IGNORECASE
)
_MAYBE = re.compile(r"\b(?:maybe|perhaps|possibly|potentially|supposedly|who knows)\b", re.IGNORECASE)
_REPORTED = re.compile(
    r"\b(?!(?:i|we|as|i've|we've)\b)(\w+)(?: \w+)?(?<!\bi)(?<!\bwe) (?:said|says|told|tells|claims?|claimed|wrote"
    r"|writes|thinks|thought|believes?|mentioned|reckons|insists?|sings?|sang|goes like|(?:was|is|were) like"
    r"|announced|heard|alleges?)\b|\baccording to\b|\bapparently\b|\brumou?r|\b(?:i|we)(?:'ve)? (?:heard|read)\b"
    r"|\bthey say\b|\b(?:he|she|it|they) (?:goes|went|go),? (?=[\"“]|(?:my|i|we)\b)"
    r"|\bquote\b|\bthe (?:lyrics|song|line|saying)\b",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|never|no longer|nobody|no one|none|neither|nor|cannot|hardly|barely|no)\b|n't\b", re.IGNORECASE
)
_DENIED_AFTER = re.compile(r"\W*(?:not|never|no longer|no more|any ?more)\b", re.IGNORECASE)
_PAST = re.compile(r"\b(?:used to|formerly|back then|in those days|once was|no more)\b", re.IGNORECASE)
_HEDGE = re.compile(
    r"\b(?:i think|i guess|i suppose|i believe|i assume|probably|not sure|i hope|hopefully|i reckon|likely|kind of"
    r"|sort of|more or less|i'd say|if i remember|as far as i know|tentatively|roughly|something like)\b",
    re.IGNORECASE,
)
_VAGUE_WORDS = frozenset(
    """
    a an the it its this that these those them they him her he she you me us we i my your our one ones thing things
    stuff something anything everything nothing someone anyone everyone there here now then later soon back again so
    too also just very really quite much lot bit ok okay fine good great nice sure well yes no and or but to of on in
    at for with by up out off over about from as is are be been do does did go going get got some any all more most
    same way work people guy guys idea question second minute moment while day morning evening anyway please thanks
    thank sorry talk speak call see look like know think say said tell ask let make take come if when what how who where
    why into until both each yours mine his hers theirs other others somewhat better worse
    sense course point kind sort bye hello listening hearing wondering calling asking trying saying coming
    """.split()  # noqa: SIM905 - one word a line would be a hundred lines
)
_WORD = re.compile(r"[^\W_]+(?:['-][^\W_]+)*")
_NO_WEIGHT = re.compile(
    r"\b(?:be right back|talk (?:to you )?(?:soon|later)|see you|call you back|call back|get back to (?:you|that|it)|"
    r"good (?:morning|night|day)|take care|come back to (?:that|it|this)|check (?:it|that|this) out$|"
    r"ask (?:you )?(?:a|one|another|something|some|you)\b|buy (?:it|that|time)\b|visit us\b|pay attention|"
    r"water under|fix that|update you\b|share (?:my|the) screen|(?:hold on|wait|for|just) a second)\b",
    re.IGNORECASE,
)


def _is_question(candidate: Candidate) -> bool:
    sentence = candidate.sentence
    return sentence.rstrip("\"'”’) ").endswith("?") or bool(_QUESTION.search(sentence))


def _is_hypothetical(candidate: Candidate) -> bool:
    return bool(_IF.search(candidate.sentence) or _MODAL.search(candidate.quote) or _MAYBE.search(candidate.sentence))


def _is_reported(candidate: Candidate) -> bool:
    """Somebody else's words, or words between quotation marks."""
    before, _, after = candidate.sentence.partition(candidate.quote)
    quoted = before.count('"') % 2 == 1 or before.count("“") > before.count("”")
    return quoted or after.lstrip(" .,!").startswith(('"', "”")) or bool(_REPORTED.search(candidate.sentence))


def _is_negated(candidate: Candidate) -> bool:
    """Up to the end of what it says, or right after it: "I'm diabetic, so no sugar" denies nothing."""
    core, rest = (part.replace("’", "'") for part in (candidate.core, candidate.quote[len(candidate.core) :]))
    return not candidate.negative and bool(_DENIED.search(core) or _DENIED_AFTER.match(rest))


def _is_past(candidate: Candidate) -> bool:
    return bool(_PAST.search(candidate.quote))


def _is_small_talk(candidate: Candidate) -> bool:
    if _NO_WEIGHT.search(candidate.quote):
        return True
    words = [word.casefold() for word in _WORD.findall(candidate.value)]
    told = words[1:] if candidate.kind == "commitment" else words  # the first one says what is done, not to what
    return candidate.kind != "contact" and all(word in _VAGUE_WORDS for word in told)


_DROPS: dict[str, Callable[[Candidate], bool]] = {
    "question": _is_question,
    "hypothetical": _is_hypothetical,
    "reported": _is_reported,
    "negated": _is_negated,
    "past": _is_past,
    "small_talk": _is_small_talk,
}
_DOUBTS: dict[str, tuple[Callable[[Candidate], bool], float]] = {
    "hedged": (lambda candidate: bool(_HEDGE.search(candidate.sentence)), HEDGED),
    "overlapping_speech": (lambda candidate: candidate.overlap, OVERLAPPED),
}

# ---------------------------------------------------------------- the same said twice

_TELLING = re.compile(
    r"\d[\d.,:]*|\b[^\W\d_a-z]\w+|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:not|never|no)\b|n't\b"
)
_TELLING_WORDS = frozenset(
    """
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million first second third today
    hate dislike stand against from without tomorrow tonight morning afternoon evening noon midnight weekend
    """.split()  # noqa: SIM905 - as above
)


def normalised(text: str) -> str:
    """Words only, in one case, so that marks and blanks make no new fact."""
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").casefold()))


def told_by(text: str) -> str:
    """The hash by which a text is known again without being kept."""
    return hashlib.sha256(normalised(text).encode()).hexdigest()


def telling(text: str) -> frozenset[str]:
    """Names, numbers, days and denials: vectors hardly tell Tuesday from Thursday, these do."""
    first = _WORD.search(text)
    inside = text[first.end() :] if first else text  # the first word has a capital in any case
    found = {each.casefold().strip(".,:") for each in _TELLING.findall(inside)}
    return frozenset(found | (_TELLING_WORDS & set(normalised(text).split())))


def same(one: str, other: str, cosine: float) -> bool:
    """Whether two statements of one kind about one subject are one; `cosine` of their vectors.

    Where each has a word of weight that the other has not they are two, however near: paper is not plastic.
    """
    if cosine < ALIKE or telling(one) != telling(other):
        return False
    mine, theirs = _weighty(one), _weighty(other)
    return mine <= theirs or theirs <= mine


def _weighty(text: str) -> set[str]:
    """Words that say something, without the endings that grammar gives them."""
    words = (word.partition("'")[0] for word in normalised(text).split())
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word) or word for word in words if word not in _VAGUE_WORDS | _AUXILIARY}


_AUXILIARY = {
    *("am", "have", "has", "had", "having", "will", "can", "must", "need", "needs", "always", "usually", "really"),
    *("called", "name", "named"),
}


def kept(candidates: Sequence[Candidate]) -> list[tuple[Candidate, Verdict]]:
    """Those that pass, each once, in the order in which they were said."""
    found: dict[tuple[str, str], tuple[Candidate, Verdict]] = {}
    orders: dict[tuple[str, str, str], list[str]] = {}
    for candidate in candidates:
        beside = (candidate.utterance.text, candidate.utterance.around, candidate.subject)
        if beside not in orders:  # once for all that stands in one long message
            orders[beside] = orders_around(candidate)
        verdict = judge(candidate, orders[beside])
        if verdict.outcome != "dropped":
            found.setdefault((candidate.subject_key, normalised(candidate.quote)), (candidate, verdict))
    return list(found.values())
