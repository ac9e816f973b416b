"""One suite for every engine that is installed, and what piper's process promises."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.tts import sentences
from services.tts.app import find
from services.tts.engines import SpeechEngine, program
from services.tts.engines.piper import Piper, Process
from services.tts.settings import Settings
from shared.errors import DeadlineExceeded, Invalid, ModelLost, ModelNotReady
from tests.conftest import alive
from tests.unit.tts.conftest import loudness_db, made

ROOT = Path(__file__).resolve().parents[3]
ODD = "naïve Ü 猫 'q' \"z\" --model x; $(id) `id` <speak>hi</speak> & 50% _ * # @ \\ / {x} \u0301 ±∞ 20°C"


def default_of(engine: SpeechEngine) -> str:
    return engine.capabilities.voices[0].id


def test_a_sentence_is_sound(engine: SpeechEngine) -> None:
    voice = engine.capabilities.voices[0]
    short, long = (
        engine.speak(text, voice.id) for text in ("Hello.", "Good morning everyone, the meeting is at nine.")
    )
    assert short.dtype == np.int16 and short.ndim == 1
    assert 0.2 < len(short) / voice.sample_rate_hz < 2 < len(long) / voice.sample_rate_hz < 6
    assert -40 < loudness_db(long / 32768) < -3


@pytest.mark.parametrize("text", ["1234567890 3.14 $5 10:30", ODD, "x" * 200, "-", "?", "--version", "a"])
def test_odd_texts_neither_break_nor_hang_it(engine: SpeechEngine, text: str) -> None:
    for part in sentences.cut(text) or [text]:
        assert len(engine.speak(part, default_of(engine))) < 60 * 22_050
    assert len(engine.speak("Hello.", default_of(engine))) > 4_000


def test_after_close_it_speaks_again(engine: SpeechEngine) -> None:
    engine.close()
    assert len(engine.speak("Hello.", default_of(engine))) > 4_000


def test_voices_are_told_with_their_languages(engine: SpeechEngine) -> None:
    voices = engine.capabilities.voices
    assert len({each.id for each in voices}) == len(voices) and voices[0].language.startswith("en")
    assert all(each.engine == engine.capabilities.name and each.sample_rate_hz > 8_000 for each in voices)


def process_of(piper: Any) -> int:
    piper.speak("Hello.", "joe")
    pid: int = piper._process.pid
    return pid


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < deadline, "it lives on"
        time.sleep(0.02)


def test_sounds_do_not_run_into_each_other(piper: Piper) -> None:
    """Each answer is its own sentence's, to the sample."""
    texts = ["One.", "Good morning everyone, the meeting begins at nine.", "Two.", "Three."]
    lengths = [[len(piper.speak(text, "joe")) for text in texts] for _ in range(3)]
    for row in lengths:  # the voice is never twice the same, but never far off
        assert row[1] > 2 * max(row[0], row[2], row[3]) and min(row) > 4_000


def test_a_killed_piper_comes_back(piper: Piper) -> None:
    pid = process_of(piper)
    os.kill(pid, signal.SIGKILL)
    until_gone(pid)
    assert len(piper.speak("Hello again.", "joe")) > 4_000
    assert process_of(piper) != pid


def test_one_killed_in_the_middle_is_replaced(piper: Piper) -> None:
    pid = process_of(piper)
    killer = threading.Timer(0.2, os.kill, (pid, signal.SIGKILL))
    killer.start()
    sound = piper.speak("This is a long sentence, " * 8, "joe")
    killer.join()
    assert len(sound) / 22_050 > 5 and process_of(piper) != pid


def test_a_frozen_piper_is_ended_at_the_deadline(piper: Piper) -> None:
    pid = process_of(piper)
    os.kill(pid, signal.SIGSTOP)
    impatient = made("piper", sentence_deadline_s=0.5)
    assert isinstance(impatient, Piper)
    impatient._process, impatient._speaks, piper._process = piper._process, "joe", None
    with pytest.raises(DeadlineExceeded, match=r"longer than 0\.5 s"):
        impatient.speak("Hello.", "joe")
    assert not alive(pid)


def test_it_knows_no_secret_and_writes_no_file(piper: Piper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_DB_KEY", "a secret that nobody else may know")
    piper.close()
    pid = process_of(piper)
    environment = Path(f"/proc/{pid}/environ").read_text()
    assert "PATH=" in environment and "RAG_DB_KEY" not in environment
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert [line.split()[-3:-1] for line in limits.splitlines() if line.startswith("Max file size")] == [["0", "0"]]
    assert "Hello" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_it_dies_with_the_process_that_started_it() -> None:
    script = "import os, signal; from services.tts.engines import program\n"
    script += "print(program.started(['sleep', '60']).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    until_gone(int(done.stdout))


@pytest.fixture
def failing() -> Iterator[Process]:
    process = Process([sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"])
    yield process
    program.stop(process._popen)


def test_a_program_that_ends_is_told_with_its_code(failing: Process) -> None:
    with pytest.raises(ModelLost, match="code 3"):
        failing.speak("Hello.", 30)


@pytest.mark.parametrize("text", ["[[]]", "a [[]] b", "a\nb"])
def test_the_protocols_own_marks_are_no_text(failing: Process, text: str) -> None:
    with pytest.raises(ValueError, match="protocol"):
        failing.speak(text, 30)


def test_without_voice_or_package_the_next_one_speaks(tmp_path: Path) -> None:
    made("espeak")
    for missing in ({"models_dir": tmp_path}, {"piper_python": tmp_path / "python"}):
        assert find(Settings(**missing)).capabilities.name == "espeak"


def test_with_neither_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelNotReady, match=r"(?s)piper.*apt-get install espeak-ng"):
        find(Settings(models_dir=tmp_path))
    with pytest.raises(Invalid, match="choose one of espeak, fake, piper"):
        find(Settings(engine="none"))


def test_the_fake_one_says_that_it_is() -> None:
    with pytest.warns(UserWarning, match="whistles"):
        find(Settings(engine="fake"))


def test_nothing_of_ours_imports_piper() -> None:
    script = "import sys, pkgutil, importlib, services.tts\n"
    script += (
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(services.tts.__path__, 'services.tts.')]\n"
    )
    script += "print(len([n for n in sys.modules if n.startswith('services.tts.')]), 'piper' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    count, imported = done.stdout.split()
    assert int(count) > 8 and imported == "False"
    found = [
        path
        for folder in ("services", "shared")
        for path in (ROOT / folder).rglob("*.py")
        if any(line.split()[:2] in (["import", "piper"], ["from", "piper"]) for line in path.read_text().splitlines())
    ]
    assert found == []
