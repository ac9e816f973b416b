"""Builds llama-cpp-python once, in the background, into a cached wheel.

    python -m services.cli.language_runtime <state file>

There is no binary wheel of it. The flags make one that runs on any x86-64 machine of the last ten years; its progress
goes into the state file, which the chat service reads to say why it still answers with quotations.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.cli.processes import die_with_parent

REQUIREMENT = "llama-cpp-python==0.3.36"
NEEDS = ("diskcache==5.6.3", "jinja2>=3.1")
LEAST_DISK_BYTES = 2 * 1024**3
NO_COMPILER = "There is no C++ compiler. Install one (Debian: `apt-get install g++`) and start again."
SHORT = 200
"""A reason of fewer characters is told as it is."""
FLAGS = (
    "-DGGML_NATIVE=OFF -DGGML_AVX=ON -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON -DGGML_OPENMP=ON "
    "-DLLAVA_BUILD=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_TOOLS=OFF "
    "-DLLAMA_BUILD_SERVER=OFF"
)
_STEP = re.compile(r"\[(\d+)/(\d+)\]")


def installed() -> bool:
    importlib.invalidate_caches()
    return importlib.util.find_spec("llama_cpp") is not None


def cache_dir() -> Path:
    """`NEMO_CACHE_DIR`, else below the user's cache folder."""
    named = os.environ.get("NEMO_CACHE_DIR")
    return Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nemo-server"


class State:
    """The file that tells how far it is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def say(self, state: str, percent: float = 0.0, detail: str = "") -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(json.dumps({"state": state, "percent": round(percent, 1), "detail": detail}), encoding="utf-8")
        part.replace(self._path)


def cached_wheel() -> Path | None:
    found = sorted((cache_dir() / "wheels").glob("llama_cpp_python-0.3.36-*.whl"))
    return next((each for each in found if zipfile.is_zipfile(each)), None)


def build(state: State) -> Path:
    """Some nine minutes of CPU. Raises RuntimeError with the last lines of the build."""
    target = cache_dir() / "wheels"
    target.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(target).free < LEAST_DISK_BYTES:
        raise RuntimeError(f"Less than 2 GiB is free below {target}; the build needs that much for a while.")
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        raise RuntimeError(NO_COMPILER)
    for left in target.glob(".build-*"):  # of a build that was stopped
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target) as folder:
        _compile(state, Path(folder))
        for made in Path(folder).glob("*.whl"):
            made.replace(target / made.name)  # whole or not at all: a build may be stopped at any moment
    wheel = cached_wheel()
    if wheel is None:
        raise RuntimeError("The build made no wheel.")
    return wheel


def _compile(state: State, folder: Path) -> None:
    """Raises RuntimeError with the last lines of the build."""
    environment = os.environ | {"CMAKE_ARGS": FLAGS}
    if " " not in str(folder):  # not every build tool minds its spaces
        environment |= {"TMPDIR": str(folder)}
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", str(folder), REQUIREMENT]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    last: list[str] = []
    assert process.stdout is not None
    state.say("building")
    for line in process.stdout:
        last = [*last[-19:], line.rstrip()]
        step = _STEP.search(line)
        if step:
            state.say("building", 100 * int(step.group(1)) / int(step.group(2)))
    if process.wait() != 0:
        raise RuntimeError("\n".join(last))


def install(wheel: Path) -> None:
    for what in ([*NEEDS], ["--no-deps", str(wheel)]):
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", *what], check=True, capture_output=True, text=True
        )


def main() -> int:
    state = State(Path(sys.argv[1]))
    log = Path(sys.argv[1]).parent / "logs" / "llama-build.log"
    os.nice(10)
    stop_with_parent()
    state.say("waiting")
    try:
        with _alone():
            if not installed():
                install(cached_wheel() or build(state))
        state.say("ready", 100)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.write_text(text + "\n", encoding="utf-8")
        state.say("failed", detail=text if len(text) < SHORT else f"see {log}")
        return 1
    return 0


def stop_with_parent() -> None:
    """The compilers go when `nemo up` goes, however it went; in a session of our own, that is."""

    def stop(*_: object) -> None:
        if os.getsid(0) == os.getpid():
            for other in _session() - {os.getpid()}:
                with suppress(OSError):
                    os.kill(other, signal.SIGKILL)
        os._exit(1)

    signal.signal(signal.SIGTERM, stop)
    die_with_parent(signal.SIGTERM)


def _session() -> set[int]:
    """The processes of our session: ninja gives every compiler a group of its own."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, IndexError, ValueError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == os.getsid(0):
                found.add(int(stat.parent.name))
    return found


@contextmanager
def _alone() -> Iterator[None]:
    """One build at a time for all platforms of this user; the others wait and find the wheel."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (cache_dir() / ".language-runtime.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
