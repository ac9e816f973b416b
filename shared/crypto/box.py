"""Boxes that anybody can fill and only the owner can open: HPKE (RFC 9180), X25519, HKDF-SHA256, AES-256-GCM.

A box is: version byte 2 (envelopes have 1), then the encapsulated key of 32 bytes and the ciphertext with its tag.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from shared.crypto.envelope import WrongKey

VERSION = b"\x02"
KEY_BYTES = 32
_LEAST_BYTES = 1 + 32 + 16
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_pair() -> tuple[bytes, bytes]:
    """Private and public key, 32 bytes each."""
    private = X25519PrivateKey.generate()
    return private.private_bytes_raw(), private.public_key().public_bytes_raw()


def fill(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """`info` (what the data belongs to) is authenticated but not stored. Raises WrongKey for what is no key."""
    try:
        return VERSION + _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError as error:
        raise WrongKey from error


def empty(private: bytes, box: bytes, info: bytes) -> bytes:
    """The plaintext. Raises WrongKey where key, data or `info` differ from when it was filled."""
    if not is_box(box) or len(box) < _LEAST_BYTES:
        raise WrongKey
    try:
        return _SUITE.decrypt(box[1:], X25519PrivateKey.from_private_bytes(private), info)
    except (InvalidTag, ValueError) as error:
        raise WrongKey from error


def is_box(sealed: bytes) -> bool:
    return sealed[:1] == VERSION
