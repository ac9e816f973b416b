"""Names of calls do not change: generated clients are written against them."""

from __future__ import annotations

from pathlib import Path

from services.api_gateway.app import create_app

KEPT = Path(__file__).with_name("operation_ids.txt")


def named() -> list[str]:
    return sorted(
        f"{operation['operationId']} {method.upper()} {path}"
        for path, operations in create_app().openapi()["paths"].items()
        for method, operation in operations.items()
    )


def test_every_call_has_the_name_that_was_promised() -> None:
    """A line that is missing breaks clients. A new call adds a line: put it into operation_ids.txt."""
    assert named() == KEPT.read_text().splitlines()


def test_no_name_stands_for_two_calls() -> None:
    names = [line.split()[0] for line in named()]
    assert len(names) == len(set(names))
