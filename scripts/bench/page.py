#!/usr/bin/env python3
"""The page in headless Chromium before the running platform: paint, clicks, first words, a long transcript.

    python scripts/bench/page.py

scripts/bench/page.mjs measures; it needs Chromium, Node and the page's development packages (`make web`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from figures import ROOT, Figure, tell

from tests.conftest import AUDIO, Platform
from tests.e2e.test_page import CHROMIUM, speech


def measured(platform: Platform, folder: Path) -> dict[str, Any]:
    told = {
        "NEMO_URL": platform.url,
        "NEMO_AUDIO": str(AUDIO / "jfk.flac"),
        "NEMO_SPEECH": str(speech(folder)),
        "CHROMIUM": str(CHROMIUM),
    }
    command = ["node", str(ROOT / "scripts" / "bench" / "page.mjs")]
    done = subprocess.run(command, env=os.environ | told, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def figures_of(found: dict[str, Any]) -> list[Figure]:
    paint, clicks, words, long, scroll, free = (
        found[name] for name in ("paint_ms", "interaction_ms", "words", "long", "scroll", "unbound")
    )
    heard = f"{words['screen_s']:.2f} s beside {words['server_s']:.2f} s"
    drawn = f"one frame at 60 Hz is 16.7; p99 {scroll['p99']}; {scroll['words_in_page']} of {long['words']} words drawn"
    few = f"p50 {clicks['p50']} ms of {clicks['count']}; 8 stands for what the browser does not tell, below 16"
    bare = f"one line of text from the same server: {paint['bare']} ms; medians of 7, load {os.getloadavg()[0]:.1f}"
    ratio = round(words["screen_s"] / words["server_s"], 3)
    return [
        Figure("first contentful paint, nothing cached, ms", paint["ours"], "", bare),
        Figure("from a click to the next picture, p98, ms", clicks["p98"], "<= 200", few),
        Figure("microphone to first words on the screen / to the server's partial", ratio, "", heard),
        Figure("20,000 words scrolling, time between frames, p95, ms", scroll["p95"], "<= 17", drawn),
        Figure("the same, as fast as the browser draws, p95, ms", free["p95"], "", f"p50 {free['p50']}"),
        Figure("the same, from its address to its first words, ms", scroll["first_words_ms"]),
        Figure("the same, one correction by the API, ms", long["last_edit_ms"], "", f"{long['turns']} turns"),
    ]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="nemo-bench-") as folder:
        Path(folder).chmod(0o711)
        platform = Platform(Path(folder) / "data")
        try:
            platform.start()
            platform.client("first-admin").close()
            found = measured(platform, Path(folder))
        finally:
            platform.stop()
    tell(figures_of(found))


if __name__ == "__main__":
    main()
