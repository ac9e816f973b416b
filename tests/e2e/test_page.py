"""The page in headless Chromium, by the test runner of Node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import AUDIO, ROOT, Platform

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here: apt-get install nodejs npm")
@pytest.mark.timeout(400)
def test_the_page(platform: Platform, tmp_path: Path) -> None:
    environment = os.environ | {
        "NEMO_URL": platform.url,
        "NEMO_AUDIO": str(AUDIO / "jfk.flac"),
        "CHROMIUM": str(CHROMIUM),
        "NEMO_SHOTS": os.environ.get("NEMO_SHOTS", str(tmp_path)),
    }
    done = subprocess.run(
        ["node", "--test", "e2e/page.test.mjs"],
        cwd=ROOT / "frontend",
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here")
def test_the_units_of_the_page() -> None:
    done = subprocess.run(
        ["npm", "test", "--silent"], cwd=ROOT / "frontend", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_client_is_what_the_gateway_says() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "generate_client"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
