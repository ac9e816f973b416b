"""One long encrypted stream that anybody with the public key can write and only the private key reads.

Layout: magic `NMBK1`, the id of the key pair (16 bytes), a box of shared.crypto.box with the stream's own key, then
frames. Each frame is 1 MiB of plaintext (the last may be shorter, also empty) under AES-256-GCM; the nonce is the
frame's number, which never repeats under a key that is used once, and the associated data is the header and whether it
is the last. So no frame can be changed, moved, taken from another stream or cut off (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizar, 2015).
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared.crypto import box
from shared.crypto.envelope import WrongKey, new_key

MAGIC = b"NMBK1"
FRAME_BYTES = 1 << 20
TAG_BYTES = 16
ID_BYTES = 16
BOX_BYTES = 1 + 32 + box.KEY_BYTES + TAG_BYTES
HEADER_BYTES = len(MAGIC) + ID_BYTES + BOX_BYTES
_PURPOSE = b"nemo sealed stream v1"


class NoStream(WrongKey):
    """This is no stream of ours, or it ends before it begins."""


class OtherKey(WrongKey):
    """The stream was written for another key pair."""


def id_of(public: bytes) -> bytes:
    """Tells key pairs apart and does not give the public key away."""
    return hashlib.sha256(_PURPOSE + public).digest()[:ID_BYTES]


def public_of(private: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


class Writer:
    """A file to write to; what lies behind it is whole once `finish` returned."""

    def __init__(self, file: BinaryIO, public: bytes) -> None:
        key = new_key()
        self._header = MAGIC + id_of(public) + box.fill(public, key, _PURPOSE)
        self._file, self._aead = file, AESGCM(key)
        self._number, self._rest = 0, bytearray()
        file.write(self._header)

    def write(self, data: bytes) -> int:
        self._rest += data
        while len(self._rest) > FRAME_BYTES:
            self._put(bytes(self._rest[:FRAME_BYTES]), last=False)
            del self._rest[:FRAME_BYTES]
        return len(data)

    def finish(self) -> None:
        self._put(bytes(self._rest), last=True)

    def _put(self, plain: bytes, *, last: bool) -> None:
        self._file.write(self._aead.encrypt(_nonce(self._number), plain, _aad(self._header, last)))
        self._number += 1


class Reader:
    """A file to read from. Raises WrongKey as soon as a frame is not what was written."""

    def __init__(self, file: BinaryIO, private: bytes) -> None:
        """Raises NoStream, OtherKey, WrongKey."""
        self._header = file.read(HEADER_BYTES)
        if len(self._header) < HEADER_BYTES or not self._header.startswith(MAGIC):
            raise NoStream
        found, sealed = self._header[len(MAGIC) :][:ID_BYTES], self._header[len(MAGIC) + ID_BYTES :]
        if found != id_of(public_of(private)):
            raise OtherKey
        self._file, self._aead = file, AESGCM(box.empty(private, sealed, _PURPOSE))
        self._number, self._rest = 0, bytearray()
        self._next = file.read(FRAME_BYTES + TAG_BYTES)

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and self._next:
            self._rest += self._frame()
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken

    def _frame(self) -> bytes:
        sealed, self._next = self._next, self._file.read(FRAME_BYTES + TAG_BYTES)
        try:
            plain = self._aead.decrypt(_nonce(self._number), sealed, _aad(self._header, not self._next))
        except (InvalidTag, ValueError) as error:
            raise WrongKey from error
        self._number += 1
        return plain


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _aad(header: bytes, last: bool) -> bytes:
    return header + (b"/1" if last else b"/0")
