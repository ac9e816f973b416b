"""What follows from a talk: who took on what until when, and what can be checked. By patterns, in English."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from services.gemma.spans import Spoken
from services.gemma.verdicts import Text
from shared.schemas.summaries import ActionItem, SummaryPoint

_SKIP = "not|never|be able|see|say|think|know|guess|admit|tell you"
_OWN = re.compile(
    rf"\b(?:i(?:['’]ll| will|['’]m going to| am going to| promise to)|let me)\s+(?!(?:{_SKIP})\b)\w+", re.IGNORECASE
)
_OURS = re.compile(
    rf"\b(?:we(?:['’]ll| will| need to| have to| must| should)|let['’]s)\s+(?!(?:{_SKIP})\b)\w+", re.IGNORECASE
)
_ASKED = re.compile(
    r"\bplease\s+(?!note|see|find)\w+"
    r"|\b(?:can|could|would|will) you\s+(?:please\s+)?(?!(?:hear|see|say|tell|repeat|imagine|believe)\b)\w+"
    r"|\byou (?:should|must|need to|have to|will)\s+(?!(?:be|see|find)\b)\w+"
    r"|\b(?:make sure|don['’]t forget|remember) (?:to|that)\b",
    re.IGNORECASE,
)
_DUTY = "will|should|must|needs to|has to|is going to|takes care of|takes over"
_NAMED = re.compile(rf"\b([A-ZÀ-Þ][\wÀ-ÿ-]+) (?:{_DUTY})\s+(?!(?:{_SKIP}|be)\b)\w+")
_CALLED = re.compile(r"^(?:(?:and|so|ok|okay|then),?\s+)?([A-ZÀ-Þ][\wÀ-ÿ-]+),|,\s*([A-ZÀ-Þ][\wÀ-ÿ-]+)[.?!]?$")
_NO_NAMES = """
    I We You He She It They This That There What Who Which Yes No Ok Okay So And But Then Well Everybody Nobody Everyone
    Somebody Someone The A Please Thanks Sorry Sure Monday Tuesday Wednesday Thursday Friday Saturday Sunday
"""
_NOBODY = frozenset(_NO_NAMES.split())
_MONTH = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAY = (
    r"(?:next |this |the coming )?(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday|week|month|weekend|year)"
    r"|(?:the )?end of (?:the |this |next )?(?:day|week|month|quarter|year)"
    r"|today|tonight|tomorrow(?: (?:morning|evening|night))?|noon|lunch"
    rf"|(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)?(?: (?:{_MONTH}))?|(?:{_MONTH})(?: \d{{1,2}}(?:st|nd|rd|th)?)?"
)
_DUE = re.compile(
    rf"\b(?:(?:by|until|before|on|not later than) (?:{_DAY})\b|(?:next|this) (?:week|month|{_DAY})\b|today\b|tonight\b"
    r"|tomorrow(?: morning| evening)?\b|(?:with)?in (?:\w+ ){1,2}(?:days?|weeks?|months?|hours?)\b)",
    re.IGNORECASE,
)
_OPINION = re.compile(
    r"\b(?:i (?:think|guess|believe|hope|feel|wonder)|maybe|perhaps|probably|i['’]d like)\b|\?\s*$", re.IGNORECASE
)
_STATES = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|costs?|runs?|starts?|ends?|leaves?|arrives?|\w{3,}(?:ed|es|s))\b"
    r"|\b(?:said|went|came|took|made|paid|bought|sold|got|gave|wrote|won|lost|spent|met|rose|fell|began|cost)\b"
)


def point(said: Spoken) -> SummaryPoint:
    return SummaryPoint(
        text=said.text,
        segment_ids=list(said.segment_ids),
        start_s=said.start_s,
        end_s=said.end_s,
        speaker=said.speaker,
        quote=said.quote,
    )


def action_items(spoken: Sequence[Spoken]) -> list[ActionItem]:
    """Commitments ("I will ...") and requests ("could you ..."), each once."""
    speakers = list(dict.fromkeys(each.speaker for each in spoken))
    found: dict[str, ActionItem] = {}
    for each in spoken:
        is_one, assignee = _assignee(each, speakers)
        if is_one:
            due = _DUE.search(each.text)
            item = ActionItem(**point(each).model_dump(), assignee=assignee, due=due.group() if due else None)
            found.setdefault(each.text.casefold(), item)
    return list(found.values())


def _assignee(said: Spoken, speakers: Sequence[str]) -> tuple[bool, str | None]:
    """Whether it is an action item, and whose: a name that is called, the speaker, or the only other one."""
    if _OPINION.search(said.text) and not _ASKED.search(said.text):
        return False, None
    if _ASKED.search(said.text):
        others = [each for each in speakers if each != said.speaker]
        return True, _called(said.text) or (others[0] if len(others) == 1 else None)
    if _OWN.search(said.text):
        return True, said.speaker
    for named in _NAMED.finditer(said.text):
        if named.group(1) not in _NOBODY:
            return True, named.group(1)
    return (True, None) if _OURS.search(said.text) else (False, None)


def _called(text: str) -> str | None:
    found = _CALLED.search(text.strip())
    name = (found.group(1) or found.group(2)) if found else None
    return name if name not in _NOBODY else None


def claims(spoken: Iterable[Spoken]) -> list[Spoken]:
    """Statements with a number, a date or a name that somebody else could look up; no questions, no opinions."""
    found: dict[str, Spoken] = {}
    for each in spoken:
        if not _OPINION.search(each.text) and _STATES.search(each.text) and _is_exact(each.text):
            found.setdefault(each.text.casefold(), each)
    return list(found.values())


def _is_exact(text: str) -> bool:
    said = Text(text)
    return any(not value.soft for value in said.values) or any(term.name and not term.first for term in said.terms)
