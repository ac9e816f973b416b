#!/usr/bin/env python3
"""What the memory learns by itself: how much of it is right, how much is missed, what orders get through.

    python scripts/bench/facts.py --texts ../shared/data/goemotions/ekman-train.tsv

`questions/facts.tsv`: utterances with the facts that they hold, or none; `questions/fact_pairs.tsv`: statements that
are one or two. The rules and the threshold were made on the `tune` lines. `seen` ones were held out at first, and then
learnt from; the `held` ones were written after that, before the rules were changed, and never tuned on. `--texts`: what
strangers write (first column), to see how often they set off a rule.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from figures import ROOT, Figure, tell

from services.rag import gate
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.facts import Candidate, Rules
from services.rag.gate import Verdict
from services.rag.settings import Settings
from services.rag.sources import of_message
from shared.schemas.rag import Message

QUESTIONS = Path(__file__).parent / "questions"
AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
COMMENTS = 20_000


def rows(name: str, part: str) -> list[list[str]]:
    found = [line.split("\t") for line in (QUESTIONS / name).read_text().splitlines() if not line.startswith("#")]
    return [row[1:] for row in found if row[0] == part]


def judged(text: str) -> list[tuple[Candidate, Verdict]]:
    message = Message(message_id="msg", role="user", content=text, created_at=AT)
    return [(each, gate.judge(each)) for each in Rules().candidates(of_message("cnv", message))]


def wanted(told: str) -> list[tuple[str, str]]:
    """Kinds and words that the quote of each fact must hold."""
    if told in ("none", "quarantined"):
        return []
    return [(kind, words) for kind, _, words in (each.partition("=") for each in told.split(" & "))]


def is_one_of(candidate: Candidate, facts: Iterable[tuple[str, str]]) -> bool:
    return any(candidate.kind == kind and words in candidate.quote for kind, words in facts)


def of_part(part: str) -> list[Figure]:
    right = wrong = expected = found = asked = orders = through = 0
    utterances = rows("facts.tsv", part)
    for told, text in utterances:
        facts, verdicts = wanted(told), judged(text)
        active = [each for each, verdict in verdicts if verdict.outcome == "active"]
        shown = [each for each, verdict in verdicts if verdict.outcome in ("active", "pending")]
        right += sum(is_one_of(each, facts) for each in active)
        wrong += sum(not is_one_of(each, facts) for each in active)
        expected += len(facts)
        found += sum(any(is_one_of(each, [fact]) for each in active) for fact in facts)
        asked += sum(any(is_one_of(each, [fact]) for each in shown) for fact in facts)
        orders += told == "quarantined"
        through += told == "quarantined" and bool(shown)
    name = {"held": "held out", "seen": "held out first, learnt from later"}.get(part, "that the rules were made on")
    goal = ">= 0.95" if part == "held" else ""
    told = f"{len(utterances)} utterances with {expected} facts, {name}"
    return [
        Figure(f"precision of facts learnt, {part}", round(right / (right + wrong), 3), goal, f"{wrong} wrong; {told}"),
        Figure(f"recall of facts learnt, {part}", round(found / expected, 3), "", f"{found} of {expected}"),
        Figure(f"recall with the inbox, {part}", round(asked / expected, 3), "", f"{asked} of {expected}"),
        Figure(f"orders that were learnt or shown, {part}", through, "0", f"of {orders} utterances that give orders"),
    ]


def of_pairs(part: str, engine: OnnxMiniLM) -> list[Figure]:
    """Whether the gate says that two statements are one, beside the cosine alone at the same threshold."""
    pairs = rows("fact_pairs.tsv", part)
    same = [kind == "same" for kind, _, _ in pairs]
    cosines = [float(one @ other) for one, other in (engine.embed(pair[1:]) for pair in pairs)]
    ours = [gate.same(pair[1], pair[2], cosine) for pair, cosine in zip(pairs, cosines, strict=True)]
    alone = [cosine >= gate.ALIKE for cosine in cosines]
    told = f"{len(pairs)} pairs; cosine alone at {gate.ALIKE}: {joined_wrongly(alone, same)} joined wrongly"
    return [
        Figure(f"different statements joined, {part}", joined_wrongly(ours, same), "0", told),
        Figure(
            f"same statements joined, {part}",
            round(sum(each for each, truth in zip(ours, same, strict=True) if truth) / sum(same), 3),
            "",
            "what is not joined is kept twice and told by the audit",
        ),
    ]


def joined_wrongly(said: Sequence[bool], same: Sequence[bool]) -> int:
    return sum(each and not truth for each, truth in zip(said, same, strict=True))


def of_strangers(texts: Path) -> list[Figure]:
    """The second `COMMENTS` lines; the first were looked at while the rules were made."""
    comments = [line.split("\t")[0] for line in texts.read_text().splitlines()][COMMENTS : 2 * COMMENTS]
    began = time.process_time()
    verdicts = [verdict.outcome for text in comments for _, verdict in judged(text)]
    spent_s = time.process_time() - began
    counts = {name: 1000 * verdicts.count(name) / len(comments) for name in ("active", "pending", "quarantined")}
    told = f"{len(comments)} comments; in the inbox {counts['pending']:.1f}, in quarantine {counts['quarantined']:.2f}"
    return [
        Figure("facts per 1,000 comments of strangers", round(counts["active"], 2), "", told),
        Figure("time per comment, ms", round(1000 * spent_s / len(comments), 3), "", "one core, reading and judging"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path)
    args = parser.parse_args()
    engine = OnnxMiniLM(Settings(models_dir=ROOT / "models"))
    figures = [each for part in ("held", "seen", "tune") for each in [*of_part(part), *of_pairs(part, engine)]]
    tell([*figures, *(of_strangers(args.texts) if args.texts else [])])


if __name__ == "__main__":
    main()
