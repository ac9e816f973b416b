"""Moments in what was said: where they stand, and which day a simple one means.

Days are counted in UTC from the moment of the recording, since nobody tells us the speaker's own time zone.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
          "december")  # fmt: skip
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    "twentieth",
    *(f"twenty-{each}" for each in ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")),
    *("twenty-ninth", "thirtieth", "thirty-first"),
)
_DAY = "|".join(DAYS)
_MONTH = "|".join([*MONTHS, "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sept", "sep", "oct", "nov", "dec"])
_NTH = rf"(?:\d{{1,2}}(?:st|nd|rd|th)?|{'|'.join(each.replace('-', '[- ]') for each in reversed(_ORDINALS))})"
_COUNT = rf"(?:\d{{1,3}}|an?|{'|'.join(_NUMBERS[1:])})"
_HOUR = (
    rf"(?:\d{{1,2}}(?:[:.]\d{{2}})?|noon|midnight|half past \w+|{'|'.join(_NUMBERS[1:])})(?: ?(?:[ap]\.?m\b|o'clock))?"
)
_UNITS = {"day": 1, "week": 7}
_EXACT = (
    r"(?P<iso>\d{4}-\d{2}-\d{2})",
    rf"(?:the )?(?P<nth>{_NTH}) (?:of )?(?P<month>{_MONTH})\b(?:,? (?P<year>\d{{4}}))?",
    rf"(?P<month2>{_MONTH})\.? (?:the )?(?P<nth2>{_NTH})\b(?:,? (?P<year2>\d{{4}}))?",
    r"(?P<near>today|tonight|tomorrow|this (?:morning|afternoon|evening)|the day after tomorrow)\b",
    rf"(?:(?P<which>next|this|coming) )?(?P<day>{_DAY})\b",
    rf"in (?P<count>{_COUNT}) (?P<unit>day|week)s?\b",
)
_VAGUE = (
    rf"next (?:week|month|year|weekend|spring|summer|autumn|fall|winter)\b|(?:in|until|by|since) (?:{_MONTH})\b",
    r"(?:at |on )?the weekend\b|(?:in|by|since|until) (?:19|20)\d{2}\b|in the (?:morning|afternoon|evening)\b",
    rf"at {_HOUR}|end of (?:the )?(?:day|week|month|year)\b|in {_COUNT} (?:month|year|hour|minute)s?\b",
)
WHEN = re.compile("|".join([*_EXACT, *_VAGUE]), re.IGNORECASE)
_NAMED_GROUP = re.compile(r"\?P<\w+>")
WHEN_IN_PATTERNS = "(?i:" + _NAMED_GROUP.sub("?:", WHEN.pattern) + ")"
"""The same without names of groups, to stand in other expressions."""


def resolve(text: str, said_on: date) -> date | None:
    """The first day that the text names, seen from the day it was said; None for none, or for one that is not sure.

    A weekday is the next such day after it was said ("next Tuesday" too: what people mean by it differs); a day of a
    month without its year is the nearest one from then on.
    """
    for found in WHEN.finditer(text):
        try:
            day = _day(found, said_on)
        except (ValueError, OverflowError):  # the 31st of February; a year that no calendar has
            continue
        if day is not None:
            return day
    return None


def _day(found: re.Match[str], said_on: date) -> date | None:
    if found["iso"]:
        return date.fromisoformat(found["iso"])
    month = found["month"] or found["month2"]
    if month:
        return _of_month(month, found["nth"] or found["nth2"], found["year"] or found["year2"], said_on)
    if found["near"]:
        ahead = {"tomorrow": 1, "the day after tomorrow": 2}
        return said_on + timedelta(ahead.get(found["near"].lower(), 0))
    if found["day"]:
        return said_on + timedelta((DAYS.index(found["day"].lower()) - said_on.weekday() - 1) % 7 + 1)
    if found["unit"]:
        return said_on + timedelta(_count(found["count"].lower()) * _UNITS[found["unit"].lower()])
    return None


def _of_month(month: str, nth: str, year: str | None, said_on: date) -> date:
    number = next(n for n, each in enumerate(MONTHS, 1) if each.startswith(month.lower()[:3]))
    digits = re.match(r"\d+", nth)
    day = int(digits.group()) if digits else _ORDINALS.index(nth.lower().replace(" ", "-")) + 1
    if year:
        return date(int(year), number, day)
    this_year = date(said_on.year, number, day)
    return this_year if this_year >= said_on else date(said_on.year + 1, number, day)


def _count(word: str) -> int:
    return int(word) if word.isdigit() else 1 if word in ("a", "an") else _NUMBERS.index(word)
