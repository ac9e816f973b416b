"""The growing encrypted file: durable, readable by range, whole again after a torn write."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.crypto.envelope import WrongKey, new_key
from shared.storage.journal import Journal

AAD = b"usr_1/rec_1"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    parts=st.lists(st.binary(max_size=300), max_size=12),
    cut=st.integers(0, 80),
    bounds=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
)
def test_what_was_appended_is_there_after_a_torn_end(
    tmp_path: Path, parts: list[bytes], cut: int, bounds: tuple[int, int]
) -> None:
    path, key = tmp_path / "x.journal", new_key()
    path.unlink(missing_ok=True)
    journal = Journal(path, key, AAD)
    for part in parts:
        journal.append(part)
    whole = b"".join(parts)
    assert journal.read(0, 1 << 40) == whole
    journal.close()
    with path.open("ab") as file:  # a frame that a crash broke off
        file.write((100).to_bytes(4, "big") + bytes(cut))
    again = Journal(path, key, AAD)
    assert again.size_bytes == len(whole)
    again.append(b"more")
    start, end = sorted(bounds)
    assert again.read(start, end) == (whole + b"more")[start:end]
    again.close()


def test_another_key_another_owner_and_a_changed_byte_are_noticed(tmp_path: Path) -> None:
    path, key = tmp_path / "x.journal", new_key()
    journal = Journal(path, key, AAD)
    journal.append(b"the first frame")
    journal.append(b"the other frame")
    journal.close()
    for wrong_key, wrong_aad in ((new_key(), AAD), (key, b"usr_2/rec_1")):
        with pytest.raises(WrongKey):
            Journal(path, wrong_key, wrong_aad).read(0, 100)
    data = bytearray(path.read_bytes())
    assert len(data) > 60, "who comes with the wrong key cuts nothing off"
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(WrongKey):
        Journal(path, key, AAD).read(0, 100)


def test_a_last_frame_whose_bytes_never_reached_the_disk_is_cut_off(tmp_path: Path) -> None:
    path, key = tmp_path / "x.journal", new_key()
    journal = Journal(path, key, AAD)
    journal.append(b"the first frame")
    journal.append(b"the other frame")
    journal.close()
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(20))
    again = Journal(path, key, AAD)
    assert again.read(0, 100) == b"the first frame"
    again.append(b"a new one")
    assert Journal(path, key, AAD).read(0, 100) == b"the first framea new one"


def test_frames_cannot_change_places(tmp_path: Path) -> None:
    path, key = tmp_path / "x.journal", new_key()
    journal = Journal(path, key, AAD)
    journal.append(b"one.")
    journal.append(b"two.")
    journal.close()
    data = path.read_bytes()
    size = (len(data) - 4) // 2
    path.write_bytes(data[:4] + data[4 + size :] + data[4 : 4 + size])
    with pytest.raises(WrongKey):
        Journal(path, key, AAD).read(0, 8)


def test_the_plaintext_is_not_on_the_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.journal", new_key(), AAD)
    journal.append(b"a quite private sentence")
    assert b"private" not in (tmp_path / "x.journal").read_bytes()
