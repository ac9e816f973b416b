"""Keys wrapped under what a person knows: a password, or a recovery code.

A password has little entropy, so Argon2id stands before it; salt and parameters stand before the envelope and are
authenticated with it. A recovery code carries 160 random bits, which nobody can guess, so HKDF will do.
"""

from __future__ import annotations

import base64
import os
import secrets
import struct
import unicodedata
from typing import NamedTuple

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from shared.crypto.envelope import KEY_BYTES, WrongKey, derive, seal, unseal

ARGON2ID = 1


class Cost(NamedTuple):
    """What one guess takes."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 1


RECOMMENDED = Cost()
"""The second recommended option of RFC 9106, section 4, but for its four lanes: OpenSSL gives each a thread, and two
derivations at once then waited for each other for ever (seen with cryptography 50.0.2). A guess costs the same memory
and the same work with one."""
MOST_KIB, MOST_PASSES = 1024**2, 20
"""What a stored wrap may ask for; a changed row must not take the memory of the machine."""
SALT_BYTES = 16
CODE_BYTES = 20
_HEADER = struct.Struct(">BIBB")
_LIKE = str.maketrans("018", "OIB")
"""Digits that base32 has not, as they are misread."""


def wrap(password: str, key: bytes, aad: bytes, cost: Cost = RECOMMENDED) -> bytes:
    """Blocking, a quarter of a second of one core. `aad` names the owner and the purpose."""
    header = _HEADER.pack(ARGON2ID, *cost) + os.urandom(SALT_BYTES)
    return header + seal(_stretched(password, header), key, aad + header)


def unwrap(password: str, wrapped: bytes, aad: bytes) -> bytes:
    """Blocking, as long as `wrap`. Raises WrongKey."""
    size = _HEADER.size + SALT_BYTES
    header = wrapped[:size]
    if len(header) < size:
        raise WrongKey
    return unseal(_stretched(password, header), wrapped[size:], aad + header)


def _stretched(password: str, header: bytes) -> bytes:
    kind, memory_kib, passes, lanes = _HEADER.unpack_from(header)
    if kind != ARGON2ID or not (8 * lanes <= memory_kib <= MOST_KIB and 0 < passes <= MOST_PASSES and lanes > 0):
        raise WrongKey
    kdf = Argon2id(
        salt=header[_HEADER.size :], length=KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory_kib
    )
    return kdf.derive(unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass"))


def new_code() -> str:
    """Eight groups of four letters and digits, to be written down."""
    text = base64.b32encode(secrets.token_bytes(CODE_BYTES)).decode()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def wrap_by_code(code: str, key: bytes, aad: bytes) -> bytes:
    return seal(_of_code(code), key, aad)


def unwrap_by_code(code: str, wrapped: bytes, aad: bytes) -> bytes:
    """Blanks, dashes and case do not matter. Raises WrongKey."""
    return unseal(_of_code(code), wrapped, aad)


def _of_code(code: str) -> bytes:
    return key_of_code(code, "nemo recovery code v1")


def key_of_code(code: str, purpose: str) -> bytes:
    """32 bytes for one purpose; the same however the code was typed."""
    plain = "".join(each for each in code.upper() if each.isalnum()).translate(_LIKE)
    return derive(plain, purpose)
