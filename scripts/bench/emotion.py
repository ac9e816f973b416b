#!/usr/bin/env python3
"""How fast emotion is here: one text, a batch, a long text, a minute of voice, a minute of segments measured and fused.

    python scripts/bench/emotion.py [--threads 1] [--rounds 200]

Times are medians in milliseconds, by the clock where nothing else is said; run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
from figures import ROOT, Figure, p, tell

from services.emotion.engines.onnx_minilm import OnnxMiniLM
from services.emotion.fusion import emotions_of
from services.emotion.prosody import measure, measure_spans
from services.emotion.settings import Settings
from shared.schemas.emotion import MeasureSpan

SHORT = "I did not expect that at all, but it makes me happy."
LONG = "The meeting is on Tuesday at four. " * 570
MIXED = [SHORT, "Thanks.", "The meeting is on Tuesday at four, in the large room behind the kitchen."] * 20


def times_ms(what: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    what()
    found = []
    for _ in range(rounds):
        began = clock()
        what()
        found.append((clock() - began) * 1000)
    return sorted(found)


def minute_of_voice() -> np.ndarray:
    time_s = np.arange(60 * 16_000) / 16_000
    voice = sum(0.1 * np.sin(2 * np.pi * 140 * k * time_s) / k for k in range(1, 6))
    return np.asarray(voice * (np.sin(time_s) > -0.5), dtype=np.float32)


def fused_minute(engine: OnnxMiniLM, samples: np.ndarray) -> Callable[[], object]:
    """Twelve segments of five seconds and fifteen words, as a recording has them: texts, prosody and fusion."""
    spans = [MeasureSpan(start_s=at * 5, end_s=at * 5 + 5, words=15) for at in range(12)]
    texts = [MIXED[at % 3] for at in range(12)]
    return lambda: emotions_of(engine.analyze(texts), texts, ["A"] * 12, measure_spans(samples, spans))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    args = parser.parse_args()
    began = time.perf_counter()
    engine = OnnxMiniLM(Settings(threads=args.threads))
    loaded_ms = (time.perf_counter() - began) * 1000
    voice = minute_of_voice()
    short = times_ms(lambda: engine.analyze([SHORT]), args.rounds)
    few = max(3, args.rounds // 20)
    batch_ms = statistics.median(times_ms(lambda: engine.analyze(MIXED), few))
    longest_ms = statistics.median(times_ms(lambda: engine.analyze([LONG]), few))
    short_ms = statistics.median(short)
    fused = fused_minute(engine, (voice * 32767).astype(np.int16))
    fused_ms = statistics.median(times_ms(fused, few, time.process_time))
    quality = json.loads((ROOT / "models" / "emotion" / "metrics.json").read_text())
    tell(
        [
            Figure(
                "emotion: macro-F1 on GoEmotions dev",
                quality["dev_macro_f1"],
                ">= 0.60",
                "int8; thresholds tuned on dev; cross-fitted " + str(quality["dev_macro_f1_cross_fitted"]),
            ),
            Figure(
                "emotion: texts/s in a batch / texts/s one by one",
                round(len(MIXED) / batch_ms * short_ms, 2),
                "",
                f"one text {short_ms:.1f} ms (p95 {p(short, 0.95):.1f}),"
                f" {len(MIXED) / batch_ms * 1000:.0f} texts/s in a batch, longest text {longest_ms:.0f} ms,"
                f" a minute of voice {statistics.median(times_ms(lambda: measure(voice, 150), few)):.0f} ms,"
                f" loading {loaded_ms:.0f} ms, {args.threads} thread(s)",
            ),
            Figure(
                "emotion: a minute of speech measured, read and fused / that minute",
                round(fused_ms / 60_000, 5),
                "<= 0.01",
                f"{fused_ms:.0f} ms of processor time for 12 segments of 5 s",
            ),
        ]
    )


if __name__ == "__main__":
    main()
