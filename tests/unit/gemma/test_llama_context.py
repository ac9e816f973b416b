"""What was put aside of a real context is the same when it comes back, and says so where it cannot.

The cells are in the order of the tokens in all of these: in another order attention adds up in another one, and the
logits differ in the second digit, put aside or not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from services.gemma.settings import Settings

if TYPE_CHECKING:
    from services.gemma.engines.llama_context import Context

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="the language runtime is not built (`nemo up` builds it)"
)
TOKENS = [500 + 7 * n for n in range(40)]


@pytest.fixture
def context(models_dir: Path) -> Iterator[Context]:
    from services.gemma.engines.llama_context import Context, Weights

    weights = Weights(models_dir / Settings().llm_model, 0)
    made = Context(weights, cells=256, sequences=4, batch=256, threads=1, threads_batch=1)
    yield made
    made.close()
    weights.close()


def after(context: Context, sequence: int, first: int, tokens: Sequence[int]) -> NDArray[np.float32]:
    context.clear_batch()
    row = context.add(sequence, first, tokens, answered=True)
    assert context.decode() == 0
    return context.logits(row).copy()


@pytest.mark.parametrize("taker", [0, 1])
def test_it_goes_on_as_if_it_had_never_been_away(context: Context, taker: int) -> None:
    whole = after(context, 2, 0, TOKENS)
    after(context, 0, 0, [*TOKENS[:30], 9, 9, 9])
    context.put_aside(0)
    after(context, 3, 0, [1] * 50)  # its cells are another's meanwhile
    assert context.take_over(0, taker, 30)
    assert np.allclose(after(context, taker, 30, TOKENS[30:]), whole, atol=0.05)


def test_it_is_given_as_often_as_somebody_asks(context: Context) -> None:
    whole = after(context, 2, 0, TOKENS)
    after(context, 0, 0, TOKENS)
    context.put_aside(0)
    for taker, size in ((1, 30), (3, 20)):
        assert context.take_over(0, taker, size)
        assert np.allclose(after(context, taker, size, TOKENS[size:]), whole, atol=0.05)


def test_without_room_nothing_of_it_is_left(context: Context) -> None:
    whole = after(context, 0, 0, TOKENS)
    after(context, 1, 0, [1] * 200)
    context.put_aside(1)
    after(context, 2, 0, [1] * 200)
    assert not context.take_over(1, 0, 100)
    assert np.allclose(after(context, 0, 0, TOKENS), whole, atol=0.05), "from its beginning"


def test_what_is_too_much_stays_in_the_cells(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.gemma.engines import llama_context

    monkeypatch.setattr(llama_context, "ASIDE_BYTES", 1000)
    whole = after(context, 0, 0, TOKENS)
    context.put_aside(0)
    assert not context._aside and context.take_over(0, 1, 30)
    assert np.allclose(after(context, 1, 30, TOKENS[30:]), whole, atol=0.05)
