"""The index of one open vault: made when first asked for, following every change, and tended in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Protocol

import numpy as np

from services.rag.engines import Vectors
from services.rag.index import Ids, VectorIndex, image
from services.rag.index.flat import FlatIndex, Mirror
from services.rag.index.graph import GraphIndex
from services.rag.index.source import Extent, VectorSource
from services.rag.settings import EXACT_MOST
from shared.errors import StorageFailed
from shared.storage.sqlcipher import transaction

log = logging.getLogger(__name__)

BATCH = 2048
"""Chunks read in one turn: some 30 ms in which the vault's user waits."""
STEP = 256
"""Nodes linked before a look at whether the vault was closed, some 0.3 s."""
SAMPLE = 8
"""Batches from which the codes learn the range of each dimension."""
SAVE_AFTER = 1000
"""Changes after which a graph is written down while its vault stays open."""
SAVE_AT_END = 100
"""Additions for which it is written when the vault is closed; fewer are made again sooner than a graph is written."""
DEAD_SHARE = 0.2
"""Removed nodes from which on a graph is built anew."""


class Stopped(Exception):
    """The vault was closed, or its vectors exchanged, while its index was tended."""


class KeptIndex(Protocol):
    """Use it with the vault's lock held; `tend` alone is called without it."""

    @property
    def index(self) -> VectorIndex: ...

    @property
    def bytes(self) -> int: ...

    @property
    def foreign(self) -> int:
        """Chunks that the index cannot find, because another model embedded them."""
        ...

    @property
    def due(self) -> bool:
        """Whether there is something to `tend`."""
        ...

    def follow(self, removed: Sequence[int], added: Sequence[int], vectors: Vectors | None) -> None:
        """Bring the index up to what was just committed."""
        ...

    def forget(self) -> None:
        """What is in memory; it is made anew when next asked for."""
        ...

    def clear(self) -> None:
        """Nothing of it may stay: its vectors were removed or exchanged."""
        ...

    def tend(self) -> None:
        """What takes long, in short turns between which the vault's user gets theirs."""
        ...

    def close(self) -> None: ...


class FaissIndex:
    """Exact up to `exact_most` vectors; above, a graph that is built in the background and written into the vault."""

    def __init__(
        self, source: VectorSource, lock: threading.RLock, exact_most: int = EXACT_MOST, mirror: Mirror | None = None
    ) -> None:
        self._source = source
        self._lock = lock
        self._exact_most = exact_most if mirror is None else 2**62  # a GPU compares millions exactly
        self._mirror = mirror
        self._index: FlatIndex | GraphIndex | None = None
        self._growing = 0
        """Bytes of a graph that is being built."""
        self._epoch = 0
        self._closed = self._failed = False
        self._written = False
        """Whether the vault holds an image of the graph; if so, these are the changes since."""
        self._added = self._removed = 0
        self.foreign = 0

    @property
    def index(self) -> VectorIndex:
        if self._index is None:
            self._index = self._load()
        return self._index

    @property
    def bytes(self) -> int:
        return (self._index.bytes if self._index is not None else 0) + self._growing

    @property
    def due(self) -> bool:
        return not self._failed and (self._outgrown or self._unsaved)

    @property
    def _outgrown(self) -> bool:
        """Whether it would be built otherwise today."""
        index = self._index
        if index is None:
            return False
        if isinstance(index, FlatIndex) or not index.linked:
            return len(index) > self._exact_most
        return index.dead_share > DEAD_SHARE

    @property
    def _unsaved(self) -> bool:
        changes = self._added + self._removed
        return self._is_graph and (not self._written or changes >= max(SAVE_AFTER, len(self.index) // 100))

    @property
    def _is_graph(self) -> bool:
        return isinstance(self._index, GraphIndex) and self._index.linked

    def follow(self, removed: Sequence[int], added: Sequence[int], vectors: Vectors | None) -> None:
        if self._index is None:
            return
        self._index.remove(removed)
        self._removed += len(removed)
        if vectors is not None:
            self._index.add(added, vectors)
            self._added += len(added)

    def forget(self) -> None:
        self._index = None
        self._written, self._added, self._removed = False, 0, 0
        self._epoch += 1

    def clear(self) -> None:
        self.forget()
        with transaction(self._source.db):
            image.forget(self._source.db)

    def _load(self) -> FlatIndex | GraphIndex:
        extent = self._source.extent()
        self.foreign = self._source.foreign()
        index: FlatIndex | GraphIndex | None = None
        if extent.count > self._exact_most:
            index = self._restored(extent)
            if index is not None:
                return index
            index = self._codes(linked=False)
        if index is None:
            index = FlatIndex(self._source.dimensions, self._mirror)
        for ids, vectors in self._batches(self._epoch):
            index.add(ids, vectors)
        return index

    def _batches(self, epoch: int) -> Iterator[tuple[Ids, Vectors]]:
        """All of the vault, each batch in a turn of its own."""
        last = 0
        while True:
            with self._turn(epoch):
                ids, vectors = self._source.after(last, BATCH)
            if not len(ids):
                return
            yield ids, vectors
            last = int(ids[-1])

    def _codes(self, *, linked: bool) -> GraphIndex | None:
        """Empty, with the range of each dimension learnt. None where no vector has the length it should have."""
        sample = [vectors for _, vectors in islice(self._batches(self._epoch), SAMPLE)]
        if not sample:
            return None
        index = GraphIndex(self._source.dimensions, self._source.of, linked=linked)
        index.train(np.concatenate(sample))
        return index

    def _restored(self, extent: Extent) -> GraphIndex | None:
        """From its image, brought up to date. None where there is none, or it is damaged, or too much has changed."""
        db = self._source.db
        try:
            stamp = image.stamp_of(db, self._source.model)
            if stamp is None:
                return None
            index = GraphIndex.restored(self._source.dimensions, self._source.of, image.read(db, stamp))
        except (ValueError, TypeError, RuntimeError, StorageFailed):
            log.warning("the image of an index is damaged; it is built anew from the vault", exc_info=True)
            with transaction(db):
                image.forget(db)
            return None
        self._written = stamp.extent == extent or self._caught_up(index)
        return index if self._written else None

    def _caught_up(self, index: GraphIndex) -> bool:
        here = index.ids()
        if Extent(len(here), int(here.max(initial=0))) == self._source.extent():
            return True
        there = self._source.ids()
        gone, new = np.setdiff1d(here, there), np.setdiff1d(there, here)
        if len(new) > max(SAVE_AFTER, len(there) // 50):
            return False
        index.remove(gone)
        index.add(*self._source.of(new))
        self._added, self._removed = len(new), len(gone)
        return True

    def tend(self) -> None:
        try:
            with self._lock:
                outgrown = self._outgrown
            if outgrown:
                self._build()
            with self._lock:
                unsaved = self._unsaved
            if unsaved:
                self._save(self._epoch)
        except Stopped:
            log.info("an index was left as it was, because its vault was closed or embedded anew")
        except Exception:  # a full disk, no memory: not tried again until the vault is opened anew
            log.exception("an index could not be built or written; searches go on without")
            self._failed = True
        finally:
            self._growing = 0

    @contextmanager
    def _turn(self, epoch: int) -> Iterator[None]:
        with self._lock:
            if self._closed or epoch != self._epoch:
                raise Stopped
            yield

    def _build(self) -> None:
        """Beside the index that serves meanwhile, which it then replaces."""
        epoch = self._epoch
        with self._turn(epoch):
            if self._source.extent().count <= self._exact_most:  # an exact one is made when next asked for
                self.clear()
                return
        graph = self._codes(linked=True)
        if graph is None:
            return
        for ids, vectors in self._batches(epoch):
            for at in range(0, len(ids), STEP):
                if self._closed:
                    raise Stopped
                graph.add(ids[at : at + STEP], vectors[at : at + STEP])
            self._growing = graph.bytes
        with self._turn(epoch):
            if self._caught_up(graph):  # else this much came at once: the next turn begins again
                self._index, self._written = graph, False

    def _save(self, epoch: int) -> None:
        with self._turn(epoch):
            assert isinstance(self._index, GraphIndex)
            parts, extent = self._index.dump(), self._source.extent()
            added, removed = self._added, self._removed
        whole = image.save(self._source.db, lambda: self._turn(epoch), parts, self._source.model, extent)
        with self._turn(epoch):
            self._written = whole
            self._added, self._removed = self._added - added, self._removed - removed

    def close(self) -> None:
        """Write down what would be lost; never fails, because an image can be made again."""
        try:
            unsaved = not self._written or self._removed or self._added >= SAVE_AT_END
            if self._is_graph and unsaved and not self._closed:
                self._save(self._epoch)
        except Exception:
            log.exception("an index could not be written down; the next to open its vault makes it anew")
        self._closed = True
        self._index = None
