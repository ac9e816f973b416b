"""Builds llama-cpp-python once, in the background, into a cached wheel.

    python -m services.cli.language_runtime <state file>

There is no binary wheel of it. The flags make one that runs on any x86-64 machine of the last ten years; its progress
goes into the state file, which the chat service reads to say why it still answers with quotations.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

REQUIREMENT = "llama-cpp-python==0.3.36"
NEEDS = ("diskcache==5.6.3", "jinja2>=3.1")
TOOLS = ("cmake", "ninja", "scikit-build-core")
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
    return found[0] if found else None


def build(state: State) -> Path:
    """Some nine minutes of CPU. Raises RuntimeError with the last lines of the build."""
    target = cache_dir() / "wheels"
    target.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"CMAKE_ARGS": FLAGS}
    command = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--wheel-dir", str(target), REQUIREMENT]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    last: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        last = [*last[-19:], line.rstrip()]
        step = _STEP.search(line)
        if step:
            state.say("building", 100 * int(step.group(1)) / int(step.group(2)))
    wheel = cached_wheel()
    if process.wait() != 0 or wheel is None:
        raise RuntimeError("\n".join(last))
    return wheel


def install(wheel: Path) -> None:
    for what in ([*NEEDS], ["--no-deps", str(wheel)]):
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", *what], check=True, capture_output=True, text=True
        )


def main() -> int:
    state = State(Path(sys.argv[1]))
    os.nice(10)
    try:
        if not installed():
            state.say("waiting")
            install(cached_wheel() or build(state))
        state.say("ready", 100)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        text = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        hint = (
            "a C++ compiler is missing: install g++ and make" if "compiler" in text.lower() else "see llama-build.log"
        )
        state.say("failed", detail=hint)
        Path(sys.argv[1]).with_name("llama-build.log").write_text(text, encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
