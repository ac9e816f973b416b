"""What every language engine has to keep, asked of each that is installed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from services.gemma.engines import BUILTIN, LanguageEngine, Piece, Sampling, Turn
from services.gemma.settings import Settings
from shared import engines

SAMPLING = Sampling(max_tokens=6, temperature=0.0)
TURNS = [Turn("system", "Be kind."), Turn("user", "Name one colour of the sea, and say why it is so.")]


@pytest.fixture(params=[name for name in BUILTIN if name in ("fake", "llama_cpp")])
def engine(request: pytest.FixtureRequest, models_dir: Path, tmp_path: Path) -> Iterator[LanguageEngine]:
    kind: type[LanguageEngine] = engines.load("language", BUILTIN, request.param)
    settings = Settings(models_dir=models_dir, data_dir=tmp_path, threads=1, threads_batch=1, parallel=2)
    reason = kind.missing(settings)
    if reason is not None:
        pytest.skip(reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fake one says that it is
        made = kind(settings)
    yield made
    made.close()


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_it_knows_itself_and_measures(engine: LanguageEngine) -> None:
    assert engine.capabilities.model and engine.capabilities.context_tokens >= 512
    assert 0 < engine.length(TURNS[:1]) < engine.length(TURNS)


def test_pieces_count_up_and_only_the_last_says_why_it_is_the_last(engine: LanguageEngine) -> None:
    pieces = list(engine.write(TURNS, SAMPLING))
    assert [piece.written for piece in pieces] == sorted(piece.written for piece in pieces)
    assert pieces[-1].written == 6 and pieces[-1].finish == "length"
    assert all(piece.finish is None for piece in pieces[:-1]) and text(pieces).strip()


def test_it_goes_on_after_what_there_is(engine: LanguageEngine) -> None:
    first = text(list(engine.write(TURNS, replace(SAMPLING, max_tokens=2))))
    rest = list(engine.write(TURNS, replace(SAMPLING, max_tokens=3), first))
    assert rest[-1].written == 3 and text(rest) and not text(rest).startswith(first)


def test_more_than_it_writes_at_once_are_all_written(engine: LanguageEngine) -> None:
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(lambda: list(engine.write(TURNS, SAMPLING))) for _ in range(5)]
        assert all(each.result(120)[-1].finish == "length" for each in asked)


def test_closed_it_stops_and_the_next_is_written(engine: LanguageEngine) -> None:
    pieces = engine.write(TURNS, replace(SAMPLING, max_tokens=400))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert list(engine.write(TURNS, SAMPLING))[-1].written == 6
