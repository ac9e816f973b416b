"""Takes e-mail addresses, telephone and card numbers out of transcripts, written or spoken out.

The words of one speaker are read as one stream, so that a number dictated over several segments, with somebody's "yes"
between them, is found. In doubt a long number goes: what was hidden can be heard again, not the reverse.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar, get_args

from shared.errors import Invalid
from shared.schemas.problem import FieldError
from shared.schemas.transcription import Notice, Segment, Word

Kind = Literal["email", "phone", "card"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Piece = TypeVar("Piece")

AUDIO_NOT_REDACTED = Notice(
    code="audio_not_redacted",
    detail="The transcript was redacted; the recording itself still says everything. Delete it if nobody may hear it.",
)

LEAST_DIGITS = 7
"""A shorter number is a price, a year, an order: no telephone number of its own."""
CARD_DIGITS = range(13, 20)
"""ISO/IEC 7812, as the large networks use it."""


@dataclass(frozen=True)
class Found:
    """Tokens `start` to `end`, the end not included."""

    start: int
    end: int
    kind: Kind


def parse(text: str) -> frozenset[Kind]:
    """`email,phone` as a set; empty text is an empty set. Raises Invalid naming the field `redact`."""
    asked = {each.strip().lower() for each in text.split(",") if each.strip()}
    unknown = sorted(asked - set(KINDS))
    if unknown:
        raise Invalid(
            f"{unknown[0][:40]!r} cannot be redacted; choose among {', '.join(KINDS)}.",
            errors=[FieldError(pointer="/redact", detail=f"not one of {', '.join(KINDS)}")],
        )
    return frozenset(kind for kind in KINDS if kind in asked)


def redact(segments: Sequence[Segment], kinds: frozenset[Kind]) -> tuple[list[Segment], int]:
    """The segments with `[email]`, `[phone]` and `[card]` in text and words, and how many there were.

    A marker has the time of all words that it stands for; what spans two segments leaves a marker in each.
    """
    streams: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for at, segment in enumerate(segments):
        streams[segment.speaker, segment.channel].append(at)
    redacted, count = list(segments), 0
    for places in streams.values():
        texts, in_text = _replaced([segments[at].text.split() for at in places], kinds, str, lambda kind, _: kind)
        words, in_words = _replaced([segments[at].words for at in places], kinds, lambda word: word.word, _joined)
        count += max(in_text, in_words)
        for at, text, spoken in zip(places, texts, words, strict=True):
            redacted[at] = _rewritten(segments[at], text, spoken)
    return redacted, count


def _rewritten(segment: Segment, text: list[str], words: list[Word]) -> Segment:
    """Unchanged to the last space where nothing was found in it."""
    same = len(words) == len(segment.words) and all(a is b for a, b in zip(words, segment.words, strict=True))
    changes: dict[str, object] = {} if same else {"words": words}
    if text != segment.text.split():
        changes["text"] = " ".join(text)
    return segment.model_copy(update=changes) if changes else segment


def _joined(marker: str, words: Sequence[Word]) -> Word:
    return Word(
        word=marker,
        start_s=min(each.start_s for each in words),
        end_s=max(each.end_s for each in words),
        confidence=min(each.confidence for each in words),
        aligned=all(each.aligned for each in words),
    )


def _replaced(
    parts: Sequence[Sequence[Piece]],
    kinds: frozenset[Kind],
    text_of: Callable[[Piece], str],
    marker: Callable[[str, Sequence[Piece]], Piece],
) -> tuple[list[list[Piece]], int]:
    """The parts of one stream with a marker for each find, and the number of finds."""
    found = find([text_of(piece) for part in parts for piece in part], kinds)
    ends = [each.end for each in found]
    replaced: list[list[Piece]] = []
    base = 0
    for part in parts:
        left, at = [], 0
        for each in found[bisect_right(ends, base) :]:
            start, end = max(each.start - base, 0), min(each.end - base, len(part))
            if start >= end:
                break
            left += [*part[at:start], marker(f"[{each.kind}]", part[start:end])]
            at = end
        replaced.append([*left, *part[at:]])
        base += len(part)
    return replaced, len(found)


def find(tokens: Sequence[str], kinds: frozenset[Kind]) -> list[Found]:
    """What is to be redacted in a stream of words, in order and without overlap."""
    emails = _emails(tokens)
    taken = {at for each in emails for at in range(each.start, each.end)}
    found = emails + [number for run in _runs(tokens, taken) for number in _numbers(run)]
    return sorted((each for each in found if each.kind in kinds), key=lambda each: each.start)


# E-mail addresses: one regular expression over the words joined by spaces. After a spoken "at" the end must be a known
# one, else "look at the dot there" would be an address.

_ENDS = "com|org|net|edu|gov|mil|int|info|biz|app|dev|name|eu|uk|[a-z]{2}|c o m|o r g|n e t|[a-z] [a-z](?![a-z])"
_JOINTS = "dot|point|underscore|dash|hyphen|minus|plus"
_DIGIT = r"\d|zero|one|two|three|four|five|six|seven|eight|nine"
_DOT = r"(?: dot | ?\.(?=\w))"
_DOMAIN = r"(?!(?:the|an?|this|that|each|every)\b)[\w-]+(?: (?:dash|hyphen|minus) [\w-]+)*"
_PART = r"[\w.+'-]+"
_LOCAL = rf"(?:{_PART} (?=(?:{_DIGIT}) ))?(?:(?:{_PART} (?:{_JOINTS})|[a-z]|{_DIGIT}) ){{0,40}}{_PART}"
_EMAIL = re.compile(
    rf"(?<!\S){_LOCAL}(?: ?@ ?{_DOMAIN}(?:{_DOT}[\w-]+)*{_DOT}[^\W\d_][\w-]+"
    rf"| at (?:{_DOMAIN}{_DOT})+(?:{_ENDS})(?!\S))",
    re.IGNORECASE,
)


def _emails(tokens: Sequence[str]) -> list[Found]:
    bare = [token.strip("\"'<>()[],;:!?").rstrip(".") for token in tokens]
    starts, length = [], 0
    for each in bare:
        starts.append(length)
        length += len(each) + 1
    return [
        Found(bisect_right(starts, match.start()) - 1, bisect_left(starts, match.end()), "email")
        for match in _EMAIL.finditer(" ".join(bare))
    ]


# Numbers: runs of digits, said or written, then a look at their shape.

_UNITS = {
    "zero": "0", "oh": "0", "o": "0", "nought": "0", "naught": "0", "one": "1", "two": "2", "three": "3", "four": "4",
    "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
}  # fmt: skip
_TEENS = {
    "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15", "sixteen": "16",
    "seventeen": "17", "eighteen": "18", "nineteen": "19",
}  # fmt: skip
_TENS = {
    "twenty": "2", "thirty": "3", "forty": "4", "fifty": "5", "sixty": "6", "seventy": "7", "eighty": "8",
    "ninety": "9",
}  # fmt: skip
_TIMES = {"double": 2, "triple": 3, "treble": 3}
_BETWEEN = frozenset({"dash", "hyphen", "minus", "-", "–", "um", "uh", "er", "erm"})
_WRITTEN = re.compile(r"\+?[(]?\+?\d[\d()./–-]*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_DATE = re.compile(r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./](?:\d{4}|\d{2})")
_DECIMAL = re.compile(r"(?!\d{3}\.\d{4}$)\d*\.\d+")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


@dataclass(frozen=True)
class _Number:
    """Digits in tokens `start` to `end`."""

    start: int
    end: int
    groups: tuple[str, ...]
    spoken: bool
    pause: bool
    """A comma or a full stop stands behind it."""
    marked: bool = False
    """Written as only telephone numbers are: with a plus or with parentheses."""

    @property
    def digits(self) -> str:
        return "".join(self.groups)


def _runs(tokens: Sequence[str], taken: set[int]) -> Iterator[list[_Number]]:
    """Numbers that follow each other with nothing but a dash or a hum between them."""
    run: list[_Number] = []
    at = 0
    while at < len(tokens):
        number = None if at in taken else _number(tokens, at, opens=not run)
        if number:
            run.append(number)
            at = number.end
            continue
        if run and tokens[at].strip(",.").lower() not in _BETWEEN:
            yield run
            run = []
        at += 1
    if run:
        yield run


def _number(tokens: Sequence[str], at: int, *, opens: bool) -> _Number | None:
    token = tokens[at]
    bare = token.strip("\"',;:!?").rstrip(".").lower()
    pause = token[-1:] in (",", ".", ";", "?", "!")
    follows = tokens[at + 1].strip("\"',;:!?.").lower() if at + 1 < len(tokens) else ""
    if bare == "plus" and (follows in _UNITS or follows in _TENS or follows[:1].isdigit()):
        after = _number(tokens, at + 1, opens=False)
        return after and _Number(at, after.end, after.groups, after.spoken, after.pause, marked=True)
    if bare in _TIMES and (follows in _UNITS or (follows.isdigit() and len(follows) == 1)):
        pause = tokens[at + 1][-1:] in (",", ".")
        return _Number(at, at + 2, (_UNITS.get(follows, follows) * _TIMES[bare],), True, pause)
    if bare in ("oh", "o") and opens and (pause or follows not in _UNITS):
        return None  # "Oh, one more thing"
    if bare in _UNITS and follows == "hundred":
        return _Number(at, at + 2, (_UNITS[bare] + "00",), True, False)
    if bare in _UNITS or bare in _TEENS:
        return _Number(at, at + 1, ((_UNITS | _TEENS)[bare],), True, pause)
    if bare in _TENS:
        tens, unit = _TENS[bare], _UNITS.get(follows, "0")
        if unit != "0" and not pause:
            return _Number(at, at + 2, (tens + unit,), True, tokens[at + 1][-1:] in (",", "."))
        return _Number(at, at + 1, (tens + "0",), True, pause)
    if groups := _hyphenated(bare):
        return _Number(at, at + 1, groups, True, pause)
    return _written(bare, at, pause)


def _hyphenated(bare: str) -> tuple[str, ...]:
    """Of `twenty-three` and `five-five-five`; empty for anything else."""
    parts = bare.split("-")
    if len(parts) == 2 and parts[0] in _TENS and parts[1] in _UNITS:
        return (_TENS[parts[0]] + _UNITS[parts[1]],)
    known = _UNITS | _TEENS
    return tuple(known[each] for each in parts) if len(parts) > 1 and all(each in known for each in parts) else ()


def _written(bare: str, at: int, pause: bool) -> _Number | None:
    bare = bare.lstrip("-–")
    if not _WRITTEN.fullmatch(bare) or any(each.fullmatch(bare) for each in (_THOUSANDS, _DATE, _DECIMAL, _ADDRESS)):
        return None
    return _Number(at, at + 1, tuple(re.findall(r"\d+", bare)), False, pause, marked=bool(set("+(") & set(bare)))


def _numbers(run: Sequence[_Number]) -> Iterator[Found]:
    """Cards first, whole tokens of the run that fulfil Luhn's sum; what is left may be telephone numbers."""
    left, at = 0, 0
    while at < len(run):
        end = _card_end(run, at)
        if end is None:
            at += 1
            continue
        yield from _phones(run[left:at])
        yield Found(run[at].start, run[end - 1].end, "card")
        left = at = end
    yield from _phones(run[left:])


def _card_end(run: Sequence[_Number], start: int) -> int | None:
    """The end of the longest card number that begins at `start`."""
    digits, best = "", None
    for end in range(start + 1, len(run) + 1):
        digits += run[end - 1].digits
        if len(digits) >= CARD_DIGITS.stop:
            break
        if len(digits) in CARD_DIGITS and digits[0] in "23456" and _luhn(digits):
            best = end
    return best


def _luhn(digits: str) -> bool:
    """Whether the check digit is right (Luhn 1960)."""
    doubled = [int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits))]
    return sum(each // 10 + each % 10 for each in doubled) % 10 == 0


def _phones(run: Sequence[_Number]) -> Iterator[Found]:
    """The whole run where it has the shape of one; else what lies between its commas."""
    if run and _is_phone(run):
        yield Found(run[0].start, run[-1].end, "phone")
        return
    cuts = [0, *(at + 1 for at, each in enumerate(run[:-1]) if each.pause), len(run)]
    if len(cuts) > 2:
        for start, end in pairwise(cuts):
            yield from _phones(run[start:end])


def _is_phone(run: Sequence[_Number]) -> bool:
    groups = [group for each in run for group in each.groups]
    digits = sum(map(len, groups))
    if digits < LEAST_DIGITS or all(_YEAR.fullmatch(group) for group in groups) or _is_counting(groups):
        return False
    singles = sum(len(group) == 1 or len(set(group)) == 1 for group in groups)
    if any(each.spoken for each in run):
        return singles >= 3
    if run[0].marked or run[0].digits[0] == "0" or singles == len(groups):
        return True
    if any(each.pause for each in run[:-1]):
        return [len(group) for group in groups[-2:]] == [3, 4]
    return len(groups) <= 3 or digits >= 9


def _is_counting(groups: Sequence[str]) -> bool:
    """One, two, three: up or down in even steps."""
    if len(groups) < 3 or max(map(len, groups)) > 3:
        return False
    steps = {int(after) - int(before) for before, after in pairwise(groups)}
    return len(steps) == 1 and abs(next(iter(steps))) in (1, 2, 5, 10, 100)
