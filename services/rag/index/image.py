"""An index written down in its own vault, so that opening it does not mean building it.

An image is many rows, because SQLite bounds one blob and because other writers must get their turn between them. It
counts only once its stamp is there, which is written last, in one transaction that also takes the earlier image's away:
whoever is killed before has the earlier image, or none, and pieces that nobody names, which the next writer removes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.rag.index.source import Extent
from shared.schemas.ids import new_id
from shared.storage.sqlcipher import Connection, in_our_words, transaction

VERSION = 2
"""Of the parts' layout. Images of another version are built anew."""
PIECE_BYTES = 1024 * 1024
ROUND = 64
"""Pieces removed at a time."""

Turn = Callable[[], AbstractContextManager[Any]]
"""Entered for each short use of the database; what it raises ends the saving."""


@dataclass(frozen=True)
class Stamp:
    """What an image is of, and how to know that it is whole."""

    version: int
    model: str
    count: int
    last: int
    sizes: list[int]
    """Bytes of each part."""
    sha256: str

    @property
    def extent(self) -> Extent:
        return Extent(self.count, self.last)


def save(db: Connection, turn: Turn, parts: Sequence[NDArray[Any]], model: str, extent: Extent) -> bool:
    """Write the parts of an index of these chunks. False where the image was forgotten while it was written."""
    image_id, digest = new_id("idx"), hashlib.sha256()
    views: list[Any] = [np.ascontiguousarray(part).data.cast("B") for part in parts]
    number = 0
    for number, piece in enumerate(_pieces(views), 1):
        digest.update(piece)
        with turn(), transaction(db):
            db.execute("INSERT INTO index_piece VALUES (?, ?, ?)", (image_id, number, piece))
    stamp = Stamp(VERSION, model, extent.count, extent.last, [len(view) for view in views], digest.hexdigest())
    with turn(), transaction(db):
        here = db.execute("SELECT count(*) FROM index_piece WHERE image_id = ?", (image_id,)).fetchone()[0]
        whole = bool(here == number)
        if whole:
            db.execute("DELETE FROM index_image")
            db.execute("INSERT INTO index_image VALUES (?, ?)", (image_id, json.dumps(asdict(stamp))))
    _sweep(db, turn)
    return whole


def _pieces(views: Sequence[memoryview]) -> Iterator[memoryview]:
    for view in views:
        for at in range(0, len(view), PIECE_BYTES):
            yield view[at : at + PIECE_BYTES]


def _sweep(db: Connection, turn: Turn) -> None:
    """Remove the pieces that no stamp names."""
    sql = (
        "DELETE FROM index_piece WHERE rowid IN (SELECT rowid FROM index_piece"
        " WHERE image_id NOT IN (SELECT image_id FROM index_image) LIMIT ?)"
    )
    removed = ROUND
    while removed:
        with turn(), transaction(db):
            removed = db.execute(sql, (ROUND,)).rowcount


def stamp_of(db: Connection, model: str) -> Stamp | None:
    """Of the image that is there, where this code and model can use it."""
    with in_our_words():
        row = db.execute("SELECT stamp FROM index_image").fetchone()
    if row is None:
        return None
    stamp = Stamp(**json.loads(row[0]))
    return stamp if (stamp.version, stamp.model) == (VERSION, model) else None


def read(db: Connection, stamp: Stamp) -> list[NDArray[np.uint8]]:
    """The parts as bytes. Raises ValueError where they are not as they were written."""
    whole = np.empty(sum(stamp.sizes), dtype=np.uint8)
    at = 0
    with in_our_words():
        sql = "SELECT data FROM index_piece JOIN index_image USING (image_id) ORDER BY number"
        for row in db.execute(sql):
            piece = np.frombuffer(row[0], dtype=np.uint8)
            whole[at : at + len(piece)] = piece
            at += len(piece)
    if at != len(whole) or hashlib.sha256(whole.data).hexdigest() != stamp.sha256:
        raise ValueError("the image of an index is damaged")
    return np.split(whole, np.cumsum(stamp.sizes)[:-1])


def forget(db: Connection) -> None:
    """Inside a transaction: no image stands any longer, one that is being written neither."""
    db.execute("DELETE FROM index_image")
    db.execute("DELETE FROM index_piece")
