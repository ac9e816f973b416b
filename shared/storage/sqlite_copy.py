"""A consistent copy of a SQLite file in WAL mode while others write to it, without its key.

A sealed vault is written to by a service to which its user gave the key; nobody else has it, so SQLite's own backup
cannot open the file. But SQLite agrees with others about who may do what by locks on bytes of the files, and those need
no key (https://www.sqlite.org/walformat.html, "File Locks"; the lock bytes of the main file are in the source as
PENDING_BYTE and SHARED_FIRST). Two steps:

1. No checkpoint may run: the main file does not change while it is copied. Writers go on, into the WAL.
2. No writer may run for as long as the WAL takes to be copied, mostly a few milliseconds.

The copy is the pair of files; whoever opens it next finds every transaction that was committed before step 2.
Locks belong to the process: this must not run in a process that has the same file open with SQLite.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import Busy

SHARED_FIRST, SHARED_SIZE = 0x40000002, 510
"""In the main file. Whoever reads holds it shared; so the last writer that closes leaves the WAL alone."""
WRITE_LOCK, CHECKPOINT_LOCK = 120, 121
"""In the file `-shm`."""
WAIT_S = 30.0
PAUSE_S = 0.005
PIECE_BYTES = 1 << 30


def copy(source: Path, target: Path) -> list[Path]:
    """The files that were made: `target`, and `target`-wal where there is one.

    Blocking. Raises FileNotFoundError for a file that is gone, Busy where a writer does not end.
    """
    made = [target]
    wal, shm = source.with_name(source.name + "-wal"), source.with_name(source.name + "-shm")
    with _locked(source, os.O_RDWR, SHARED_FIRST, SHARED_SIZE, fcntl.LOCK_SH) as main:
        flags = os.O_RDWR | os.O_CREAT  # absent while nobody has it open; whoever comes now waits for us
        with _locked(shm, flags, CHECKPOINT_LOCK, 1, fcntl.LOCK_EX) as shared:
            _copy(main, target)
            if wal.exists():
                with _lock(shared, WRITE_LOCK, 1, fcntl.LOCK_EX):
                    made.append(target.with_name(target.name + "-wal"))
                    with wal.open("rb") as log:
                        _copy(log.fileno(), made[-1])
    return made


def _copy(source: int, target: Path) -> None:
    """By the descriptor that holds the lock: opening and closing the file once more would let go of it."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        place = 0
        while count := os.sendfile(descriptor, source, place, PIECE_BYTES):
            place += count
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path, flags: int, start: int, length: int, kind: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        with _lock(descriptor, start, length, kind):
            yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _lock(descriptor: int, start: int, length: int, kind: int) -> Iterator[None]:
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.lockf(descriptor, kind | fcntl.LOCK_NB, length, start)
            break
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() > deadline:
                raise Busy(f"A database stayed in use for {WAIT_S:.0f} s; try again.") from error
            time.sleep(PAUSE_S)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, length, start)
