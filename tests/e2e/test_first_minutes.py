"""From nothing to an answer about one's own voice note: a platform without users, a browser without a mouse."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Platform
from tests.e2e.test_page import CHROMIUM, FRONTEND, speech


@pytest.fixture
def empty_platform(tmp_path: Path, models_dir: Path) -> Iterator[Platform]:
    running = Platform(tmp_path / "data")
    running.start()
    yield running
    running.stop()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here: apt-get install nodejs npm")
@pytest.mark.timeout(900)
def test_the_first_minutes(empty_platform: Platform, tmp_path: Path) -> None:
    environment = os.environ | {
        "NEMO_URL": empty_platform.url,
        "NEMO_SPEECH": str(speech(tmp_path)),
        "CHROMIUM": str(CHROMIUM),
        "NEMO_SHOTS": os.environ.get("NEMO_SHOTS", str(tmp_path)),
    }
    done = subprocess.run(
        ["node", "--test", "e2e/first_minutes.test.mjs"],
        cwd=FRONTEND,
        env=environment,
        capture_output=True,
        text=True,
        timeout=880,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
