#!/usr/bin/env python3
"""Live streams against the running platform: how soon words come, how many streams hold, how flat memory stays.

    python scripts/bench/live.py --speech ../shared/data/librispeech [--streams 1 2 4] [--seconds 45] [--hours 2]

`--speech` is a folder of recordings with `transcripts.tsv` (file, speaker, text). Each stream sends 100 ms of sound
every 100 ms. Latency of a word runs from the moment its end was sent; the floor is what the bare library takes for one
window with nothing else to do, measured in the same run. Memory is that of the transcription service with a stream of
`--hours` sent as fast as it is taken, with the engine `fake` for the words and everything else real.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel, decode_audio
from figures import Figure, p, tell
from websockets.sync.client import connect

from services.transcription.settings import Settings
from tests.conftest import Platform

RATE_HZ, PIECE_S = 16_000, 0.1
PIECE = int(RATE_HZ * PIECE_S) * 2
HOLDS_S = 4.0
"""A stream holds when its last final comes so soon after its last sound."""


@dataclass
class Stream:
    """One speaker and what came back, each with the second of its arrival since the first sound."""

    pcm: bytes
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    end_lag_s: float = 0.0
    began: float = 0.0

    def run(self, url: str, headers: dict[str, str], *, pace: bool = True) -> None:
        with connect(url, additional_headers=headers, max_size=None) as socket:
            socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ, "emotion": False}))
            reading = threading.Thread(target=self._read, args=(socket,))
            reading.start()
            self.began = time.perf_counter()
            for number, at in enumerate(range(0, len(self.pcm), PIECE)):
                socket.send(self.pcm[at : at + PIECE])
                if pace:
                    time.sleep(max(0.0, self.began + (number + 1) * PIECE_S - time.perf_counter()))
            stopped = time.perf_counter()
            socket.send('{"type": "stop"}')
            reading.join()
        finals = [at for at, each in self.events if each["type"] == "final"]
        self.end_lag_s = max(0.0, max(finals, default=0.0) - (stopped - self.began))

    def _read(self, socket: Any) -> None:
        for message in socket:
            event = json.loads(message)
            self.events.append((time.perf_counter() - self.began, event))
            if event["type"] == "end":
                return

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, each) for at, each in self.events if each["type"] == kind]

    def final_s(self) -> list[float]:
        """From the end of each segment's last word to its final."""
        return [at - each["end_s"] for at, each in self.of("final")]

    def partial_s(self) -> list[float]:
        """From the end of each word to the first look that shows as many words of its utterance."""
        found = []
        for _, final in self.of("final"):
            shown = self._shown(final["utterance"])
            for number, word in enumerate(final["words"], start=1):
                first = next((at for at, count in shown if count >= number), None)
                if first is not None:
                    found.append(max(0.0, first - word["end_s"]))
        return found

    def _shown(self, utterance: int) -> list[tuple[float, int]]:
        settled, counts = 0, []
        for at, each in self.of("partial"):
            if each["utterance"] == utterance:
                settled += len(each["settled"].split())
                counts.append((at, settled + len(each["text"].split())))
        return counts


def spoken(paths: list[Path], seconds: float, seed: int) -> bytes:
    """Utterances in any order, with pauses between them."""
    draw, parts, length = random.Random(seed), [], 0
    while length < seconds * RATE_HZ:
        sound = decode_audio(str(draw.choice(paths)))
        parts += [sound, np.zeros(int(draw.uniform(0.4, 1.2) * RATE_HZ), dtype=np.float32)]
        length += len(parts[-2]) + len(parts[-1])
    return (np.concatenate(parts)[: int(seconds * RATE_HZ)] * 32767).astype("<i2").tobytes()


def floor_s(paths: list[Path]) -> float:
    """One window by the bare library, nothing else to do."""
    settings = Settings()
    folder = str(settings.models_dir / settings.transcription_model)
    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=settings.threads)
    took = []
    for path in paths[:8]:
        sound = decode_audio(str(path))[: 6 * RATE_HZ]
        began = time.perf_counter()
        found, _ = model.transcribe(sound, language="en", beam_size=settings.beam_size, word_timestamps=True)
        list(found)
        took.append(time.perf_counter() - began)
    return p(took, 0.5)


def together(platform: Platform, pcms: list[bytes]) -> list[Stream]:
    """Each by a user of its own, all at once."""
    url = platform.url.replace("http", "ws") + "/transcription/stream"
    streams, threads = [Stream(pcm) for pcm in pcms], []
    for number, stream in enumerate(streams):
        headers = {"Authorization": platform.client(f"live-{len(pcms)}-{number}").headers["Authorization"]}
        threads.append(threading.Thread(target=stream.run, args=(url, headers)))
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return streams


def holds(streams: list[Stream]) -> bool:
    behind = any(each["code"] == "falling_behind" for stream in streams for _, each in stream.of("warning"))
    return not behind and all(stream.end_lag_s < HOLDS_S for stream in streams)


def service_mib(platform: Platform) -> float:
    """Main memory of the transcription service's own process."""
    for pid in platform.children():
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if command[-2:-1] == [b"transcription"]:
            fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
            return int(fields[fields.index("Pss:") + 1]) / 1024
    raise RuntimeError("the service is not running")


def memory(folder: Path, paths: list[Path], hours: float) -> Figure:
    """A long stream at full speed, looked at every quarter of it."""
    os.environ["TRANSCRIPTION_ENGINE"] = "fake"
    platform = Platform(folder / "fake")
    platform.start()
    try:
        url = platform.url.replace("http", "ws") + "/transcription/stream"
        headers = {"Authorization": platform.client("long").headers["Authorization"]}
        hour = spoken(paths, 600, 1)
        seen, sent_s, began = [], 0.0, time.perf_counter()
        with connect(url, additional_headers=headers, max_size=None) as socket:
            socket.send(json.dumps({"type": "start", "sample_rate_hz": RATE_HZ, "diarize": False}))
            threading.Thread(target=lambda: [None for _ in socket], daemon=True).start()
            while sent_s < hours * 3600:
                for at in range(0, len(hour), 10 * PIECE):
                    socket.send(hour[at : at + 10 * PIECE])
                sent_s += 600
                seen.append(service_mib(platform))
            took_s = time.perf_counter() - began
    finally:
        platform.stop()
        del os.environ["TRANSCRIPTION_ENGINE"]
    first, last = seen[max(0, len(seen) // 4 - 1)], seen[-1]
    detail = (
        f"{first:.0f} MiB after a quarter, {last:.0f} MiB at the end, sent in {took_s:.0f} s"
        f" ({hours * 3600 / took_s:.0f} times faster than real time); engine `fake`, all else real"
    )
    return Figure(
        f"memory of the service after {hours:g} h of live sound / after a quarter",
        round(last / first, 3),
        "<= 1.1",
        detail,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4, 8, 10, 12])
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--hours", type=float, default=2)
    args = parser.parse_args()
    names = [line.split("\t")[0] for line in (args.speech / "transcripts.tsv").read_text().splitlines()]
    paths = [args.speech / name for name in names if (args.speech / name).is_file()]
    figures = []
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as name:
        floor = floor_s(paths)
        platform = Platform(Path(name) / "data")
        platform.start()
        try:
            together(platform, [spoken(paths, 8, 99)])  # everything has been used once
            most = 0
            for count in args.streams:
                streams = together(platform, [spoken(paths, args.seconds, seed) for seed in range(count)])
                words = sum(len(final["words"]) for stream in streams for _, final in stream.of("final"))
                finals = [each for stream in streams for each in stream.final_s()]
                partials = [each for stream in streams for each in stream.partial_s()]
                most = count if holds(streams) and most in (0, *args.streams[: args.streams.index(count)]) else most
                figures += [
                    Figure(
                        f"{count} live: word to its final, p50 / floor of one window",
                        round(p(finals, 0.5) / floor, 2),
                        "",
                        f"p50 {p(finals, 0.5):.2f} s, p95 {p(finals, 0.95):.2f} s, of which 0.54 s are the pause that"
                        f" ends an utterance; floor {floor:.2f} s",
                    ),
                    Figure(
                        f"{count} live: word to the first partial that shows it, p50 / floor of one window",
                        round(p(partials, 0.5) / floor, 2) if partials else "none was shown",
                        "",
                        (f"p50 {p(partials, 0.5):.2f} s, p95 {p(partials, 0.95):.2f} s; " if partials else "")
                        + f"{100 * len(partials) / max(1, words):.0f} %"
                        f" of the words were shown before their final; last final"
                        f" {max(s.end_lag_s for s in streams):.1f} s after the last sound",
                    ),
                ]
            figures.append(Figure("streams at once that do not fall behind", most, ">= 4", f"tried {args.streams}"))
        finally:
            platform.stop()
        figures.append(memory(Path(name), paths, args.hours))
    tell(figures)


if __name__ == "__main__":
    main()
