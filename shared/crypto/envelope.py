"""AES-256-GCM envelopes and keys derived from keys.

An envelope is: version byte 1, nonce of 12 random bytes, ciphertext with its tag of 16 bytes (NIST SP 800-38D). Random
nonces are safe for some 2^32 envelopes a key; a user's data key seals far fewer.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.errors import ProductError

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12


class WrongKey(ProductError):
    """Sealed data could not be opened: the key is wrong or the data was changed."""

    status = 500
    code = "wrong_key"


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def seal(key: bytes, plaintext: bytes, aad: bytes = b"") -> bytes:
    """Encrypt and authenticate; `aad` (what the data belongs to) is authenticated but not stored."""
    nonce = os.urandom(NONCE_BYTES)
    return VERSION + nonce + AESGCM(key).encrypt(nonce, plaintext, aad)


def unseal(key: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """The plaintext. Raises WrongKey where key, data or `aad` differ from when it was sealed."""
    if sealed[:1] != VERSION or len(sealed) < 1 + NONCE_BYTES + 16:
        raise WrongKey
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return AESGCM(key).decrypt(nonce, body, aad)
    except InvalidTag as error:
        raise WrongKey from error


def derive(master: bytes | str, purpose: str) -> bytes:
    """32 bytes for one purpose, by HKDF-SHA256 (RFC 5869); `master` must already be of full entropy."""
    secret = master.encode() if isinstance(master, str) else master
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(secret)
