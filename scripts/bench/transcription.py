#!/usr/bin/env python3
"""Speech to text by the platform beside the bare library, same weights and settings, one after the other.

    python scripts/bench/transcription.py --speech ../shared/data/librispeech [--minutes 5] [--rounds 3]

`--speech` is a folder of recordings with `transcripts.tsv` (file, speaker, text). A long recording is joined of them.
The platform's time runs from the first byte sent until search finds a passage of the recording.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
import wave
from pathlib import Path

import httpx
import jiwer
import numpy as np
from faster_whisper import WhisperModel, decode_audio
from figures import Figure, ratio, tell
from whisper_normalizer.english import EnglishTextNormalizer

from services.transcription.engines.faster_whisper import TEMPERATURES
from services.transcription.settings import Settings
from tests.conftest import Platform

normal = EnglishTextNormalizer()


class Bare:
    """faster-whisper with what our engine gives it, and nothing else."""

    def __init__(self, settings: Settings) -> None:
        self._beam_size = settings.beam_size
        folder = str(settings.models_dir / settings.transcription_model)
        self._model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=settings.threads)

    def text(self, path: Path) -> str:
        found, _ = self._model.transcribe(
            decode_audio(str(path)),
            language="en",
            beam_size=self._beam_size,
            temperature=TEMPERATURES,
            best_of=1,
            vad_filter=True,
            word_timestamps=True,
            condition_on_previous_text=False,
        )
        return " ".join(each.text for each in found)


def joined(paths: list[Path], minutes: float, target: Path) -> None:
    pause = np.zeros(8_000, dtype=np.float32)
    parts: list[np.ndarray] = []
    length, at = 0, 0
    while length < minutes * 60 * 16_000:
        parts += [decode_audio(str(paths[at % len(paths)])), pause]
        length += len(parts[-2]) + len(pause)
        at += 1
    samples = (np.concatenate(parts)[: int(minutes * 60 * 16_000)] * 32767).astype("<i2")
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def upload(client: httpx.Client, path: Path, wait_s: int) -> dict:
    with path.open("rb") as file:
        answer = client.post("/transcription/upload", files={"file": file}, params={"wait_s": wait_s})
    return answer.raise_for_status().json()


def until_found(client: httpx.Client, path: Path) -> tuple[float, float]:
    """Seconds until search finds it, and until speakers and emotions are there too."""
    began = time.perf_counter()
    recording = upload(client, path, 0)["transcript_id"]
    while True:
        hits = client.post("/rag/search", json={"query": "what was said", "top_k": 20}).raise_for_status().json()
        if any(hit["metadata"]["transcript_id"] == recording for hit in hits):
            break
        time.sleep(0.1)
    found_s = time.perf_counter() - began
    while client.get(f"/transcription/{recording}").json()["status"] != "completed":
        time.sleep(0.1)
    whole_s = time.perf_counter() - began
    client.delete(f"/transcription/{recording}")
    return found_s, whole_s


def errors(client: httpx.Client, bare: Bare, rows: list[tuple[Path, str]]) -> tuple[float, float]:
    """Word error rates in percent: ours, the bare library's."""
    ours, theirs = [], []
    for path, _ in rows:
        found = upload(client, path, 60)
        while found.get("status") not in ("completed", "failed"):
            time.sleep(0.2)
            found = client.get(f"/transcription/{found['transcript_id']}").json()
        ours.append(normal(found["text"]))
        theirs.append(normal(bare.text(path)))
    said = [normal(text) for _, text in rows]
    return 100 * jiwer.wer(said, ours), 100 * jiwer.wer(said, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    lines = (args.speech / "transcripts.tsv").read_text().splitlines()
    rows = [(args.speech / name, text) for name, _, text in (line.split("\t") for line in lines)]
    rows = [row for row in rows if row[0].is_file()]
    bare = Bare(Settings())
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder, contextlib.ExitStack() as stack:
        platform = Platform(Path(folder) / "data")
        stack.callback(platform.stop)
        platform.start()
        client = stack.enter_context(platform.client("bench"))
        long = Path(folder) / "long.wav"
        joined([path for path, _ in rows], args.minutes, long)
        until_found(client, rows[0][0])  # everything has been used once
        bare.text(rows[0][0])
        ours, whole, theirs = [], [], []
        for _ in range(args.rounds):
            found_s, whole_s = until_found(client, long)
            ours.append(found_s)
            whole.append(whole_s)
            began = time.perf_counter()
            bare.text(long)
            theirs.append(time.perf_counter() - began)
        wer, bare_wer = errors(client, bare, rows)
    tell(
        [
            Figure(
                f"upload of {args.minutes:g} minutes until searchable / bare faster-whisper",
                ratio(ours, theirs),
                "<= 1.3",
                f"medians {sorted(ours)[len(ours) // 2]:.1f} s and {sorted(theirs)[len(theirs) // 2]:.1f} s,"
                f" {args.rounds} interleaved rounds",
            ),
            Figure(
                "the same until speakers and emotions are there too / bare faster-whisper",
                ratio(whole, theirs),
                "<= 1.5",
                f"median {sorted(whole)[len(whole) // 2]:.1f} s",
            ),
            Figure(
                "word error rate minus the bare library's, points",
                round(wer - bare_wer, 2),
                "<= 0.5",
                f"{wer:.2f} % and {bare_wer:.2f} % on {len(rows)} utterances of LibriSpeech test-other",
            ),
        ]
    )


if __name__ == "__main__":
    main()
