#!/usr/bin/env python3
"""The evidence check: precision and recall of its verdicts on constructed sentences (`evidence.txt`, beside this).

    python scripts/bench/evidence.py [--half tuning] [--show]

Forty passages with verbatim, reworded, contradicted and unsupported sentences, and true ones with something made up.
Every second passage is held out: thresholds were chosen on the others. `--show` prints what was judged wrongly.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from figures import ROOT, Figure, tell

from services.gemma.verdicts import Finding, Source, judge
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.settings import Settings

SET = Path(__file__).with_suffix(".txt")
VERDICTS = ("supported", "contradicted", "unsupported")
WANTED = {"v": "supported", "p": "supported", "u": "unsupported", "x": "unsupported"}
"""The others are contradicted."""
KINDS = {
    "v": "verbatim", "p": "reworded", "u": "not said", "x": "something made up beside what was said",
    "n": "another number", "e": "another name", "d": "another time or day", "o": "denied", "a": "opposite",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A sentence and the passage that it is held against."""

    kind: str
    sentence: str
    source: Source
    held_out: bool

    @property
    def wanted(self) -> str:
        return WANTED.get(self.kind, "contradicted")


def pairs() -> Iterator[Pair]:
    count, source = 0, Source("")
    for line in SET.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        if kind == ">":
            count += 1
            speaker, title, text = (part.strip() for part in rest.split("|"))
            source = Source(text, f"{speaker} {title}")
        elif kind and kind != "#":
            yield Pair(kind, rest, source, count % 2 == 0)


def judged(some: list[Pair], embedder: OnnxMiniLM | None) -> list[Finding]:
    if embedder is None:
        return [judge(each.sentence, each.source.units) for each in some]
    texts = list({text for each in some for text in (each.sentence, *(unit.said.text for unit in each.source.units))})
    vectors = dict(zip(texts, embedder.embed(texts), strict=True))
    found = []
    for each in some:
        cosines = [float(vectors[each.sentence] @ vectors[unit.said.text]) for unit in each.source.units]
        found.append(judge(each.sentence, each.source.units, cosines))
    return found


def figures(some: list[Pair], found: list[Finding], name: str, goal: str) -> Iterator[Figure]:
    table = Counter((pair.wanted, each.verdict) for pair, each in zip(some, found, strict=True))
    for verdict in VERDICTS:
        right = table[verdict, verdict]
        said = sum(count for (_, given), count in table.items() if given == verdict)
        true = sum(count for (wanted, _), count in table.items() if wanted == verdict)
        detail = f"{right} right of {said} said and of {true} there are"
        yield Figure(f"{verdict}, {name}: precision / recall", f"{right / said:.3f} / {right / true:.3f}", goal, detail)


def alone(embedder: OnnxMiniLM) -> Figure:
    """What a cosine by itself is worth: its best threshold of the tuning half, on the other one."""

    def cosines(half: list[Pair]) -> list[tuple[float, bool]]:
        texts = [text for each in half for text in (each.sentence, each.source.text)]
        vectors = embedder.embed(texts)
        near = (vectors[::2] * vectors[1::2]).sum(axis=1)
        return [(float(cosine), each.wanted == "supported") for cosine, each in zip(near, half, strict=True)]

    def measured(half: list[tuple[float, bool]], least: float) -> tuple[float, float]:
        said = [true for cosine, true in half if cosine >= least]
        return sum(said) / max(1, len(said)), sum(said) / sum(true for _, true in half)

    def f1(least: float) -> float:
        precision, recall = measured(tuning, least)
        return 2 * precision * recall / max(1e-9, precision + recall)

    tuning, held_out = (cosines([each for each in pairs() if each.held_out == held]) for held in (False, True))
    best = max((cosine for cosine, _ in tuning), key=f1)
    precision, recall = measured(held_out, best)
    what = "supported, a cosine alone, held out: precision / recall"
    return Figure(what, f"{precision:.3f} / {recall:.3f}", "", f"of sentence and passage, at {best:.2f}")


def by_kind(some: list[Pair], found: list[Finding]) -> Figure:
    right = Counter(pair.kind for pair, each in zip(some, found, strict=True) if pair.wanted == each.verdict)
    count = Counter(pair.kind for pair in some)
    told = ", ".join(f"{KINDS[kind]} {right[kind]}/{count[kind]}" for kind in KINDS)
    share = round(sum(right.values()) / len(some), 3)
    return Figure("right of all, held out", share, "", told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["held-out", "tuning"], default="held-out")
    parser.add_argument("--show", action="store_true")
    args = parser.parse_args()
    some = [each for each in pairs() if each.held_out == (args.half == "held-out")]
    embedder = OnnxMiniLM(Settings(models_dir=ROOT / "models"))
    found = judged(some, embedder)
    name = args.half.replace("-", " ")
    if args.show:
        for pair, each in zip(some, found, strict=True):
            if pair.wanted != each.verdict:
                print(KINDS[pair.kind], "|", each.verdict, each.why, "|", pair.sentence, file=sys.stderr)
    told = [
        *figures(some, found, f"words, numbers and cosines, {name}", ">= 0.8 / 0.8"),
        *figures(some, judged(some, None), f"words and numbers only, {name}", ""),
        alone(embedder),
        by_kind(some, found),
    ]
    tell(told)


if __name__ == "__main__":
    main()
