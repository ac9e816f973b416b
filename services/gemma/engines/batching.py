"""Many answers from one model at once: in each step one batch with the next token of every answer that is being
written and a part of the prompts that are still read.

Who takes part is decided anew in each step (iteration-level scheduling: Orca, Yu et al., OSDI 2022), and a long prompt
is read in parts beside the others' tokens, so that it stalls nobody (chunked prefill: Sarathi-Serve, Agrawal et al.,
OSDI 2024). One thread does all of it; whoever reads an answer does so from a queue of its own.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.gemma.engines import Piece
from services.gemma.engines.slots import Place, Slot, Slots
from services.gemma.engines.stops import Words
from shared.errors import ModelFailed, ModelLost, ProductError

log = logging.getLogger(__name__)
BESIDE = 64
"""Tokens of prompts read in one step while others write: they wait that much longer for their next token."""
FOR_EACH = 32
"""So many for each prompt that is read, where that is more: where many wait for their first token, those who write wait
longer, and what they write meanwhile delays the many less."""
FULL = "The model has no room left for this answer; ask again in a moment, or for a shorter one."
OLDEST_SHARE = 4
"""Part of them (one fourth) that is the oldest prompt's; the rest goes to the one with the least left to read."""


class Sampler(Protocol):
    """How the tokens of one answer are chosen."""

    def next(self, context: Any, row: int) -> int:
        """The token after the one in this row of the batch, out of the context that computed it."""
        ...

    def close(self) -> None: ...


class Cells(Protocol):
    """The part of the context that the steps need; `llama_context.Context` in production."""

    batch: int
    cells: int

    def clear_batch(self) -> None: ...
    def add(self, sequence: int, first: int, tokens: Sequence[int], *, answered: bool) -> int: ...
    def decode(self) -> int: ...
    def forget(self, sequence: int) -> None: ...
    def put_aside(self, sequence: int) -> None: ...
    def take_over(self, giver: int, taker: int, size: int) -> bool: ...
    def clear(self) -> None: ...


class Vocabulary(Protocol):
    @property
    def shares(self) -> bool: ...

    def bytes_of(self, token: int) -> bytes: ...
    def ends(self, token: int) -> bool: ...


@dataclass(eq=False)
class Answer:
    """One in the making."""

    prompt: Sequence[int]
    sampler: Sampler
    words: Words
    most: int
    """Tokens."""
    stops: frozenset[int] = frozenset()
    """Tokens that end it, beside those of the vocabulary."""
    pieces: queue.SimpleQueue[Piece | Exception] = field(default_factory=queue.SimpleQueue)
    cancelled: bool = False
    slot: Slot | None = None
    reused: int = 0
    """Tokens of the prompt that stood in the cells already."""
    last: int | None = None
    """The token that was chosen and is not in the cells yet."""
    written: int = 0
    row: int = -1
    """Where its logits are after the step; -1: it gets none."""

    @property
    def left(self) -> int:
        """Tokens of the prompt that are not read yet."""
        return len(self.prompt) - len(self.slot.tokens) if self.slot is not None and self.last is None else 0


@dataclass
class Counts:
    """What was done so far."""

    read: int = 0
    """Tokens of prompts that the model computed."""
    reused: int = 0
    written: int = 0
    steps: int = 0


class Batcher:
    """`write` from any thread; `close` ends everything."""

    def __init__(self, cells: Cells, vocabulary: Vocabulary, *, parallel: int, slots: int) -> None:
        """`slots`: sequences of the context, of which `parallel` are written at once; the rest keep old ones."""
        self._cells, self._vocabulary, self._parallel = cells, vocabulary, parallel
        self._slots = Slots(slots, cells.cells)
        self._news = threading.Condition()
        self._waiting: list[Answer] = []
        self._running: list[Answer] = []
        self._closed = False
        self.counts = Counts()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()

    def write(self, answer: Answer) -> Iterator[Piece]:
        """Pieces as they come, empty ones while it waits or its prompt is read. Raises ModelLost when closed."""
        with self._news:
            if self._closed:
                answer.sampler.close()
                raise ModelLost
            self._waiting.append(answer)
            self._news.notify()
        try:
            finish = None
            while finish is None:
                piece = answer.pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                finish = piece.finish
        finally:
            answer.cancelled = True

    def close(self) -> None:
        """Answers in the making end with ModelLost; no step is under way when it returns."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    # -- the thread

    def _run(self) -> None:
        while self._wait():
            try:
                self._leave()
                self._admit()
                self._step()
            except Exception as error:  # what stands in the cells is in doubt
                log.exception("a step failed", extra={"kind": type(error).__name__})
                self._fail(error)
        self._fail(ModelLost())

    def _wait(self) -> bool:
        """Until there is something to do; False when it is over."""
        with self._news:
            while not (self._closed or self._waiting or self._running):
                self._news.wait()
            return not self._closed

    def _fail(self, error: Exception) -> None:
        with self._news:
            lost, self._waiting = [*self._running, *self._waiting], []
        for answer in lost:
            self._end(answer, error)
        self._cells.clear()
        self._slots.forget()

    def _leave(self) -> None:
        for answer in [each for each in self._running if each.cancelled]:
            self._end(answer)
        with self._news:
            gone = [each for each in self._waiting if each.cancelled]
            self._waiting = [each for each in self._waiting if not each.cancelled]
        for answer in gone:
            answer.sampler.close()

    def _admit(self) -> None:
        """In order: who comes later does not pass one that waits for cells."""
        while len(self._running) < self._parallel:
            with self._news:
                answer = self._waiting[0] if self._waiting else None
            if answer is None:
                break
            place = self._slots.place(answer.prompt, len(answer.prompt) + answer.most)
            if place is None:
                break
            with self._news:
                self._waiting.pop(0)
            self._running.append(answer)
            self._begin(answer, place)
        for answer in self._waiting:
            answer.pieces.put(Piece("", answer.written))

    def _begin(self, answer: Answer, place: Place) -> None:
        answer.slot, same = place.slot, place.same if self._vocabulary.shares else 0
        giver = place.copied_from or place.slot
        if same and not self._cells.take_over(giver.number, place.slot.number, same):
            same = 0
        if not same:
            self._cells.forget(place.slot.number)
        del place.slot.tokens[same:]
        answer.reused = same
        self.counts.reused += same
        for slot in self._slots.surplus():
            self._cells.forget(slot.number)

    def _step(self) -> None:
        if not self._running:
            self._refuse()
            return
        self._cells.clear_batch()
        added = self._next_tokens() + self._prompts()
        self._decode()
        self.counts.steps += 1
        for answer, tokens in added:
            assert answer.slot is not None
            answer.slot.tokens += tokens
            self._heard(answer)

    def _decode(self) -> None:
        """Promises should leave no step without cells; where one is all the same, what is kept goes first."""
        if self._cells.decode() == 0:
            return
        for slot in self._slots.surplus(all_of_them=True):
            self._cells.forget(slot.number)
        if self._cells.decode() != 0:
            raise ModelFailed(FULL)

    def _refuse(self) -> None:
        """Nobody is written and yet the first cannot be: it needs more cells than there are."""
        with self._news:
            answer = self._waiting.pop(0) if self._waiting else None
        if answer is not None:
            self._end(answer, ModelFailed(FULL))

    def _next_tokens(self) -> list[tuple[Answer, list[int]]]:
        added = []
        for answer in self._running:
            if answer.last is not None:
                assert answer.slot is not None
                tokens = [answer.last]
                answer.row = self._cells.add(answer.slot.number, len(answer.slot.tokens), tokens, answered=True)
                added.append((answer, tokens))
        return added

    def _prompts(self) -> list[tuple[Answer, list[int]]]:
        reading = [each for each in self._running if each.left]
        writing = len(self._running) - len(reading)
        room = self._cells.batch - writing
        if writing:
            room = min(max(BESIDE, FOR_EACH * len(reading)), room)
        added = []
        for answer, size in shares(reading, room):
            assert answer.slot is not None
            first = len(answer.slot.tokens)
            tokens = list(answer.prompt[first : first + size])
            row = self._cells.add(answer.slot.number, first, tokens, answered=size == answer.left)
            answer.row = row if size == answer.left else -1
            self.counts.read += size
            added.append((answer, tokens))
        return added

    def _heard(self, answer: Answer) -> None:
        """What the step made of one answer."""
        if answer.row < 0:
            answer.pieces.put(Piece("", 0))
            return
        try:
            token = answer.sampler.next(self._cells, answer.row)
            self._say(answer, token)
        except Exception as error:  # of this one only: its grammar, its words
            log.exception("a token could not be chosen", extra={"kind": type(error).__name__})
            self._end(answer, error)

    def _say(self, answer: Answer, token: int) -> None:
        if token in answer.stops or self._vocabulary.ends(token):
            answer.pieces.put(Piece(answer.words.end(), answer.written, "stop"))
            self._end(answer)
            return
        answer.last = token
        answer.written += 1
        self.counts.written += 1
        text = answer.words.hear(self._vocabulary.bytes_of(token))
        finish = "stop" if answer.words.stopped else "length" if answer.written >= answer.most else None
        if finish is not None:
            text += answer.words.end()
        answer.pieces.put(Piece(text, answer.written, finish))
        if finish is not None:
            self._end(answer)

    def _end(self, answer: Answer, error: Exception | None = None) -> None:
        """What stood in its cells is kept for the next turn of the conversation."""
        if answer in self._running:
            self._running.remove(answer)
        if answer.slot is not None:
            answer.slot.promised = 0
            if error is None and self._vocabulary.shares:
                self._cells.put_aside(answer.slot.number)
        answer.sampler.close()
        if error is not None:
            answer.pieces.put(error if isinstance(error, ProductError | MemoryError) else RuntimeError(str(error)))


def shares(reading: Sequence[Answer], room: int) -> list[tuple[Answer, int]]:
    """Whose prompt is read how far in one step of `room` tokens.

    The one with the least left first, for that shortens the wait of most; a part is always the oldest's.
    """
    if not reading:
        return []
    oldest = reading[0]
    given = {oldest: min(oldest.left, max(1, room // OLDEST_SHARE))}
    room -= given[oldest]
    for answer in sorted(reading, key=lambda each: each.left):
        more = min(answer.left - given.get(answer, 0), room)
        if more > 0:
            given[answer] = given.get(answer, 0) + more
            room -= more
    return list(given.items())
