#!/usr/bin/env python3
"""Makes conversations.jsonl and questions.jsonl of source.txt, and checks what it says about itself.

    python scripts/bench/questions/make.py

An answer must stand in exactly one turn of its conversation; a question of the kind `paraphrase` must have no word in
common with that turn, by the stems that full text compares (words of grammar aside). Half of the conversations, by a
hash of their names, are for tuning; the others are held out. Notes are conversations of one turn.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KINDS = ("keyword", "paraphrase", "who", "when", "number", "name", "updated", "unanswerable")
GRAMMAR = frozenset(
    """
    a about all am an and any are as at be because been but by can could did do does for from had has have he her him
    his how i if in into is it its me must my no nobody not of off on one or our out over own she should so some than
    that the their them then there they this those to up was we were what when where which who whom whose why will
    with would you your
    """.split()  # noqa: SIM905 - one word a line would be a hundred lines
)


@dataclass
class Conversation:
    """Or a note, which is one turn by nobody."""

    name: str
    day: str
    is_note: bool = False
    turns: list[tuple[str, str]] = field(default_factory=list)
    questions: list[dict[str, Any]] = field(default_factory=list)


def read(lines: Iterable[str]) -> list[Conversation]:
    found: list[Conversation] = []
    for line in map(str.strip, lines):
        if line.startswith(("## ", "!! ")):
            name, day = line[3:].split(" | ")
            found.append(Conversation(name, day, is_note=line.startswith("!!")))
        elif line.startswith("? "):
            kind, _, rest = line[2:].partition(": ")
            question, _, answer = rest.partition(" => ")
            found[-1].questions.append({"kind": kind, "question": question, "answer": answer or None})
        elif line and not line.startswith("#"):
            speaker, _, text = ("", "", line) if found[-1].is_note else line.partition(": ")
            found[-1].turns.append((speaker, text))
    return found


def stems(text: str) -> set[str]:
    """As SQLite's tokenizer `porter unicode61` makes them."""
    with sqlite3.connect(":memory:") as db:
        db.execute("CREATE VIRTUAL TABLE t USING fts5 (x, tokenize='porter unicode61 remove_diacritics 2')")
        db.execute("CREATE VIRTUAL TABLE v USING fts5vocab (t, row)")
        words = [word for word in re.findall(r"\w+", text.lower()) if word not in GRAMMAR]
        db.execute("INSERT INTO t VALUES (?)", (" ".join(words),))
        return {row[0] for row in db.execute("SELECT term FROM v")}


def checked(conversation: Conversation) -> list[str]:
    """What is wrong with it."""
    wrong = []
    if not 8 <= len(conversation.turns) <= 30 and (len(conversation.turns) != 1 or not conversation.is_note):
        wrong.append(f"{conversation.name}: {len(conversation.turns)} turns")
    for asked in conversation.questions:
        where = f"{conversation.name}: {asked['question']}"
        if asked["kind"] not in KINDS or (asked["answer"] is None) != (asked["kind"] == "unanswerable"):
            wrong.append(f"{where} - kind {asked['kind']}, answer {asked['answer']}")
        if asked["answer"] is None:
            continue
        at = [turn for turn, (_, text) in enumerate(conversation.turns) if asked["answer"] in text]
        if len(at) != 1:
            wrong.append(f"{where} - the answer stands in {len(at)} turns")
            continue
        asked["turn"] = at[0]
        if asked["kind"] == "paraphrase" and (both := stems(asked["question"]) & stems(conversation.turns[at[0]][1])):
            wrong.append(f"{where} - in common: {sorted(both)}")
    return wrong


def halves(conversations: list[Conversation]) -> dict[str, str]:
    names = sorted((each.name for each in conversations), key=lambda name: hashlib.sha256(name.encode()).digest())
    return {name: "tuning" if at < len(names) / 2 else "held out" for at, name in enumerate(names)}


def lines(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def made(source: str) -> dict[str, str]:
    """What stands in each file. Raises SystemExit where the source is not what it says."""
    conversations = read(source.splitlines())
    if wrong := [each for conversation in conversations for each in checked(conversation)]:
        raise SystemExit("\n".join(wrong))
    half = halves(conversations)
    told = (
        {
            "conversation": each.name,
            "half": half[each.name],
            "day": each.day,
            "is_note": each.is_note,
            "turns": [{"speaker": speaker, "text": text} for speaker, text in each.turns],
        }
        for each in conversations
    )
    asked = (
        {"conversation": each.name, "half": half[each.name], **question}
        for each in conversations
        for question in each.questions
    )
    return {"conversations.jsonl": lines(told), "questions.jsonl": lines(asked)}


def main() -> None:
    for name, content in made((HERE / "source.txt").read_text(encoding="utf-8")).items():
        (HERE / name).write_text(content, encoding="utf-8")
        print(f"{name}: {content.count(chr(10))}")


if __name__ == "__main__":
    main()
