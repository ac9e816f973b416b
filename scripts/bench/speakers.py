#!/usr/bin/env python3
"""Whose voice it is: error rates of verification and of identification, beside the package Resemblyzer.

    python scripts/bench/speakers.py --speech ../shared/data/librispeech

Every reader is enrolled with three clean utterances; the others are trials of 1 to 10 s of speech, clean, over the
telephone and in noise at 10 dB, against every reader. EER, and at the engine's default threshold the strangers accepted
and the readers recognised. With `--resemblyzer` the same trials go to that package (Apache-2.0, GE2E d-vectors). Then
live labels: utterances of 2 to 5 readers as they come, before and after they were looked at again.
"""

from __future__ import annotations

import argparse
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from conversations import CONDITIONS, RATE_HZ, Sound, spoken, utterances
from figures import Figure, tell

from services.transcription.engines import Voice
from services.transcription.engines.clustering import paired
from services.transcription.engines.live_speakers import LiveSpeakers
from services.transcription.engines.onnx_speakers import CAMPPLUS, PIECE_S, campplus
from services.transcription.identification import Known, score
from services.transcription.settings import Settings

SECONDS = (1, 2, 3, 5, 10)
ENROLLED, STREAMS, UTTERANCES = 3, 8, 24
Encode = Callable[[Sound], np.ndarray]
Scores = dict[tuple[str, int], tuple[list[float], list[float]]]
"""By condition and seconds: of the readers themselves, and of strangers."""


def ours() -> Encode:
    settings = Settings(threads=1)
    encode = campplus(settings.models_dir / settings.speaker_model, 1)

    def mean_of_pieces(sound: Sound) -> np.ndarray:
        """As the engine takes a voice: pieces of 2 s every second."""
        size = min(len(sound), int(PIECE_S * RATE_HZ))
        count = max(1, round(len(sound) / RATE_HZ - PIECE_S) + 1)
        begins = np.linspace(0, len(sound) - size, count).astype(int)
        return unit(np.sum([unit(encode(sound[at : at + size])) for at in begins], axis=0))

    return mean_of_pieces


def resemblyzers() -> Encode:
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda sound: unit(encoder.embed_utterance(preprocess_wav(sound, source_sr=RATE_HZ)))


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), dtype=np.float32)


def speech_of(sound: Sound) -> Sound:
    return np.concatenate([sound[int(start * RATE_HZ) : int(end * RATE_HZ)] for start, end in spoken(sound)])


def trials(encode: Encode, by_speaker: dict[str, list[Sound]], count: int, lengths_s: Sequence[int]) -> Scores:
    known = {
        who: Known(who, [encode(speech_of(each)) for each in sounds[:ENROLLED]]) for who, sounds in by_speaker.items()
    }
    found: Scores = defaultdict(lambda: ([], []))
    for who, sounds in by_speaker.items():
        for sound in map(speech_of, sounds[ENROLLED : ENROLLED + count]):
            for condition, change in CONDITIONS.items():
                changed = change(sound)
                for seconds in (each for each in lengths_s if len(sound) >= each * RATE_HZ):
                    voice = Voice(encode(changed[: seconds * RATE_HZ]), seconds)
                    for other, enrolled in known.items():
                        found[condition, seconds][other != who].append(score(voice, enrolled))
    return dict(found)


def equal_error(same: np.ndarray, other: np.ndarray) -> float:
    return min(max(float((same < at).mean()), float((other >= at).mean())) for at in np.concatenate([same, other]))


def logistic(scores: Scores) -> tuple[float, float]:
    """Where the two kinds of trials are equally likely, and how steep: Newton's method, both kinds weighing the same.

    Targets are drawn in a little (Platt 1999), or trials without any error would make it infinitely steep.
    """
    same = np.concatenate([pair[0] for (_, seconds), pair in scores.items() if seconds > 1])
    other = np.concatenate([pair[1] for (_, seconds), pair in scores.items() if seconds > 1])
    x = np.concatenate([same, other])
    wanted = np.where(np.arange(len(x)) < len(same), (len(same) + 1) / (len(same) + 2), 1 / (len(other) + 2))
    weight = np.where(np.arange(len(x)) < len(same), 0.5 / len(same), 0.5 / len(other))
    design, theta = np.stack([x, np.ones_like(x)], axis=1), np.zeros(2)
    for _ in range(50):
        likely = 1 / (1 + np.exp(-design @ theta))
        slope = design.T @ (weight * (wanted - likely))
        curve = (design * (weight * likely * (1 - likely))[:, None]).T @ design
        theta += np.linalg.solve(curve + 1e-9 * np.eye(2), slope)
    return float(-theta[1] / theta[0]), float(theta[0])


def live(vectors: dict[str, list[np.ndarray]], lengths_s: dict[str, list[float]]) -> tuple[float, float, list[int]]:
    """Share of utterances under the right label at once, and after revision; speakers too many or too few."""
    shown_right, revised_right, off = [], [], []
    for stream in range(STREAMS):
        draw = random.Random(stream)
        people = draw.sample(sorted(vectors), 2 + stream % 4)
        speakers, shown, truth = LiveSpeakers(), [], []
        for turn in range(UTTERANCES):
            who = people[turn % len(people)] if turn < len(people) else draw.choice(people)
            at = draw.randrange(len(vectors[who]))
            shown.append(speakers.add(Voice(vectors[who][at], lengths_s[who][at])))
            truth.append(people.index(who))
        revised = speakers.revised()
        shown_right.append(right(truth, shown))
        revised_right.append(right(truth, revised))
        off.append(len(set(revised)) - len(set(truth)))
    return float(np.mean(shown_right)), float(np.mean(revised_right)), off


def right(truth: list[int], labels: list[int]) -> float:
    shared = np.zeros((max(truth) + 1, max(labels) + 1))
    np.add.at(shared, (truth, labels), 1)
    return float(sum(shared[pair] for pair in paired(shared)) / len(truth))


def told(name: str, found: Scores, theirs: Scores | None) -> list[Figure]:
    figures = []
    for (condition, seconds), (same, other) in sorted(found.items()):
        s, o = np.array(same), np.array(other)
        detail = (
            f"at the threshold {CAMPPLUS.same}: strangers accepted {(o >= CAMPPLUS.same).mean():.3f} of {len(o)},"
            f" readers accepted {(s >= CAMPPLUS.same).mean():.3f} of {len(s)}"
        )
        goal = ""
        if theirs:
            goal = f"{name} {equal_error(*map(np.array, theirs[condition, seconds])):.3f}"
        what = f"equal error rate, {condition}, {seconds} s of speech"
        figures.append(Figure(what, round(equal_error(s, o), 3), goal, detail))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=7, help="utterances of each reader that are tried")
    parser.add_argument("--seconds", type=int, nargs="+", default=SECONDS)
    parser.add_argument("--resemblyzer", action="store_true", help="beside the package Resemblyzer")
    args = parser.parse_args()
    by_speaker, encode, peer = utterances(args.speech), ours(), resemblyzers() if args.resemblyzer else None
    scores = trials(encode, by_speaker, args.trials, args.seconds)
    figures = told("Resemblyzer", scores, trials(peer, by_speaker, args.trials, args.seconds) if peer else None)
    strangers = np.concatenate([pair[1] for (_, seconds), pair in scores.items() if seconds >= CAMPPLUS.least_s])
    figures.append(
        Figure("strangers accepted at the default threshold", float((strangers >= CAMPPLUS.same).mean()), "< 0.01",
               f"of {len(strangers)} trials of at least {CAMPPLUS.least_s} s")
    )  # fmt: skip
    middle, steep = logistic(scores)
    figures.append(Figure("cosine at which both are equally likely", round(middle, 3), "", f"steepness {steep:.1f}"))
    parts = {
        who: [
            each[: length_s * RATE_HZ]
            for each, length_s in zip(map(speech_of, sounds), (2, 3, 4, 6, 1) * 2, strict=False)
        ]
        for who, sounds in by_speaker.items()
    }
    vectors = {who: [encode(each) for each in sounds] for who, sounds in parts.items()}
    shown, revised, off = live(vectors, {who: [len(x) / RATE_HZ for x in sounds] for who, sounds in parts.items()})
    detail = f"after revision {revised:.3f}; speakers too many or too few after revision {off}"
    figures.append(Figure("live utterances of 1 to 6 s under the right label at once", round(shown, 3), "", detail))
    tell(figures)


if __name__ == "__main__":
    main()
