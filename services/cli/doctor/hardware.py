"""GPU and memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from services.cli import up
from services.cli.doctor import Finding
from shared.settings import ServiceSettings

SMI_S = 20
IDLE_KIB = 2 * 1024**2
"""What the platform takes with the embedded models, before anybody asks anything (docs/benchmarks.md)."""
LEAST_KIB = 256 * 1024


def findings(settings: ServiceSettings) -> Iterator[Finding]:
    yield from _memory(settings)
    wanted = wants_gpu()
    if wanted:
        yield from _gpu(wanted)


def wants_gpu() -> list[str]:
    """The settings that name a GPU."""
    speech, feeling, memory, language = (
        import_module(f"services.{name}.settings").Settings() for name in ("transcription", "emotion", "rag", "gemma")
    )
    said = {
        "TRANSCRIPTION_DEVICE": speech.device == "cuda",
        "EMOTION_DEVICE": feeling.device == "cuda",
        "RAG_INDEX_DEVICE": memory.index_device == "cuda",
        "GEMMA_GPU_LAYERS": language.gpu_layers != 0,
    }
    return [name for name, wanted in said.items() if wanted]


def _gpu(wanted: list[str]) -> Iterator[Finding]:
    reason = gpu_missing()
    if reason is None:
        return
    what = f"{', '.join(wanted)} ask for a GPU, and {reason}."
    why = "The service with that setting ends when it loads its model, or stays on the processor and is slow."
    do = "Install the driver, or pass the GPU through (`docker/compose.gpu.yaml`); else unset what asks for it."
    yield Finding("no_gpu", what, why, do, "gpu-trouble")


def gpu_missing() -> str | None:
    """Why there is none; None where there is one."""
    if shutil.which("nvidia-smi") is None:
        return "there is no nvidia-smi here"
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=SMI_S)
    except subprocess.TimeoutExpired:
        return f"nvidia-smi does not answer within {SMI_S} s"
    if done.returncode != 0 or "GPU " not in done.stdout:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        return f"nvidia-smi lists none ({lines[0]})"
    return None


def _memory(settings: ServiceSettings) -> Iterator[Finding]:
    free = available_kib(Path("/proc/meminfo"))
    running = up.running_pid(settings.data_dir) is not None
    if free is None or free >= (LEAST_KIB if running else IDLE_KIB):
        return
    what = f"Only {free / 1024:.0f} MiB of memory are available."
    why = "The kernel ends a process when there is none left; it is started again, and what ran in it is done again."
    do = "End other programs, or take smaller models (LLM_MODEL, TRANSCRIPTION_MODEL)."
    yield Finding("low_memory", what, why, do, "low-memory", grave=running)


def available_kib(meminfo: Path) -> int | None:
    for line in meminfo.read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1])
    return None
