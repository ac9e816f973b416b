"""The page in headless Chromium, by the test runner of Node: every file of frontend/e2e, one platform for all."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile

from tests.conftest import AUDIO, ROOT, Platform

FRONTEND = ROOT / "frontend"
APART = "first_minutes.test.mjs"
"""Wants a platform that has nobody yet: tests/e2e/test_first_minutes.py."""
STORIES = sorted(each for each in (FRONTEND / "e2e").glob("*.test.mjs") if each.name != APART)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def speech(folder: Path) -> Path:
    """What a browser hears as its microphone: a WAV, which it repeats."""
    samples, rate_hz = soundfile.read(AUDIO / "jfk.flac", dtype="int16")
    soundfile.write(folder / "speech.wav", samples, rate_hz, subtype="PCM_16")
    return folder / "speech.wav"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here: apt-get install nodejs npm")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name.removesuffix(".test.mjs"))
def test_the_page(platform: Platform, tmp_path: Path, story: Path) -> None:
    environment = os.environ | {
        "NEMO_URL": platform.url,
        "NEMO_AUDIO": str(AUDIO / "jfk.flac"),
        "NEMO_SPEECH": str(speech(tmp_path)),
        "CHROMIUM": str(CHROMIUM),
        "NEMO_SHOTS": os.environ.get("NEMO_SHOTS", str(tmp_path)),
    }
    done = subprocess.run(
        ["node", "--test", str(story)],
        cwd=FRONTEND,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1450,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here")
@pytest.mark.timeout(300)
def test_the_units_of_the_page() -> None:
    done = subprocess.run(
        ["npm", "test", "--silent"], cwd=FRONTEND, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_client_is_what_the_gateway_says() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "generate_client"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
