#!/usr/bin/env python3
"""Who speaks when: diarization error on real meetings and on joined readings, beside "everything is one speaker".

    python scripts/bench/diarization.py --meetings ../shared/data/ami --speech ../shared/data/librispeech

`--meetings`: recordings with `reference.rttm`; `--speech`: single utterances with `transcripts.tsv`, of which
conversations of 2 to 5 speakers are joined (seeded). Error: missed + false + confused speech over all speech, in frames
of 10 ms, without a collar, overlaps counted (as NIST's md-eval with -c 0). The peer: the same speech as one speaker's.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from itertools import permutations
from pathlib import Path

import numpy as np
from faster_whisper import decode_audio
from figures import Figure, tell

from services.transcription.engines import Turn
from services.transcription.engines.onnx_speakers import OnnxSpeakers
from services.transcription.settings import Settings

FRAME_S = 0.01
PAUSE_S = (0.2, 1.2)


def raster(turns: list[tuple[float, float, str]], frames: int) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(frames, dtype=bool))
    for start_s, end_s, who in turns:
        found[who][round(start_s / FRAME_S) : round(end_s / FRAME_S)] = True
    return dict(found)


def error(said: list[tuple[float, float, str]], found: list[Turn], duration_s: float) -> float:
    """Diarization error rate, with the best one-to-one naming of the speakers."""
    frames = round(duration_s / FRAME_S) + 1
    truth, ours = raster(said, frames), raster([(t.start_s, t.end_s, str(t.speaker)) for t in found], frames)
    total = sum(int(each.sum()) for each in truth.values())
    both = np.array([[int((a & b).sum()) for b in ours.values()] for a in truth.values()]).reshape(
        len(truth), len(ours)
    )
    spoken, heard = sum(truth.values(), np.zeros(frames, int)), sum(ours.values(), np.zeros(frames, int))
    return float((np.maximum(spoken, heard).sum() - best(both)) / max(total, 1))


def best(both: np.ndarray) -> int:
    """The most overlap that a naming can have."""
    if both.size == 0:
        return 0
    small = both if both.shape[0] <= both.shape[1] else both.T
    top = sorted(range(small.shape[1]), key=lambda column: -small[:, column].max())[:8]
    return max(
        sum(int(small[row, column]) for row, column in enumerate(pick)) for pick in permutations(top, len(small))
    )


def meetings(folder: Path) -> dict[str, tuple[np.ndarray, list[tuple[float, float, str]]]]:
    said = defaultdict(list)
    for line in (folder / "reference.rttm").read_text().splitlines():
        _, name, _, start, length, _, _, who, *_ = line.split()
        said[name].append((float(start), float(start) + float(length), who))
    return {path.stem: (decode_audio(str(path)), said[path.stem]) for path in sorted(folder.glob("*.wav"))}


def conversations(folder: Path, count: int) -> dict[str, tuple[np.ndarray, list[tuple[float, float, str]]]]:
    by_speaker = defaultdict(list)
    for line in (folder / "transcripts.tsv").read_text().splitlines():
        name, who, _ = line.split("\t")
        if (folder / name).is_file():
            by_speaker[who].append(decode_audio(str(folder / name)))
    draw, found = random.Random(5), {}
    for number in range(count):
        people = draw.sample(sorted(by_speaker), 2 + number % 4)
        parts, said, at = [], [], 0
        for turn in range(8 + 2 * len(people)):
            who = people[turn % len(people)] if turn < len(people) else draw.choice(people)
            sound = draw.choice(by_speaker[who])
            pause = np.zeros(int(draw.uniform(*PAUSE_S) * 16_000), dtype=np.float32)
            said.append((at / 16_000, (at + len(sound)) / 16_000, who))
            parts += [sound, pause]
            at += len(sound) + len(pause)
        found[f"joined{number}-{len(people)}"] = (np.concatenate(parts), said)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meetings", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--conversations", type=int, default=8)
    args = parser.parse_args()
    engine = OnnxSpeakers(Settings())
    figures = []
    for name, sounds in (
        ("AMI excerpts (30 s, far field)", meetings(args.meetings)),
        ("joined readings of 2 to 5 speakers", conversations(args.speech, args.conversations)),
    ):
        ours, one, off, took, length = [], [], [], 0.0, 0.0
        for sound, said in sounds.values():
            began = time.perf_counter()
            turns = engine.diarize(sound).turns
            took += time.perf_counter() - began
            length += len(sound) / 16_000
            ours.append(error(said, turns, len(sound) / 16_000))
            one.append(error(said, [Turn(t.start_s, t.end_s, 0) for t in turns], len(sound) / 16_000))
            off.append(len({turn.speaker for turn in turns}) - len({who for *_, who in said}))
        figures.append(
            Figure(
                f"diarization error on {name}",
                round(float(np.mean(ours)), 3),
                "",
                f"as one speaker {np.mean(one):.3f}; each {', '.join(f'{each:.2f}' for each in ours)};"
                f" speakers too many or too few {off}; real-time factor {took / length:.3f}",
            )
        )
    tell(figures)


if __name__ == "__main__":
    main()
