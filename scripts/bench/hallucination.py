#!/usr/bin/env python3
"""Words invented where nobody speaks: our engine beside bare faster-whisper, and what our guard costs real speech.

    python scripts/bench/hallucination.py --speech ../shared/data/librispeech [--minutes 10] [--bare-minutes 1]

Each sound of `wordless.py` goes through the model in pieces of 120 s (as recordings do), of 30 s, and of 2 to 10 s (as
live streams send them). One run of faster-whisper with its voice filter gives both its own words and, after our guard,
ours. `--speech` is a folder with `transcripts.tsv` (file, speaker, text).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from faster_whisper import WhisperModel, decode_audio
from figures import Figure, tell
from whisper_normalizer.english import EnglishTextNormalizer
from wordless import KINDS, RATE_HZ, Sound, coloured

from services.transcription.engines.faster_whisper import TEMPERATURES, without_phantoms
from services.transcription.settings import Settings

Ear = Callable[[Sound], tuple[str, ...]]
"""A sound to the texts that each way of listening hears in it."""
PIECES_S = {"120 s": (120, 120), "30 s": (30, 30), "2 to 10 s": (2, 10)}
normal = EnglishTextNormalizer()


def filtered(model: WhisperModel, beam_size: int) -> Ear:
    """With our guard, and without it: everything else is as in our engine."""

    def hear(sound: Sound) -> tuple[str, str]:
        found = list(
            model.transcribe(
                sound,
                language="en",
                beam_size=beam_size,
                temperature=TEMPERATURES,
                best_of=1,
                vad_filter=True,
                word_timestamps=True,
                condition_on_previous_text=False,
            )[0]
        )
        return joined(without_phantoms(found, sound)), joined(found)

    return hear


def bare(model: WhisperModel) -> Ear:
    return lambda sound: (joined(model.transcribe(sound, language="en")[0]),)


def joined(found: Iterable[Any]) -> str:
    return " ".join(each.text for each in found)


def pieces(sound: Sound, shortest_s: float, longest_s: float) -> Iterator[Sound]:
    rng, at = np.random.default_rng(0), 0
    while at < len(sound):
        size = int(rng.uniform(shortest_s, longest_s) * RATE_HZ)
        yield sound[at : at + size]
        at += size


def words(text: str) -> int:
    return sum(any(mark.isalnum() for mark in word) for word in text.split())


def in_noise(sound: Sound, snr_db: float, seed: int) -> Sound:
    noise = coloured(len(sound) / RATE_HZ + 1, 1, seed)[: len(sound)]
    scale = np.sqrt((sound**2).mean() / (noise**2).mean()) * 10 ** (-snr_db / 20)
    return (sound + noise * scale).astype(np.float32)


def errors(hear: Ear, rows: list[tuple[Sound, str]]) -> list[float]:
    """Word error rates in percent, one per way of listening."""
    heard = zip(*(hear(sound) for sound, _ in rows), strict=True)
    truth = [normal(text) for _, text in rows]
    return [100 * jiwer.wer(truth, [normal(text) for text in texts]) for texts in heard]


def said(folder: Path) -> list[tuple[Sound, str]]:
    lines = (folder / "transcripts.tsv").read_text().splitlines()
    return [(decode_audio(str(folder / name)), text) for name, _, text in (line.split("\t") for line in lines)]


def invented(names: Sequence[str], ear: Ear, minutes: float, cuts: Mapping[str, tuple[float, float]]) -> list[Figure]:
    """One figure per way of listening: words over all kinds and cuts."""
    some: list[list[str]] = [[] for _ in names]
    totals = [0] * len(names)
    for kind, make in KINDS.items():
        sound = make(minutes * 60)
        for cut, lengths in cuts.items():
            heard = [ear(part) for part in pieces(sound, *lengths)]
            for at in range(len(names)):
                count = sum(words(texts[at]) for texts in heard)
                totals[at] += count
                some[at] += [f"{kind} {count} at {cut}"] if count else []
        print(names, kind, totals, file=sys.stderr, flush=True)
    told = f"{len(KINDS)} kinds of sound, {minutes:g} min each, in pieces of {', of '.join(cuts)}"
    return [
        Figure(f"words invented without speech, {name}", total, goal, "; ".join([told, *which]))
        for name, total, goal, which in zip(names, totals, ["0", "", ""], some, strict=False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--bare-minutes", type=float, default=1)
    parser.add_argument("--utterances", type=int, default=50)
    args = parser.parse_args()
    settings = Settings()
    folder = str(settings.models_dir / settings.transcription_model)
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=settings.threads)
    ear = filtered(model, settings.beam_size)
    figures = invented(["ours", "faster-whisper with vad_filter"], ear, args.minutes, PIECES_S)
    figures += [
        replace(each, goal="")
        for each in invented(["faster-whisper as it comes"], bare(model), args.bare_minutes, {"30 s": (30, 30)})
    ]
    rows = said(args.speech)[:: max(1, 50 // args.utterances)]
    for condition, change in CONDITIONS.items():
        with_guard, without = errors(ear, [(change(sound, at), text) for at, (sound, text) in enumerate(rows)])
        figures.append(
            Figure(
                f"word error rate with the guard minus without, {condition}, points",
                round(with_guard - without, 2),
                "<= 0",
                f"{with_guard:.2f} % and {without:.2f} % on {len(rows)} utterances",
            )
        )
        print(figures[-1], file=sys.stderr, flush=True)
    tell(figures)


CONDITIONS: dict[str, Callable[[Sound, int], Sound]] = {
    "as recorded": lambda sound, _: sound,
    "20 dB quieter": lambda sound, _: sound * np.float32(0.1),
    "40 dB quieter": lambda sound, _: sound * np.float32(0.01),
    "10 dB above pink noise": lambda sound, seed: in_noise(sound, 10, seed),
}


if __name__ == "__main__":
    main()
