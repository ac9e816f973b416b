"""Weights that come and go: the same model after each wake, nothing left on the device after each park."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip(
    "torch", reason="PyTorch is not installed here; `make test-torch` has an environment with it"
)

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "scripts" / "bench" / "gpu_swap.py"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _load() -> ModuleType:
    path = ROOT / "services" / "transcription" / "engines" / "torch_weights.py"
    spec = importlib.util.spec_from_file_location("torch_weights", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


torch_weights = _load()
PinnedWeights = torch_weights.PinnedWeights


class Talker(torch.nn.Module):
    """Tied weights, a buffer that no checkpoint keeps, a normalisation with an integer buffer, a recurrent layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.words = torch.nn.Embedding(50, 24)
        self.memory = torch.nn.LSTM(24, 24, batch_first=True)
        self.norm = torch.nn.BatchNorm1d(24)
        self.head = torch.nn.Linear(24, 50, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 24), persistent=False)
        self.eval()

    def forward(self, ids: Any) -> Any:
        heard, _ = self.memory(self.words(ids) * self.scale)
        return self.head(self.norm(heard.transpose(1, 2)).transpose(1, 2))


def _say(module: Any) -> Any:
    with torch.inference_mode():
        where = next(module.parameters()).device
        return module(torch.arange(12, device=where).reshape(3, 4)).cpu()


def _tensors(module: Any) -> list[Any]:
    return [*module.parameters(), *module.buffers()]


def _within(tensor: Any, flat: Any) -> bool:
    return bool(flat.data_ptr() <= tensor.data_ptr() < flat.data_ptr() + flat.numel())


def test_five_cycles_change_no_output() -> None:
    module = Talker().to(DEVICE)
    before = _say(module)
    weights = PinnedWeights(module)
    for _ in range(5):
        assert weights.wake(DEVICE) == weights.nbytes and weights.resident
        assert torch.equal(_say(module), before)
        assert weights.park() > 0 and not weights.resident
    weights.close()
    assert torch.allclose(_say(module), before, atol=1e-5)


def test_identities_stay_and_all_tensors_move() -> None:
    module = Talker()
    tensors = _tensors(module)
    weights = PinnedWeights(module)
    weights.wake(DEVICE)
    assert all(a is b for a, b in zip(tensors, _tensors(module), strict=True))
    assert {t.device.type for t in tensors} == {DEVICE}
    assert not any(_within(t, weights._host) for t in tensors)
    weights.park()
    assert {t.device.type for t in tensors} == {"cpu"} and all(_within(t, weights._host) for t in tensors)


def test_one_copy_in_one_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    allocate = torch_weights._allocate
    monkeypatch.setattr(
        torch_weights, "_allocate", lambda nbytes, device: (asked.append(nbytes), allocate(nbytes, device))[1]
    )
    module = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8))
    weights = PinnedWeights(module)
    weights.wake(DEVICE)
    assert asked == [weights.nbytes]
    assert all(_within(t, weights._device) and t.data_ptr() % 64 == 0 for t in _tensors(module))
    assert all((t.data_ptr() - weights._device.data_ptr()) % torch_weights.ALIGN == 0 for t in _tensors(module))


def test_tied_weights_stay_tied_and_count_once() -> None:
    a, b = torch.nn.Linear(32, 32, bias=False), torch.nn.Linear(32, 32, bias=False)
    b.weight.data = a.weight.data  # two parameters, one memory
    weights = PinnedWeights(torch.nn.Sequential(a, b))
    assert weights.nbytes == 32 * 32 * 4
    for _ in range(2):
        weights.wake(DEVICE)
        assert a.weight.data_ptr() == b.weight.data_ptr()
        weights.park()
        assert a.weight.data_ptr() == b.weight.data_ptr()
    talker = Talker()
    PinnedWeights(talker).wake(DEVICE)
    assert talker.head.weight is talker.words.weight


def test_a_buffer_that_no_checkpoint_keeps_survives() -> None:
    module = Talker()
    expected = module.scale.clone()
    assert "scale" not in module.state_dict()
    weights = PinnedWeights(module)
    weights.wake(DEVICE)
    assert module.scale.device.type == DEVICE and torch.equal(module.scale.cpu(), expected)
    weights.park()
    assert torch.equal(module.scale, expected)


def test_park_leaves_nothing_on_the_device() -> None:
    module = Talker()
    weights = PinnedWeights(module)
    weights.wake(DEVICE)
    gone = weakref.ref(weights._device.untyped_storage())
    flat = weights._device
    assert any(_within(t, flat) for t in _tensors(module))
    copies = weakref.ref(flat)
    del flat
    weights.park()
    assert copies() is None and gone() is None
    assert all(t.device.type == "cpu" and _within(t, weights._host) for t in _tensors(module))


def test_wake_and_park_twice_are_as_once() -> None:
    module = Talker()
    weights = PinnedWeights(module)
    assert weights.park() == 0 and not weights.resident
    first = weights.wake(DEVICE)
    at = [t.data_ptr() for t in _tensors(module)]
    assert weights.wake(DEVICE) == first and [t.data_ptr() for t in _tensors(module)] == at
    assert weights.park() > 0 and weights.park() == 0
    weights.close()
    weights.close()


def test_every_kind_of_tensor() -> None:
    module = torch.nn.Module()
    values = {
        "bool": torch.tensor([True, False, True]),
        "byte": torch.arange(5, dtype=torch.uint8),
        "long": torch.tensor([[1, -(2**60)], [3, 4]]),
        "half": torch.randn(3, 5).half(),
        "bf16": torch.randn(7, 3).to(torch.bfloat16),
        "double": torch.randn(2, dtype=torch.float64),
        "complex": torch.randn(3, dtype=torch.complex64),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 4),
        "turned": torch.randn(4, 6).t(),
        "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "expanded": torch.randn(1, 4).expand(3, 4),
        "slice": torch.randn(8, 8)[1:7:2, 2:5],
    }
    values = {f"a_{name}": value for name, value in values.items()}
    for name, value in values.items():
        module.register_buffer(name, value.clone() if name not in ("a_expanded", "a_slice") else value)
    weights = PinnedWeights(module)
    for where in (DEVICE, "cpu"):
        weights.wake(DEVICE) if where == DEVICE else weights.park()
        for name, value in values.items():
            mine = module.get_buffer(name)
            assert mine.dtype == value.dtype and mine.shape == value.shape and torch.equal(mine.cpu(), value), name
        weights.park()
    assert module.get_buffer("a_channels_last").is_contiguous(memory_format=torch.channels_last)


def test_a_module_without_weights() -> None:
    weights = PinnedWeights(torch.nn.ReLU())
    assert weights.nbytes == 0 and weights.wake(DEVICE) == 0 and weights.resident
    assert weights.park() == 0 and not weights.resident
    weights.close()


@pytest.mark.parametrize("value", ["sparse", "meta"])
def test_what_cannot_be_kept_is_refused(value: str) -> None:
    module = torch.nn.Module()
    module.register_buffer("odd", torch.eye(3).to_sparse() if value == "sparse" else torch.empty(3, device="meta"))
    with pytest.raises(TypeError, match="dense"):
        PinnedWeights(module)


def test_edits_while_resident_are_gone_after_a_park() -> None:
    module = Talker()
    before = _say(module)
    weights = PinnedWeights(module)
    kept = weights._host.clone()
    weights.wake(DEVICE)
    with torch.no_grad():
        for tensor in _tensors(module):
            tensor.zero_()
    assert not torch.equal(_say(module), before)
    weights.park()
    assert torch.equal(weights._host, kept)
    weights.wake(DEVICE)
    assert torch.allclose(_say(module), before, atol=1e-5)


def test_a_module_made_under_inference_mode_is_refused() -> None:
    with torch.inference_mode():
        module = torch.nn.Linear(2, 2)
    with pytest.raises(TypeError, match="inference_mode"):
        PinnedWeights(module)


def test_a_module_woken_for_inference_can_still_learn() -> None:
    module = torch.nn.Linear(4, 2)
    weights = PinnedWeights(module)
    with torch.inference_mode():
        weights.wake(DEVICE)
    module(torch.ones(1, 4, device=DEVICE)).sum().backward()
    assert module.weight.requires_grad and module.weight.grad is not None


def test_out_of_memory_leaves_it_parked_and_able(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Talker()
    before = _say(module)
    weights = PinnedWeights(module)

    def full(nbytes: int, device: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(torch_weights, "_allocate", full)
        with pytest.raises(torch.cuda.OutOfMemoryError):
            weights.wake(DEVICE)
    assert not weights.resident and torch.allclose(_say(module), before, atol=1e-5)
    assert weights.wake(DEVICE) == weights.nbytes
    assert torch.allclose(_say(module), before, atol=1e-5)


def test_out_of_memory_half_way_gives_the_buffer_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Talker()
    weights = PinnedWeights(module)
    taken: list[weakref.ref[Any]] = []
    point = torch_weights._point

    def fails(slot: Any, flat: Any) -> None:
        if flat is not weights._host:
            taken.append(weakref.ref(flat))
        if len(taken) == 3:
            taken.append(weakref.ref(flat))
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        point(slot, flat)

    with monkeypatch.context() as patch:
        patch.setattr(torch_weights, "_point", fails)
        with pytest.raises(torch.cuda.OutOfMemoryError) as caught:
            weights.wake(DEVICE)
        assert len(taken) == 4 and all(ref() is None for ref in taken), "while the error is still held"
    assert caught.value is not None and not weights.resident
    assert all(_within(t, weights._host) for t in _tensors(module))
    assert weights.wake(DEVICE) == weights.nbytes


class Cudart:
    """Counts what is locked, in place of the CUDA runtime."""

    def __init__(self, error: int = 0) -> None:
        self.error, self.locked, self.unlocked = error, [], []

    def cudaHostRegister(self, at: int, nbytes: int, flags: int) -> int:
        self.locked.append((at, nbytes))
        return self.error

    def cudaHostUnregister(self, at: int) -> int:
        self.unlocked.append(at)
        return 0


def _pretend(monkeypatch: pytest.MonkeyPatch, cudart: Cudart) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "cudart", lambda: cudart)


def test_exactly_the_host_copy_is_locked_and_unlocked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cudart = Cudart()
    _pretend(monkeypatch, cudart)
    weights = PinnedWeights(Talker())
    at = weights._host.data_ptr()
    assert cudart.locked == [(at, weights.nbytes)] and at % 4096 == 0
    weights.close()
    weights.close()
    assert cudart.unlocked == [at]


def test_an_owner_that_goes_unlocks(monkeypatch: pytest.MonkeyPatch) -> None:
    cudart = Cudart()
    _pretend(monkeypatch, cudart)
    PinnedWeights(Talker())
    gc.collect()
    assert len(cudart.unlocked) == 1 and cudart.unlocked[0] == cudart.locked[0][0]


def test_pages_that_cannot_be_locked_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _pretend(monkeypatch, Cudart(error=2))
    with pytest.raises(RuntimeError, match="could not lock"):
        PinnedWeights(Talker())


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_on_cuda_the_host_copy_is_locked_and_the_device_gets_its_bytes_back() -> None:
    weights = PinnedWeights(torch.nn.Linear(4096, 4096))
    assert weights._host.is_pinned()
    reserved = torch.cuda.memory_reserved()
    weights.wake(DEVICE)
    assert torch.cuda.memory_reserved() - reserved >= weights.nbytes
    assert weights.park() >= weights.nbytes and torch.cuda.memory_reserved() <= reserved
    weights.close()
    assert not weights._host.is_pinned()


@pytest.mark.skipif(DEVICE == "cpu", reason="needs a CUDA device")
def test_on_cuda_a_tensor_that_somebody_kept_is_not_counted_as_free() -> None:
    module = torch.nn.Linear(4096, 4096)
    weights = PinnedWeights(module)
    weights.wake(DEVICE)
    kept = module.weight.data
    assert weights.park() < weights.nbytes
    del kept


def _bench(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(BENCH), *arguments],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, **environment},
    )


def test_the_benchmark_takes_turns_without_a_gpu() -> None:
    ran = _bench("--device", "cpu", "--turns", "6", "--size-a", "0.002", "--size-b", "0.001", "--width", "128")
    assert ran.returncode == 0, ran.stderr
    figures = {figure["what"]: figure for figure in json.loads(ran.stdout)["figures"]}
    assert figures["growth of used device memory, bytes"]["value"] == 0
    assert figures["holder A: wake / bare copy"]["goal"] == "at most 1.5"
    assert figures["holder A: weights, bytes"]["value"] > figures["holder B: weights, bytes"]["value"] > 500_000
    assert figures["holder B: park done p95, ms"]["goal"] == "below 400 ms"


def test_the_benchmark_says_that_cuda_is_missing() -> None:
    ran = _bench("--turns", "1", CUDA_VISIBLE_DEVICES="")
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("No CUDA device") and len(ran.stderr.splitlines()) == 1
