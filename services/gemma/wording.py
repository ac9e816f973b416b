"""What is known of English words: which say nothing by themselves, which are one word, alike, or opposites.

Small on purpose: everyday speech. A word that is in no table is only itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.words import GRAMMAR

_OF_STATEMENTS = """
    according after again ago all also am any anybody anyone anything asked because been before being both can
    cannot could doing don each every everybody everyone everything explained having here hers him into just let
    like may mentioned might more must neither never no nobody none nor not nothing now off once only out over
    own per please really said same says should since some somebody someone something stated still such tell
    than themselves then these those through told too until us very while whom whose why without yes
"""
STOP = GRAMMAR | set(_OF_STATEMENTS.split())
"""Words without a meaning of their own, and those that only report ("she said")."""
_DENYING = """
    not no never nobody nothing none neither nor without cannot hardly
"""
DENIALS = frozenset(_DENYING.split())
_FORMS = """
    be was were been, become became, begin began begun, break broke broken, bring brought, build built, buy
    bought, catch caught, choose chose chosen, come came, cost costs, do did done, draw drew drawn, drink drank
    drunk, drive drove driven, eat ate eaten, fall fell fallen, feel felt, find found, fly flew flown, forget
    forgot forgotten, get got gotten, give gave given, go went gone, grow grew grown, hear heard, hold held,
    keep kept, know knew known, lead led, leave left, lend lent, lose lost, make made, mean meant, meet met, pay
    paid, read reads, ride rode ridden, ring rang rung, rise rose risen, run ran, see saw seen, sell sold, send
    sent, shake shook, show shown, sing sang sung, sit sat, sleep slept, speak spoke spoken, spend spent, stand
    stood, steal stole stolen, swim swam swum, take took taken, teach taught, think thought, throw threw thrown,
    understand understood, wear wore worn, win won, write wrote written, child children, man men, woman women,
    foot feet, tooth teeth, person people, life lives, wife wives, knife knives
"""
"""Irregular ones, each after its plain form."""
_SYNONYMS = """
    fix repair mend, father dad daddy, mother mum mom mummy, begin start, buy purchase, big large, near close
    nearby, trip travel journey, child kid, doctor physician dr, car vehicle, home house, finish complete, get
    receive obtain, need require, choose pick select, fast quick, ill sick, answer reply respond, fee charge,
    talk speak, job work, boss manager, film movie, phone telephone, shop store, own belong, help assist, try
    attempt, end stop, quit leave, break defective, replace change, meeting appointment, lawyer attorney, flat
    apartment, photo picture, mail email, mr mister, mrs missus, prof professor
"""
"""What everyday English says in two ways."""
_PAIRS = """
    open close, open shut, left right, first last, first second, high low, up down, over under, above below,
    more less, before after, early late, start stop, start end, begin end, begin finish, buy sell, win lose,
    find lose, rise fall, increase decrease, grow shrink, good bad, hot cold, warm cold, loud quiet, loud soft,
    long short, fast slow, old young, old new, oldest youngest, cheap expensive, full empty, inside outside,
    accept reject, accept refuse, admit deny, agree refuse, agree disagree, love hate, like hate, like dislike,
    pass fail, succeed fail, remember forget, cancel confirm, allow forbid, arrive leave, come leave, stay
    leave, true false, mild severe, strong weak, easy difficult, easy hard, big small, large small, rich poor,
    safe dangerous, always never, with without, maximum minimum, most least, top bottom, north south, east west,
    alive dead, married divorced, hire fire, gain lose, save spend, absorb release, import export, lend borrow,
    push pull, add remove, better worse, best worst, present absent, public private, odd even
"""
"""Opposites."""
_PREFIXES = ("un", "in", "im", "dis", "non", "ir")
_ENDINGS = ("ingly", "edly", "ings", "ing", "est", "ies", "ied", "ers", "ed", "er", "es", "ly", "s", "e")


def _groups(table: str) -> Iterator[list[str]]:
    return (group.split() for group in table.split(","))


IRREGULAR = {form: forms[0] for forms in _groups(_FORMS) for form in forms[1:]}
_SAME: dict[str, str] = {}


def stem(word: str) -> str:
    """Roughly: "delivered" and "deliveries" meet; irregular forms by a table."""
    low = word.lower().replace("’", "'").removesuffix("'s").removesuffix("n't")
    low = IRREGULAR.get(low, low)
    for ending in _ENDINGS:
        if low.endswith(ending) and len(low) - len(ending) >= 3:
            low = low[: -len(ending)]
            break
    low = low[:-1] if len(low) > 3 and (low[-1] == low[-2] or low[-1] in "iy") else low
    return _SAME.get(low, low)


_SAME |= {stem(word): stem(words[0]) for words in _groups(_SYNONYMS) for word in words[1:]}
_STEMMED = [(stem(one), stem(other)) for one, other in _groups(_PAIRS)]
_OPPOSITES = frozenset(_STEMMED) | {(other, one) for one, other in _STEMMED}
LIGHT = frozenset(word for pair in _groups(_PAIRS) for word in pair if word in STOP)
"""Words of STOP that have an opposite: over, before, with."""


def akin(one: str, other: str) -> bool:
    """Stems of one word: equal, or the longer only goes on ("train", "trainer")."""
    if one == other:
        return True
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return len(short) >= 4 and long.startswith(short) and len(long) - len(short) <= 3


def opposed(one: str, other: str) -> bool:
    if (one, other) in _OPPOSITES:
        return True
    short, long = (one, other) if len(one) < len(other) else (other, one)
    return len(short) >= 4 and any(long == prefix + short for prefix in _PREFIXES)
