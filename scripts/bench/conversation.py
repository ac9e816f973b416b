#!/usr/bin/env python3
"""A long conversation of four readers, two of them enrolled, as an upload and through the live socket.

    python scripts/bench/conversation.py --speech ../shared/data/librispeech [--minutes 30]

`--speech` is a folder of recordings with `transcripts.tsv` (file, speaker, text). The live stream is sent as fast as it
is taken; on its way the connection is cut twice without a farewell, and the service is killed once (SIGKILL).
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
import time
import wave
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jiwer
import numpy as np
import webvtt
from faster_whisper import decode_audio
from figures import Figure, tell
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from whisper_normalizer.english import EnglishTextNormalizer

from tests.conftest import Platform

RATE_HZ, PIECE = 16_000, 32_000
HELD_BACK = 3
"""Utterances of each reader that are kept for enrolment."""
normal = EnglishTextNormalizer()


@dataclass
class Conversation:
    pcm: bytes
    said: list[tuple[float, float, str, str]]
    """Start, end, reader, text of each utterance."""
    samples: dict[str, bytes]
    """Sound of each reader that is not in the conversation."""

    def text(self) -> str:
        return " ".join(text for *_, text in self.said)

    def reader(self, transcript: dict[str, Any], label: str) -> str:
        """Whom a label is, by the time that they share."""
        shared: dict[str, float] = defaultdict(float)
        for segment in transcript["segments"]:
            if segment["speaker"] == label:
                for start, end, who, _ in self.said:
                    shared[who] += max(0.0, min(end, segment["end_s"]) - max(start, segment["start_s"]))
        return max(shared, key=lambda who: shared[who])


def built(folder: Path, minutes: float) -> Conversation:
    rows = [line.split("\t") for line in (folder / "transcripts.tsv").read_text().splitlines()]
    by_reader: dict[str, list[tuple[np.ndarray, str]]] = defaultdict(list)
    for name, who, text in rows:
        if (folder / name).is_file():
            by_reader[who].append((decode_audio(str(folder / name)), text))
    draw, people = random.Random(4), sorted(by_reader)[:4]
    samples = {who: wav(np.concatenate([sound for sound, _ in by_reader[who][:HELD_BACK]])) for who in people}
    parts, said, at = [], [], 0
    while at < minutes * 60 * RATE_HZ:
        who = draw.choice([each for each in people if not said or each != said[-1][2]])
        sound, text = draw.choice(by_reader[who][HELD_BACK:])
        pause = np.zeros(int(draw.uniform(0.2, 1.5) * RATE_HZ), dtype=np.float32)
        said.append((at / RATE_HZ, (at + len(sound)) / RATE_HZ, who, text))
        parts += [sound, pause]
        at += len(sound) + len(pause)
    return Conversation((np.concatenate(parts) * 32767).astype("<i2").tobytes(), said, samples)


def wav(sound: np.ndarray | bytes) -> bytes:
    into = io.BytesIO()
    with wave.open(into, "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(sound if isinstance(sound, bytes) else (sound * 32767).astype("<i2").tobytes())
    return into.getvalue()


def finished(http: httpx.Client, transcript_id: str) -> dict[str, Any]:
    while True:
        found: dict[str, Any] = http.get(f"/transcription/{transcript_id}").raise_for_status().json()
        if found["status"] in ("completed", "failed"):
            return found
        time.sleep(1)


class Live:
    """One client that loses its connection and comes back."""

    def __init__(self, platform: Platform, http: httpx.Client, pcm: bytes) -> None:
        self._platform, self._pcm = platform, pcm
        self._headers = {"Authorization": http.headers["Authorization"]}
        self._token: str | None = None
        self.events: list[dict[str, Any]] = []

    def part(self, until: float, *, how: str) -> None:
        """Go on from where the sound is durable up to this part of it; then `cut`, `kill` or `stop`."""
        url = self._platform.url.replace("http", "ws") + "/transcription/stream"
        with connect(url, additional_headers=self._headers, max_size=None) as socket:
            start = {"type": "start", "sample_rate_hz": RATE_HZ}
            if self._token:
                start |= {"resume_token": self._token, "last_seq": self.events[-1]["seq"]}
            socket.send(json.dumps(start))
            ready = self._until(socket, "ready")
            self._token = ready["resume_token"]
            for at in range(ready["audio_ms"] * 32, int(len(self._pcm) * until) // PIECE * PIECE or 0, PIECE):
                socket.send(self._pcm[at : at + PIECE])
            if how == "stop":
                socket.send(self._pcm[int(len(self._pcm) * until) // PIECE * PIECE :])
                socket.send('{"type": "stop"}')
                self._until(socket, "end")
            elif how == "kill":
                self._platform.kill_service("transcription")
                self._rest(socket)
                self._platform.wait_ready()
            else:
                self._until(socket, "final")
                socket.close_socket()
                self._rest(socket)

    def _until(self, socket: ClientConnection, kind: str) -> dict[str, Any]:
        while True:
            self.events.append(json.loads(socket.recv(timeout=1800)))
            if self.events[-1]["type"] == kind:
                return self.events[-1]

    def _rest(self, socket: ClientConnection) -> None:
        try:
            while True:
                self.events.append(json.loads(socket.recv(timeout=30)))
        except (ConnectionClosed, TimeoutError):
            return


def judged(what: str, conversation: Conversation, transcript: dict[str, Any], http: httpx.Client) -> list[Figure]:
    names = {each["label"]: each["name"] for each in transcript["speakers"]}
    readers = {label: conversation.reader(transcript, label) for label in names}
    enrolled = sorted(conversation.samples)[:2]
    right = sum(names[label] == who for label, who in readers.items() if who in enrolled)
    strangers = [names[label] for label, who in readers.items() if who not in enrolled]
    words = [(word, segment["speaker"]) for segment in transcript["segments"] for word in segment["words"]]
    inside = sum(
        any(
            start - 0.3 <= (word["start_s"] + word["end_s"]) / 2 <= end + 0.3 and who == readers[label]
            for start, end, who, _ in conversation.said
        )
        for word, label in words
    )
    exported = {
        form: http.get(
            f"/transcription/{transcript['transcript_id']}/export", params={"format": form}
        ).raise_for_status()
        for form in ("json", "txt", "md", "srt", "vtt", "rttm", "csv")
    }
    cues = len(webvtt.from_string(exported["vtt"].text))
    wer = jiwer.wer(normal(conversation.text()), normal(transcript["text"]))
    minutes = transcript["duration_s"] / 60
    return [
        Figure(
            f"{what}: labels for 4 readers", len(names), "4", f"{minutes:.0f} minutes, {len(conversation.said)} turns"
        ),
        Figure(
            f"{what}: labels of the two enrolled readers that carry their name",
            f"{right} of {len(enrolled)}",
            "2 of 2",
            f"strangers named: {sum(each is not None for each in strangers)} of {len(strangers)}",
        ),
        Figure(
            f"{what}: words inside a turn of their speaker, percent",
            round(100 * inside / len(words), 2),
            "",
            f"{len(words)} words; 0.3 s of tolerance",
        ),
        Figure(
            f"{what}: word error rate, percent",
            round(100 * wer, 2),
            "",
            f"real-time factor {transcript['metadata']['realtime_factor']}",
        ),
        Figure(f"{what}: exports that could be read back", len(exported), "7", f"{cues} WebVTT cues"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    conversation = built(args.speech, args.minutes)
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as name:
        platform = Platform(Path(name) / "data")
        platform.start()
        try:
            http = platform.client("bench")
            scopes = ["recordings", "jobs"]  # a session's token would not last so long
            made = http.post("/auth/tokens", json={"name": "bench", "scopes": scopes}).raise_for_status()
            http.headers["Authorization"] = f"Bearer {made.json()['token']}"
            for who in sorted(conversation.samples)[:2]:
                form = {"speaker_id": f"reader_{who}", "name": who}
                sample = {"audio_file": ("a.wav", conversation.samples[who])}
                http.post("/transcription/enroll-speaker", data=form, files=sample).raise_for_status()
            file = {"file": ("a.wav", wav(conversation.pcm))}
            accepted = http.post("/transcription/upload", files=file, params={"wait_s": 0}).raise_for_status().json()
            batch = finished(http, accepted["transcript_id"])
            live = Live(platform, http, conversation.pcm)
            for until, how in ((0.2, "cut"), (0.4, "kill"), (0.7, "cut"), (1.0, "stop")):
                live.part(until, how=how)
            end = live.events[-1]
            streamed = finished(http, end["transcript_id"])
            sound = http.get(f"/transcription/{end['transcript_id']}/audio").content[44:]
            finals = [each for each in live.events if each["type"] == "final"]
            shown = " ".join(each["text"] for each in sorted(finals, key=lambda each: each["start_s"]))
            wers = [jiwer.wer(normal(conversation.text()), normal(each["text"])) for each in (streamed, batch)]
            tell(
                [
                    *judged("upload", conversation, batch, http),
                    *judged("live", conversation, streamed, http),
                    Figure(
                        "live: sound lost by two cuts and a kill, s",
                        round((len(conversation.pcm) - len(sound)) / 32_000, 3),
                        "0",
                        f"byte for byte the same: {sound == conversation.pcm}; finals told twice:"
                        f" {len(finals) - len({each['segment_id'] for each in finals})}",
                    ),
                    Figure(
                        "live: word error rate minus the upload's, points",
                        round(100 * (wers[0] - wers[1]), 2),
                        "<= 2",
                        f"as shown live: {100 * jiwer.wer(normal(conversation.text()), normal(shown)):.2f} %",
                    ),
                ]
            )
        finally:
            platform.stop()


if __name__ == "__main__":
    main()
