"""Passwords: bcrypt over an HMAC with a pepper.

bcrypt takes at most 72 bytes, so what it hashes is base64(HMAC-SHA256(pepper, NFKC(password))): 44 bytes whatever the
password's length, and a stolen database alone cannot be attacked (OWASP Password Storage Cheat Sheet, "pre-hashing").
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import bcrypt

from shared.errors import Invalid
from shared.schemas.problem import FieldError

ROUNDS = 12
MIN_CHARS = 12
MAX_CHARS = 256

_MOST_USED = (
    "password1234 123456789012 qwertyuiop12 passwordpassword 1234567890123 letmeinletmein iloveyou1234 adminadmin12 "
    "administrator qwertyqwerty abc123abc123 111111111111 000000000000 password12345 welcome12345 changeme1234 "
    "nemo-server1 nemoserver123 correcthorsebatterystaple"
)
COMMON = frozenset(_MOST_USED.split())


def check_strength(password: str, username: str) -> None:
    """At least 12 characters, not on the list of the most used, not the name. Raises Invalid. No composition rules."""
    folded = unicodedata.normalize("NFKC", password).casefold()
    problem = None
    if len(password) < MIN_CHARS:
        problem = f"Use at least {MIN_CHARS} characters; a few words in a row are easy to remember."
    elif len(password) > MAX_CHARS:
        problem = f"Use at most {MAX_CHARS} characters."
    elif folded in COMMON or len(set(folded)) < 4:
        problem = "This password is among the first that are tried; choose another."
    elif username.casefold() in folded and len(folded) - len(username) < 6:
        problem = "The password must not be your user name."
    if problem:
        raise Invalid(problem, errors=[FieldError(pointer="/password", detail=problem)])


class Passwords:
    """Hashes and compares in two threads, so that sign-ins never stall the loop or eat every core."""

    def __init__(self, pepper: str, *, rounds: int = ROUNDS) -> None:
        self._pepper = pepper.encode()
        self._rounds = rounds
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bcrypt")
        self._dummy = bcrypt.hashpw(self._digest("nobody"), bcrypt.gensalt(rounds)).decode()

    async def hash(self, password: str) -> str:
        loop = asyncio.get_running_loop()
        salt = bcrypt.gensalt(self._rounds)
        return (await loop.run_in_executor(self._pool, bcrypt.hashpw, self._digest(password), salt)).decode()

    async def matches(self, password: str, stored: str | None) -> bool:
        """The same work for an unknown user (`stored` None) as for a known one."""
        loop = asyncio.get_running_loop()
        against = (stored or self._dummy).encode()
        equal = await loop.run_in_executor(self._pool, bcrypt.checkpw, self._digest(password), against)
        return equal and stored is not None

    def _digest(self, password: str) -> bytes:
        normal = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
        return base64.b64encode(hmac.new(self._pepper, normal, hashlib.sha256).digest())
