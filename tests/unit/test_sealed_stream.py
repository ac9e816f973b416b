"""A sealed stream is read whole or not at all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.crypto import box
from shared.crypto.envelope import WrongKey
from shared.crypto.sealed_stream import FRAME_BYTES, HEADER_BYTES, TAG_BYTES, NoStream, OtherKey, Reader, Writer

PRIVATE, PUBLIC = box.new_pair()


def sealed(plain: bytes, step: int = 700_000) -> bytes:
    file = io.BytesIO()
    writer = Writer(file, PUBLIC)
    for at in range(0, len(plain), step):
        writer.write(plain[at : at + step])
    writer.finish()
    return file.getvalue()


def opened(stream: bytes, private: bytes = PRIVATE, step: int = 300_001) -> bytes:
    reader, found = Reader(io.BytesIO(stream), private), bytearray()
    while data := reader.read(step):
        found += data
    return bytes(found)


@pytest.mark.parametrize("size", [0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 3 * FRAME_BYTES, 3_500_000])
def test_what_was_written_is_read(size: int) -> None:
    plain = bytes(range(251)) * (size // 251) + bytes(size % 251)
    assert opened(sealed(plain)) == plain


WHOLE = sealed(bytes(2 * FRAME_BYTES + 77))
FRAME = FRAME_BYTES + TAG_BYTES


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(place: int, change: int) -> None:
    with pytest.raises(WrongKey):
        opened(WHOLE[:place] + bytes([WHOLE[place] ^ change]) + WHOLE[place + 1 :])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(WHOLE) - 1))
def test_it_cannot_be_cut_off(size: int) -> None:
    with pytest.raises(WrongKey):
        opened(WHOLE[:size])


@pytest.mark.parametrize("frames", [1, 2])
def test_it_cannot_end_at_an_earlier_frame(frames: int) -> None:
    with pytest.raises(WrongKey):
        opened(WHOLE[: HEADER_BYTES + frames * FRAME])


def test_frames_cannot_change_places_nor_come_from_another_stream() -> None:
    head, first, second = WHOLE[:HEADER_BYTES], WHOLE[HEADER_BYTES:][:FRAME], WHOLE[HEADER_BYTES + FRAME :][:FRAME]
    rest = WHOLE[HEADER_BYTES + 2 * FRAME :]
    other = sealed(bytes(2 * FRAME_BYTES + 77))
    for changed in (head + second + first + rest, head + other[HEADER_BYTES:], WHOLE + b"more"):
        with pytest.raises(WrongKey):
            opened(changed)


def test_another_key_and_another_file_are_told_apart() -> None:
    with pytest.raises(OtherKey):
        opened(WHOLE, box.new_pair()[0])
    with pytest.raises(NoStream):
        opened(b"PK" + WHOLE)
    assert PUBLIC not in WHOLE
