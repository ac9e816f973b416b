"""The questions that search is measured by are what they say they are."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parents[3] / "scripts" / "bench" / "questions"


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(HERE / "make.py"))


def test_the_files_are_made_of_the_source(tool: dict[str, Any]) -> None:
    made = tool["made"]((HERE / "source.txt").read_text(encoding="utf-8"))
    for name, content in made.items():
        assert (HERE / name).read_text(encoding="utf-8") == content, "run scripts/bench/questions/make.py"
    questions = [json.loads(line) for line in made["questions.jsonl"].splitlines()]
    assert len(questions) >= 200 and {each["kind"] for each in questions} == set(tool["KINDS"])
    halves = {
        half: {each["conversation"] for each in questions if each["half"] == half} for half in ("tuning", "held out")
    }
    assert not halves["tuning"] & halves["held out"] and all(halves.values())


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        ("? number: How much? => nine", "stands in 8 turns"),
        ("? number: How much? => eleven", "stands in 0 turns"),
        ("? paraphrase: What does the first one say? => first", "in common: ['first'"),
        ("? guess: What? => first", "kind guess"),
        ("? unanswerable: What? => first", "kind unanswerable"),
        ("? number: What?", "kind number"),
    ],
)
def test_a_question_that_is_not_what_it_says_is_refused(tool: dict[str, Any], question: str, fault: str) -> None:
    source = "## talk | 2026-01-01\nA: the first nine\n" + "A: nine\n" * 7 + question
    with pytest.raises(SystemExit) as refused:
        tool["made"](source)
    assert fault in str(refused.value)


def test_a_conversation_of_one_turn_is_refused_and_a_note_is_not(tool: dict[str, Any]) -> None:
    with pytest.raises(SystemExit):
        tool["made"]("## talk | 2026-01-01\nA: hello")
    assert '"is_note": true' in tool["made"]("!! note | 2026-01-01\nhello: you")["conversations.jsonl"]
