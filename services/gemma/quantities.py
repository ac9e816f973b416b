"""What a sentence states exactly: its numbers, times and days, made comparable ("fifteen" and 15, 4 pm and four).

Words of a closed class (weekdays, months, seasons, colours, ...) exclude each other, so they are told like numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

TOKEN = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|%")
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_TEENS = "seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
_NUMBERS = (
    {word: float(n) for n, word in enumerate(f"{_UNITS} {_TEENS}".split())}
    | {word: 20.0 + 10 * n for n, word in enumerate(_TENS.split())}
    | {word: 1.0 + n for n, word in enumerate(_ORDINALS.split())}
    | {"twice": 2.0, "dozen": 12.0, "noon": 12.0, "midnight": 0.0}
)
_SCALES = {"hundred": 100.0, "thousand": 1000.0, "million": 1e6, "billion": 1e9}
_BASE = {
    "year": ("month", 12.0),
    "month": ("month", 1.0),
    "week": ("day", 7.0),
    "day": ("day", 1.0),
    "hour": ("minute", 60.0),
    "minute": ("minute", 1.0),
    "kilo": ("gram", 1000.0),
    "gram": ("gram", 1.0),
}
"""Units that are told in one another."""
CLASSES = {
    word: kind
    for kind, words in {
        "weekday": "monday tuesday wednesday thursday friday saturday sunday",
        "month": "january february april june july august september october november december",
        "day": "today tomorrow yesterday",
        "daypart": "morning afternoon evening",
        "season": "spring summer autumn winter",
        "colour": "red blue green yellow black white brown grey orange purple pink",
    }.items()
    for word in words.split()
}
_CAPITAL_MONTHS = ("March", "May")
_ORDINAL = re.compile(r"st|nd|rd|th")
_UNIT_AHEAD = 3
"""Tokens after a number in which what it counts may stand ("80 invited guests")."""


@dataclass(frozen=True)
class Value:
    """Something exact; `of` are the words that it counts or belongs to."""

    kind: str
    value: float | str
    of: frozenset[str] = frozenset()
    alternative: float | None = None
    """The same hour on the other clock."""
    soft: bool = False
    """`one`, `a`: said without counting."""

    def equals(self, other: Value) -> bool:
        if self.kind != other.kind:
            return False
        own, others = {self.value, self.alternative}, {other.value, other.alternative}
        return bool((own & others) - {None})


def values_of(text: str) -> tuple[list[Value], set[int]]:
    """All values of a text, and which of its tokens (`TOKEN`) they are made of."""
    tokens = TOKEN.findall(text)
    found: list[Value] = []
    used: set[int] = set()
    at = 0
    while at < len(tokens):
        value, width = _value_at(tokens, at)
        if value is not None:
            found.append(value)
            used.update(range(at, at + width))
        at += width
    return found, used


def _value_at(tokens: Sequence[str], at: int) -> tuple[Value | None, int]:
    """The value that begins there, and how many tokens it takes (1 where there is none)."""
    token, low = tokens[at], tokens[at].lower()
    if token in _CAPITAL_MONTHS or low in CLASSES:
        return Value(CLASSES.get(low, "month"), low), 1
    if low in ("half", "quarter") and (clock := _to_the_hour(tokens, at)) is not None:
        return clock
    if low == "half" and at + 2 < len(tokens) and tokens[at + 1].lower() in ("a", "an"):
        return _counted(0.5, tokens, at + 2, at, soft=False)
    if low in ("a", "an", "one"):
        base = at + 1 < len(tokens) and _singular(tokens[at + 1].lower()) in _BASE
        if at + 1 < len(tokens) and tokens[at + 1].lower() in _SCALES:
            return _number(tokens, at)
        return _counted(1.0, tokens, at + 1, at, soft=True) if base or low == "one" else (None, 1)
    if ":" in token:
        return _clock(token), 1
    if token[0].isdigit() or low in _NUMBERS:
        return _number(tokens, at)
    return None, 1


def _to_the_hour(tokens: Sequence[str], at: int) -> tuple[Value, int] | None:
    """`half past six`, `quarter to seven`."""
    if at + 2 >= len(tokens) or tokens[at + 1].lower() not in ("past", "to"):
        return None
    hour = _plain_number(tokens[at + 2])
    if hour is None or not 0 <= hour <= 24:
        return None
    minutes = 30 if tokens[at].lower() == "half" else 15
    total = int(hour) * 60 + (minutes if tokens[at + 1].lower() == "past" else -minutes)
    return Value("time", f"{total // 60 % 12}:{total % 60:02d}"), 3


def _clock(token: str) -> Value | None:
    hour, _, minute = token.partition(":")
    minute = minute[:2]
    if not (hour.isdigit() and minute.isdigit()):
        return None
    if int(minute) == 0:
        return _hour(float(hour))
    return Value("time", f"{int(hour) % 12}:{minute}")


def _hour(hour: float, *, afternoon: bool = False) -> Value:
    if hour > 12:
        return Value("number", hour, alternative=hour - 12)
    return Value("number", hour, alternative=hour + 12 if afternoon and hour < 12 else None)


def _plain_number(token: str) -> float | None:
    low = token.lower()
    if low in _NUMBERS:
        return _NUMBERS[low]
    if not token[0].isdigit() or ":" in token:
        return None
    parts = token.split(",")
    if len(parts) > 1 and all(len(part.partition(".")[0]) == 3 for part in parts[1:]):
        token = "".join(parts)
    try:
        return float(token.replace(",", "."))
    except ValueError:  # 12.3.2026
        return None


def _number(tokens: Sequence[str], at: int) -> tuple[Value | None, int]:
    number, width = _plain_number(tokens[at]) if tokens[at].lower() not in ("a", "an") else 1.0, 1
    if number is None:
        return Value("text", tokens[at]), 1
    begin, at = at, at + 1
    while at < len(tokens):
        low = tokens[at].lower()
        more = _NUMBERS.get(low)
        if low in _SCALES:
            number *= _SCALES[low]
        elif more is not None and more < 10 and number >= 20 and number % 10 == 0 and not tokens[begin][0].isdigit():
            number += more
        elif low == "dozen":
            number *= 12
        else:
            break
        at, width = at + 1, width + 1
    if at < len(tokens) and _ORDINAL.fullmatch(tokens[at].lower()):
        at, width = at + 1, width + 1
    after = "".join(tokens[at : at + 2]).lower()
    if after.startswith(("pm", "am")) or (at < len(tokens) and tokens[at].lower() in ("o'clock", "o’clock")):
        extra = 2 if after.startswith(("pm", "am")) and tokens[at].lower() in ("p", "a") else 1
        return _hour(number, afternoon=after.startswith("pm")), width + extra
    return _counted(number, tokens, at, begin, soft=False)[0], width


def _counted(number: float, tokens: Sequence[str], after: int, begin: int, *, soft: bool) -> tuple[Value, int]:
    words = list(_words_after(tokens, after))
    if words and words[0] in _BASE:
        base, factor = _BASE[words[0]]
        return Value("number", number * factor, frozenset([base]), soft=soft), after + 1 - begin
    return Value("number", number, frozenset(words), soft=soft), max(1, after - begin)


def _words_after(tokens: Sequence[str], at: int) -> Iterator[str]:
    for token in tokens[at : at + _UNIT_AHEAD]:
        low = token.lower()
        if low[0].isdigit() or low in _NUMBERS or low in _SMALL:
            return
        yield "percent" if low == "%" else _singular(low)


_SMALL_WORDS = """
    a an and are as at but by for from have i in is it of on or over out so that the there they to was we were which
    who will with you
"""
_SMALL = frozenset(_SMALL_WORDS.split())


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word
