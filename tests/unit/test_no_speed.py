"""No test asserts how long something took on the wall's clock: it would judge the machine (docs/adr/0032)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

CLOCKS = {"monotonic", "perf_counter", "time"}


def judged(source: str) -> Iterator[int]:
    """Lines with `assert <clock>() - began < most`."""
    for found in (
        node for each in ast.walk(ast.parse(source)) if isinstance(each, ast.Assert) for node in ast.walk(each)
    ):
        if isinstance(found, ast.Compare) and isinstance(found.left, ast.BinOp) and isinstance(found.left.op, ast.Sub):
            called = found.left.left.func if isinstance(found.left.left, ast.Call) else None
            if (
                isinstance(called, ast.Attribute)
                and called.attr in CLOCKS
                and isinstance(found.ops[0], ast.Lt | ast.LtE)
            ):
                yield found.lineno


def test_no_test_is_about_the_speed_of_the_machine() -> None:
    found = {str(path.relative_to(ROOT)): list(judged(path.read_text())) for path in (ROOT / "tests").rglob("*.py")}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("assert time.monotonic() - began < 5", [1]),
        ("assert x and time.perf_counter() - began <= 5", [1]),
        ("assert time.monotonic() < deadline", []),
        ("assert time.monotonic() - began > 0.1", []),
        ("assert time.process_time() - began < 20", []),
    ],
)
def test_it_sees_what_it_should(source: str, lines: list[int]) -> None:
    assert list(judged(source)) == lines
