#!/usr/bin/env python3
"""Memory of the transcription service, its model and its decoder while a long recording goes all the way.

    python scripts/bench/long_file.py --speech ../shared/data/librispeech [--hours 0.25 2] [--engine fake]

`--speech` is a folder of recordings with `transcripts.tsv` (file, speaker, text); the long one is joined of them. The
peak is of the sum over the service's process and all below it, looked at four times a second. With the engine `fake`
for the words (they are read chunk by chunk, so length does not change what they take), everything else is real.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
from pathlib import Path

from figures import Figure, tell
from transcription import joined, upload

from tests.conftest import Platform


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in tree(int(child)))]


def anonymous(pids: list[int]) -> int:
    """Bytes of the anonymous files (memfd) that they have open; those that nobody maps are in no process's share."""
    found: dict[int, int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            for each in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(each).startswith("/memfd:"):
                    about = each.stat()
                    found[about.st_ino] = about.st_blocks * 512
    return sum(found.values())


def mib(pids: list[int]) -> float:
    """What they have together: their own pages, their share of files, and anonymous files."""
    total = anonymous(pids) // 1024
    for pid in pids:
        with contextlib.suppress(OSError):  # it has just ended
            fields = Path(f"/proc/{pid}/smaps_rollup").read_text().split()
            total += sum(int(fields[fields.index(each) + 1]) for each in ("Pss_Anon:", "Pss_File:"))
    return total / 1024


class Watch(threading.Thread):
    """The most that a process and all below it have had."""

    def __init__(self, platform: Platform) -> None:
        super().__init__(daemon=True)
        self._root = next(
            pid
            for pid in platform.children()
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-2:-1] == [b"transcription"]
        )
        self.peak, self.ended = 0.0, threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.25):
            with contextlib.suppress(OSError):
                self.peak = max(self.peak, mib(tree(self._root)))


def peak(platform: Platform, paths: list[Path], hours: float, folder: Path) -> tuple[float, float]:
    """Its peak in MiB and the seconds it took."""
    long = folder / "long.wav"
    joined(paths, hours * 60, long)
    client = platform.client("bench")
    watch = Watch(platform)
    watch.start()
    began = time.perf_counter()
    recording = upload(client, long, 0)["transcript_id"]
    long.unlink()
    while True:
        answer = client.get(f"/transcription/{recording}")
        if answer.status_code == 401:  # its token lives for a quarter of an hour
            client = platform.client("bench")
            continue
        status = answer.json()["status"]
        if status in ("completed", "failed"):
            break
        time.sleep(1)
    watch.ended.set()
    watch.join()
    if status == "failed":
        raise RuntimeError("the recording failed")
    client.delete(f"/transcription/{recording}")
    return watch.peak, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--hours", type=float, nargs=2, default=[0.25, 2.0])
    parser.add_argument("--engine", default="fake", help="fake, or the engine of the words (default %(default)s)")
    args = parser.parse_args()
    os.environ["TRANSCRIPTION_ENGINE"] = args.engine
    lines = (args.speech / "transcripts.tsv").read_text().splitlines()
    paths = [path for line in lines if (path := args.speech / line.split("\t")[0]).is_file()]
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        platform = Platform(Path(folder) / "data")
        platform.start()
        try:
            (short, _), (long, took_s) = (peak(platform, paths, hours, Path(folder)) for hours in args.hours)
        finally:
            platform.stop()
    grown = (long - short) / (args.hours[1] - args.hours[0])
    detail = (
        f"{short:.0f} and {long:.0f} MiB at most, all processes of the service; {grown:.0f} MiB for each further hour,"
        f" whose sound takes {16_000 * 2 * 3600 / 2**20:.0f} MiB as 16-bit samples; {took_s:.0f} s; engine"
        f" `{args.engine}`"
    )
    tell(
        [
            Figure(
                f"peak memory of a file of {args.hours[1]:g} h / of {args.hours[0]:g} h",
                round(long / short, 2),
                "",
                detail,
            )
        ]
    )


if __name__ == "__main__":
    main()
