#!/usr/bin/env python3
"""Whether search finds the passage that answers: hybrid beside vectors alone and full text alone, in one real vault.

    python scripts/bench/retrieval.py --texts ../shared/data/goemotions/ekman-train.tsv [--distractors 5000] [--parts]

The questions and what answers them are in scripts/bench/questions (source.txt, made into two files by make.py):
scripted conversations, stored as the transcripts of recordings with the neutral title that a recording has before
anybody names it, and notes. `--texts`: memories that answer nothing, one a line, its first column. The weights of
services/rag/fusion were tuned on the half of the conversations named "tuning"; the figures that count are those of the
half held out.

A hit is the passage that holds the turn with the answer. "Evidence" is the share of questions of which one of the five
best passages, of the right conversation, contains the very words of the answer. "Not answered" is what chat says where
none of its passages can hold what is asked for. `--parts` also measures fusion with each of its parts taken out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from figures import ROOT, Figure, p, tell

from services.gemma import asked as asking
from services.gemma import evidence
from services.gemma.settings import Settings as ChatSettings
from services.rag import repository
from services.rag import search as hybrid_search
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.fusion import WEIGHTS, Weights
from services.rag.repository import Chunk
from services.rag.service import Library
from services.rag.settings import Settings
from services.rag.vaults import Vault, Vaults
from shared.schemas.ids import new_id
from shared.schemas.rag import Memory, SearchHit, SearchRequest
from shared.schemas.transcription import Segment, Speaker, Transcript
from shared.storage.keyring import MemoryKeyring
from shared.storage.sqlcipher import transaction

USER = "usr_bench"
QUESTIONS = ROOT / "scripts" / "bench" / "questions"
MODES = ("vector", "text", "hybrid")
WORDS_PER_S = 2.5
TOP = 10
PARTS = {
    "meaning and words only, no context": replace(WEIGHTS, inherited=0, around=(0, 0, 0), recording=0, asking=0),
    "context, no words": replace(WEIGHTS, words=0),
    "no inheriting": replace(WEIGHTS, inherited=0),
    "nothing lent around": replace(WEIGHTS, around=(0, 0, 0)),
    "nothing for the recording": replace(WEIGHTS, recording=0),
    "questions as good as answers": replace(WEIGHTS, asking=0),
    "no speaker's name": replace(WEIGHTS, named=0),
}


@dataclass(frozen=True)
class Asked:
    """One question in one mode: the rank of the turn that answers (0: not among the best), and what else was seen."""

    question: dict[str, Any]
    rank: int
    has_evidence: bool
    cosine: float
    """The highest among the hits."""
    refused: bool = False
    """Chat says that nothing answers it, and shows what is nearest."""
    is_held: bool = False
    """The answer is among the passages that chat looks at."""
    is_quoted: bool = False
    """And among the sentences that it quotes."""


@dataclass(frozen=True)
class Kept:
    """Where a conversation or a note is in the vault."""

    transcript: Transcript | None
    memory_id: str | None

    def holds(self, hit: SearchHit, turn: int) -> bool:
        found = hit.metadata
        if self.transcript is None:
            return found.memory_id == self.memory_id
        if found.transcript_id != self.transcript.transcript_id or found.start_s is None or found.end_s is None:
            return False
        return found.start_s <= self.transcript.segments[turn].start_s < found.end_s

    def is_source(self, hit: SearchHit) -> bool:
        if self.transcript is None:
            return hit.metadata.memory_id == self.memory_id
        return hit.metadata.transcript_id == self.transcript.transcript_id


def transcript_of(conversation: dict[str, Any], number: int) -> Transcript:
    turns = conversation["turns"]
    names = list(dict.fromkeys(turn["speaker"] for turn in turns))
    labels = {name: f"SPEAKER_{at:02d}" for at, name in enumerate(names)}
    return Transcript(
        transcript_id=new_id("rec"),
        status="completed",
        title=f"Recording {number}",
        text=" ".join(turn["text"] for turn in turns),
        created_at=datetime.fromisoformat(f"{conversation['day']}T12:00:00+00:00"),
        speakers=[Speaker(label=label, name=name) for name, label in labels.items()],
        segments=list(_segments(turns, labels)),
    )


def _segments(turns: Sequence[dict[str, str]], labels: dict[str, str]) -> Iterator[Segment]:
    at_s = 0.0
    for number, turn in enumerate(turns, 1):
        length_s = len(turn["text"].split()) / WORDS_PER_S
        yield Segment(
            segment_id=f"seg_{number:05d}",
            start_s=round(at_s, 2),
            end_s=round(at_s + length_s, 2),
            speaker=labels[turn["speaker"]],
            text=turn["text"],
            confidence=0.9,
        )
        at_s += length_s + 0.4


def add_notes(vault: Vault, memories: Sequence[Memory], vectors: Any) -> None:
    """One transaction: filling is not what is measured."""
    with transaction(vault.db):
        for memory, vector in zip(memories, vectors, strict=True):
            repository.insert_memory(vault, memory, [Chunk(memory.content)], vector[None, :])
    vault.forget_index()


def note(text: str, day: str = "2026-01-01") -> Memory:
    at = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    moments = dict.fromkeys(("occurred_at", "created_at", "updated_at"), at)
    return Memory.model_validate({"memory_id": new_id("mem"), "content": text, "memory_type": "note"} | moments)


async def fill(library: Library, conversations: Sequence[dict[str, Any]], distractors: list[str]) -> dict[str, Kept]:
    memories = [note(text) for text in distractors]
    kept: dict[str, Kept] = {}
    for number, conversation in enumerate(conversations, 1):
        if conversation["is_note"]:
            memory = note(conversation["turns"][0]["text"], conversation["day"])
            memories.append(memory)
            kept[conversation["conversation"]] = Kept(None, memory.memory_id)
        else:
            transcript = await library.put_transcript(USER, transcript_of(conversation, number))
            kept[conversation["conversation"]] = Kept(transcript, None)
    vectors = await library.embed([memory.content for memory in memories])
    await library.run(USER, lambda vault: add_notes(vault, memories, vectors))
    return kept


def judged(question: dict[str, Any], kept: Kept, hits: Sequence[SearchHit]) -> Asked:
    cosine = max((hit.metadata.similarity or 0.0 for hit in hits), default=0.0)
    seen = hits[: ChatSettings.model_fields["top_k"].default]
    quotes = evidence.choose(question["question"], seen)
    refused = not quotes or not asking.holds(question["question"], seen)
    if question["answer"] is None:
        return Asked(question, 0, False, cosine, refused)
    ranks = (at for at, hit in enumerate(hits, 1) if kept.holds(hit, question["turn"]))
    has_evidence = any(question["answer"] in hit.content and kept.is_source(hit) for hit in hits[:5])
    held = any(question["answer"] in hit.content and kept.is_source(hit) for hit in seen)
    quoted = any(question["answer"] in quote.text and kept.is_source(quote.hit) for quote in quotes)
    return Asked(question, next(ranks, 0), has_evidence, cosine, refused, held, quoted)


def scores(asked: Sequence[Asked]) -> tuple[float, float, float, float]:
    """hit@1, hit@5, mean reciprocal rank, evidence."""
    ranks = [each.rank for each in asked]
    count = len(asked)
    return (
        sum(rank == 1 for rank in ranks) / count,
        sum(0 < rank <= 5 for rank in ranks) / count,
        sum(1 / rank for rank in ranks if rank) / count,
        sum(each.has_evidence for each in asked) / count,
    )


def told(asked: Sequence[Asked]) -> str:
    return "hit@1 {:.3f}, hit@5 {:.3f}, MRR {:.3f}, evidence {:.3f}".format(*scores(asked))


def of_half(asked: Sequence[Asked], half: str) -> list[Asked]:
    return [each for each in asked if each.question["half"] == half and each.question["answer"] is not None]


def by_kind(asked: Sequence[Asked], value: Callable[[Sequence[Asked]], float]) -> str:
    kinds: defaultdict[str, list[Asked]] = defaultdict(list)
    for each in asked:
        kinds["note" if each.question["conversation"].startswith("note-") else each.question["kind"]].append(each)
    return ", ".join(f"{kind} {value(some):.2f} of {len(some)}" for kind, some in sorted(kinds.items()))


def told_apart(asked: Sequence[Asked]) -> float:
    """Chance that an answerable question's best cosine is above an unanswerable one's (area under the ROC curve)."""
    held = [each for each in asked if each.question["half"] == "held out"]
    yes = [each.cosine for each in held if each.question["answer"] is not None]
    no = [each.cosine for each in held if each.question["answer"] is None]
    return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))


def answered(asked: Sequence[Asked]) -> list[Figure]:
    """What chat makes of what search found."""
    halves = {half: [each for each in asked if each.question["half"] == half] for half in ("held out", "tuning")}
    none = {half: [each for each in some if each.question["answer"] is None] for half, some in halves.items()}
    some = {half: of_half(asked, half) for half in halves}
    held, tuning = some["held out"], some["tuning"]
    wrongly = [each for each in held if each.refused]
    kinds = by_kind(held, lambda some: share(some, lambda each: each.refused))
    return [
        Figure(
            f"chat, {len(none['held out'])} unanswerable questions held out: share told as not answered",
            round(share(none["held out"], lambda each: each.refused), 3),
            "",
            f"on the {len(none['tuning'])} for tuning {share(none['tuning'], lambda each: each.refused):.3f}",
        ),
        Figure(
            f"chat, {len(held)} answerable questions held out: share told as not answered",
            round(share(held, lambda each: each.refused), 3),
            "< 0.1",
            f"the nearest is shown all the same; on the {len(tuning)} for tuning"
            f" {share(tuning, lambda each: each.refused):.3f}; {kinds}; of these {len(wrongly)}"
            f" {sum(each.is_held for each in wrongly)} had the answer among the passages",
        ),
        Figure(
            f"chat, {len(held)} answerable questions held out: answer among the quotations",
            round(share(held, lambda each: each.is_quoted), 3),
            "",
            f"quoted as the answer {share(held, lambda each: each.is_quoted and not each.refused):.3f}; for tuning"
            f" {share(tuning, lambda each: each.is_quoted):.3f} and"
            f" {share(tuning, lambda each: each.is_quoted and not each.refused):.3f}",
        ),
    ]


def share(asked: Sequence[Asked], is_so: Callable[[Asked], bool]) -> float:
    return sum(map(is_so, asked)) / len(asked)


def figures_of(found: dict[str, list[Asked]], took: dict[str, list[float]]) -> list[Figure]:
    held = {mode: of_half(found[mode], "held out") for mode in MODES}
    tuning = {mode: of_half(found[mode], "tuning") for mode in MODES}
    told_figures = []
    for at, what in enumerate(("hit@1", "hit@5", "mean reciprocal rank", "answer contains evidence")):
        values = {mode: scores(held[mode])[at] for mode in MODES}
        others = f"vector {values['vector']:.3f}, text {values['text']:.3f}"
        best = max(values["vector"], values["text"])
        detail = "; ".join(
            f"{mode}: {by_kind(held[mode], lambda some, at=at: scores(some)[at])}" for mode in ("hybrid", "vector")
        )
        told_figures.append(
            Figure(
                f"retrieval, {len(held['hybrid'])} questions held out: {what}, hybrid",
                round(values["hybrid"], 3),
                f"> {best:.3f}, the better of vector and text",
                f"{others}; on the {len(tuning['hybrid'])} for tuning: "
                + ", ".join(f"{mode} {scores(tuning[mode])[at]:.3f}" for mode in MODES)
                + (f"; {detail}" if at in (1, 2) else ""),
            )
        )
    told_figures.append(
        Figure(
            "retrieval: unanswerable questions told from answerable by the best cosine, area under the ROC curve",
            round(told_apart(found["hybrid"]), 3),
            "",
            "held out; 0.5 is chance",
        )
    )
    told_figures += answered(found["hybrid"])
    ms = {mode: 1000 * p(times, 0.5) for mode, times in took.items()}
    told_figures.append(
        Figure(
            "retrieval: processor time of hybrid / of vector search, p50, the query's embedding apart",
            round(ms["hybrid"] / ms["vector"], 2),
            "",
            f"hybrid {ms['hybrid']:.1f} ms, vector {ms['vector']:.1f} ms, text {ms['text']:.1f} ms",
        )
    )
    return told_figures


def timed(vault: Vault, request: SearchRequest, vector: Any, weights: Weights) -> tuple[list[SearchHit], float]:
    """Seconds of the thread's processor time, which other work on the machine does not stretch."""
    began = time.thread_time()
    hits = hybrid_search.search(vault, request, vector, weights)
    return hits, time.thread_time() - began


async def ask(
    library: Library, questions: Sequence[dict[str, Any]], kept: dict[str, Kept], mode: str, weights: Weights
) -> tuple[list[Asked], list[float]]:
    found, took = [], []
    for question in questions:
        request = SearchRequest.model_validate({"query": question["question"], "top_k": TOP, "mode": mode})
        vector = None if mode == "text" else (await library.embed([request.query]))[0]
        hits, took_s = await library.run(USER, partial(timed, request=request, vector=vector, weights=weights))
        took.append(took_s)
        found.append(judged(question, kept[question["conversation"]], hits))
    return found, took


async def run(args: argparse.Namespace, folder: Path) -> list[Figure]:
    conversations, questions = (
        [json.loads(line) for line in (QUESTIONS / f"{name}.jsonl").read_text().splitlines()]
        for name in ("conversations", "questions")
    )
    lines = dict.fromkeys(line.split("\t")[0] for line in args.texts.read_text().splitlines())
    settings = Settings(data_dir=folder)
    embedder = OnnxMiniLM(settings)
    facts = embedder.capabilities
    vaults = Vaults(settings, MemoryKeyring(), model=facts.model, dimensions=facts.dimensions)
    library = Library(vaults, embedder, settings)
    kept = await fill(library, conversations, [line for line in lines if len(line) > 20][: args.distractors])
    await ask(library, questions[:3], kept, "hybrid", WEIGHTS)
    found, took = {}, {}
    for mode in MODES:
        found[mode], took[mode] = await ask(library, questions, kept, mode, WEIGHTS)
    told_figures = figures_of(found, took)
    for name, weights in PARTS.items() if args.parts else ():
        asked, _ = await ask(library, questions, kept, "hybrid", weights)
        detail = f"held out; tuning: {told(of_half(asked, 'tuning'))}"
        told_figures.append(Figure(f"retrieval, hybrid, {name}", told(of_half(asked, "held out")), "", detail))
    await vaults.close()
    return told_figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--distractors", type=int, default=5_000)
    parser.add_argument("--parts", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        tell(asyncio.run(run(args, Path(folder))))


if __name__ == "__main__":
    main()
