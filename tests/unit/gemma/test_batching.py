"""Many answers from one context: with a context that computes each next token from all that stands in the sequence, so
that a cell too many, too few or in the wrong place changes the answer."""

from __future__ import annotations

import random
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.gemma.engines import Piece
from services.gemma.engines.batching import BESIDE, FOR_EACH, Answer, Batcher, shares
from services.gemma.engines.slots import Slot
from services.gemma.engines.stops import Words
from shared.errors import ModelFailed, ModelLost

END = 96
VOCABULARY = 97


def follows(tokens: Sequence[int]) -> int:
    return zlib.crc32(bytes(tokens)) % VOCABULARY


class ToyCells:
    """Sequences with their tokens by position, as a real context has them; refuses what a real one refuses."""

    def __init__(self, cells: int, batch: int = 64) -> None:
        self.cells, self.batch = cells, batch
        self.sequences: dict[int, list[int]] = {}
        self.rows: list[tuple[int, int, int, bool]] = []
        self.steps: list[list[tuple[int, int, int, bool]]] = []
        self.next: dict[int, int] = {}
        self.broken = self.full = self.cramped = 0
        self.aside: dict[int, list[int]] = {}
        self.gate: Callable[[], None] = lambda: None

    def clear_batch(self) -> None:
        self.rows = []

    def add(self, sequence: int, first: int, tokens: Sequence[int], *, answered: bool) -> int:
        for at, token in enumerate(tokens):
            last = at == len(tokens) - 1
            self.rows.append((sequence, first + at, token, answered and last))
        return len(self.rows) - 1

    def decode(self) -> int:
        self.gate()
        if self.broken:
            self.broken -= 1
            raise RuntimeError("broken")
        if self.full:
            self.full -= 1
            return 1
        assert 0 < len(self.rows) <= self.batch
        self.next = {}
        for row, (sequence, at, token, answered) in enumerate(self.rows):
            held = self.sequences.setdefault(sequence, [])
            assert len(held) == at, "positions follow one another"
            held.append(token)
            if answered:
                self.next[row] = follows(held)
        assert sum(len(each) for each in self.sequences.values()) <= self.cells
        self.steps.append(self.rows)
        return 0

    def forget(self, sequence: int) -> None:
        self.aside.pop(sequence, None)
        self.sequences.pop(sequence, None)

    def put_aside(self, sequence: int) -> None:
        if sequence % 4:  # there is no room for the others
            self.aside[sequence] = self.sequences.pop(sequence, [])

    def take_over(self, giver: int, taker: int, size: int) -> bool:
        held = self.aside.get(giver)
        if held is not None and self.cramped:
            self.cramped -= 1
            self.forget(taker)
            return False
        held = self.sequences[giver] if held is None else held
        assert len(held) >= size
        self.aside.pop(taker, None)
        self.sequences[taker] = held[:size]
        return True

    def clear(self) -> None:
        self.sequences, self.aside = {}, {}


class ToyWords:
    shares = True

    def bytes_of(self, token: int) -> bytes:
        return b"%d " % token

    def ends(self, token: int) -> bool:
        return token == END


class ToySampler:
    closed = 0

    def next(self, context: ToyCells, row: int) -> int:
        return context.next[row]

    def close(self) -> None:
        self.closed += 1


def asked(prompt: Sequence[int], most: int = 20, stops: Sequence[str] = ()) -> Answer:
    return Answer(list(prompt), ToySampler(), Words(stops), most)


def alone(prompt: Sequence[int], most: int) -> tuple[str, int, str]:
    """Text, tokens and reason to end, without any of what is tested."""
    tokens, said = list(prompt), list[int]()
    while len(said) < most:
        token = follows(tokens)
        if token == END:
            return "".join(f"{each} " for each in said), len(said), "stop"
        said.append(token)
        tokens.append(token)
    return "".join(f"{each} " for each in said), len(said), "length"


def read(pieces: Iterator[Piece]) -> tuple[str, int, str | None]:
    told = list(pieces)
    return "".join(each.text for each in told), told[-1].written, told[-1].finish


@pytest.fixture
def toy() -> Iterator[Callable[..., tuple[Batcher, ToyCells]]]:
    made: list[Batcher] = []

    def make(cells: int = 1000, parallel: int = 4, slots: int = 8, batch: int = 64) -> tuple[Batcher, ToyCells]:
        context = ToyCells(cells, batch)
        made.append(Batcher(context, ToyWords(), parallel=parallel, slots=slots))
        return made[-1], context

    yield make
    for each in made:
        each.close()


Make = Callable[..., tuple[Batcher, ToyCells]]


@pytest.mark.parametrize("seed", range(6))
def test_each_answer_is_what_it_would_be_alone(toy: Make, seed: int) -> None:
    """Conversations of any length that share beginnings, begin at any time, are cut off and go on, in few cells."""
    dice = random.Random(seed)
    batcher, context = toy(cells=dice.choice([160, 300, 900]), parallel=dice.randint(1, 5), slots=dice.randint(5, 9))
    system = [dice.randrange(90) for _ in range(12)]

    def converse(number: int) -> None:
        mine = random.Random(seed * 100 + number)
        history = system + [number] * mine.randint(0, 20)
        for _ in range(5):
            prompt = history + [mine.randrange(90) for _ in range(mine.randint(1, 25))]
            most = mine.randint(1, 12)
            if len(prompt) + most > 140:
                return
            answer = asked(prompt, most)
            if mine.random() < 0.3:
                pieces = batcher.write(answer)
                next(pieces)
                pieces.close()
                continue
            text, written, finish = read(batcher.write(answer))
            assert (text, written, finish) == alone(prompt, most)
            history = prompt + [int(each) for each in text.split()]

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(converse, number) for number in range(8)]:
            done.result(60)
    assert context.steps


def test_a_conversation_reads_only_what_is_new(toy: Make) -> None:
    """Also where two of them alternate."""
    batcher, _ = toy()
    one, two = [1] * 80, [2] * 80
    for n in range(4):
        for each in (one, two):
            before, answer = batcher.counts.read, asked(each, 6)
            text, _, _ = read(batcher.write(answer))
            new = batcher.counts.read - before
            assert new == len(each) - answer.reused and (n == 0 or new <= 6), (n, new)
            each += [*(int(token) for token in text.split()), 5, 6, 7]


@pytest.mark.parametrize("follower", [[1] * 60 + [3], [1] * 20 + [3] * 10])
def test_what_cannot_be_brought_back_is_read_again(toy: Make, follower: list[int]) -> None:
    """In the place of the first, and beside it."""
    batcher, context = toy()
    read(batcher.write(asked([2] * 50, 3)))  # the first slot is not put aside
    read(batcher.write(asked([1] * 60, 1)))
    assert context.aside
    context.cramped = 1
    answer = asked(follower, 9)
    assert read(batcher.write(answer)) == alone(follower, 9)
    assert answer.reused == 0 and not context.cramped
    again = asked([*follower, 5], 9)
    assert read(batcher.write(again)) == alone([*follower, 5], 9)
    assert again.reused == len(follower)


def test_a_long_prompt_stalls_nobody(toy: Make) -> None:
    batcher, context = toy(cells=3000, batch=256)
    hold, go_on = threading.Event(), threading.Event()
    steps: list[list[tuple[int, int, int, bool]]] = context.steps

    def gate() -> None:
        hold.set()
        assert go_on.wait(30)

    context.gate = gate
    prompt = next([n] for n in range(90) if alone([n], 60)[1] == 60)
    with ThreadPoolExecutor(2) as threads:
        short = threads.submit(lambda: read(batcher.write(asked(prompt, 60))))
        assert hold.wait(30)
        long = threads.submit(lambda: read(batcher.write(asked([7] * 1500, 3))))
        while not batcher._waiting:  # it came while the first was being written
            threading.Event().wait(0.001)
        context.gate = lambda: None
        go_on.set()
        short.result(30), long.result(30)
    beside = [step for step in steps if len({row[0] for row in step}) == 2]
    assert len(beside) > 20
    assert all(len(step) <= BESIDE + 1 for step in beside), "the one that writes waits for no more than a part"
    assert sum(any(row[3] for row in step) for step in beside) == len(beside), "and gets a token in each step"


def test_where_many_wait_for_their_first_token_more_is_read_at_once(toy: Make) -> None:
    batcher, context = toy(cells=3000, parallel=6, batch=256)
    begun, waiting = threading.Event(), threading.Event()

    def gate() -> None:  # nothing is computed before all have come
        begun.set()
        assert waiting.wait(30)

    context.gate = gate
    prompt = next([n] for n in range(90) if alone([n], 60)[1] == 60)
    with ThreadPoolExecutor(6) as threads:
        writer = threads.submit(lambda: read(batcher.write(asked(prompt, 60))))
        assert begun.wait(30)
        readers = [threads.submit(lambda n=n: read(batcher.write(asked([n] * 400, 3)))) for n in range(5)]
        while len(batcher._waiting) < 5:
            threading.Event().wait(0.001)
        waiting.set()
        assert writer.result(30) == alone(prompt, 60)
        assert [each.result(30) for each in readers] == [alone([n] * 400, 3) for n in range(5)]
    full = context.steps[1]  # the first had only the writer's prompt
    assert BESIDE < len(full) == 1 + 5 * FOR_EACH, "a part for each that waits"
    assert all(len(step) <= context.batch for step in context.steps)


def test_it_leaves_at_once_and_its_place_is_free(toy: Make) -> None:
    batcher, _ = toy(parallel=1)
    for _ in range(5):
        answer = asked([3] * 40, 500)
        pieces = batcher.write(answer)
        next(pieces)
        pieces.close()
    follower = asked([3] * 40 + [4], 5)
    assert read(batcher.write(follower)) == alone([3] * 40 + [4], 5)
    assert isinstance(answer.sampler, ToySampler) and answer.sampler.closed == 1 and not batcher._running


def test_who_needs_more_cells_than_are_free_waits_and_nobody_passes(toy: Make) -> None:
    batcher, _ = toy(cells=100, parallel=4)
    prompts = [[n] * 30 for n in range(10)]
    with ThreadPoolExecutor(10) as threads:
        done = [threads.submit(lambda p=p: read(batcher.write(asked(p, 30)))) for p in prompts]
        assert [each.result(30) for each in done] == [alone(p, 30) for p in prompts]
    with pytest.raises(ModelFailed, match="no room"):
        read(batcher.write(asked([1] * 90, 30)))
    assert read(batcher.write(asked([1] * 30, 30))) == alone([1] * 30, 30)


def test_without_cells_what_is_kept_goes_and_then_all_fail_clearly(toy: Make) -> None:
    batcher, context = toy()
    read(batcher.write(asked([1] * 30, 3)))
    context.full = 1
    assert read(batcher.write(asked([2] * 30, 3))) == alone([2] * 30, 3)
    context.full = 2
    with pytest.raises(ModelFailed, match="no room"):
        read(batcher.write(asked([3] * 30, 3)))
    assert read(batcher.write(asked([4] * 30, 3))) == alone([4] * 30, 3)


def test_after_a_broken_step_nothing_old_is_relied_on(toy: Make) -> None:
    batcher, context = toy()
    read(batcher.write(asked([1] * 30, 3)))
    context.broken = 1
    with pytest.raises(RuntimeError, match="broken"):
        read(batcher.write(asked([1] * 30 + [2], 3)))
    answer = asked([1] * 30 + [2], 3)
    assert read(batcher.write(answer)) == alone([1] * 30 + [2], 3) and answer.reused == 0


def test_closed_it_ends_who_is_written_and_who_waits(toy: Make) -> None:
    batcher, context = toy(parallel=1)
    begun = threading.Event()

    def gate() -> None:  # the step under way ends only after somebody asked to close
        begun.set()
        while not batcher._closed:
            threading.Event().wait(0.001)

    context.gate = gate
    answers = [asked([1] * 100, 900) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(read, batcher.write(each)) for each in answers]
        assert begun.wait(30)
        batcher.close()
        for each in done:
            with pytest.raises(ModelLost):
                each.result(30)
    late = asked([1], 1)
    with pytest.raises(ModelLost):
        next(batcher.write(late))
    assert [getattr(each.sampler, "closed", 0) for each in (*answers, late)] == [1, 1, 1]


def test_a_stop_string_ends_it(toy: Make) -> None:
    batcher, _ = toy()
    prompt = next([n] for n in range(90) if alone([n], 30)[1] == 30)
    words = alone(prompt, 30)[0].split()
    text, written, finish = read(batcher.write(asked(prompt, 30, [f"{words[9]} {words[10]}"])))
    assert finish == "stop" and text == "".join(f"{each} " for each in words[:9]) and written == 11


def test_the_shortest_is_read_first_and_the_oldest_always() -> None:
    reading = [Answer([1] * size, ToySampler(), Words(), 1, slot=Slot(n)) for n, size in enumerate((500, 100, 10))]
    given = dict(shares(reading, 64))
    assert [given.get(each) for each in reading] == [16, 38, 10]
    assert shares([], 64) == [] and [size for _, size in shares(reading[2:], 64)] == [10]
    assert sum(size for _, size in shares(reading, 1)) == 1
