"""The weights of a torch module, kept once in page-locked host memory and copied to the device while it holds it.

Stands alone: nothing but the standard library and torch, and torch only once a module is handed in.
"""

from __future__ import annotations

import mmap
import traceback
import weakref
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ALIGN = 256
"""Bytes. torch aligns a tensor of its own to so many too, so no kernel is chosen otherwise."""
SEGMENT = 2 * 1024**2
"""Bytes. torch takes device memory in such steps; the rest of a step would be lent to others and keep it from going."""
PORTABLE = 1
"""cudaHostRegisterPortable: page-locked for every context of the process."""


@dataclass
class _Slot:
    """One stretch of the flat buffer and the tensors that live there."""

    offset: int
    nbytes: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]
    tensors: list[torch.Tensor] = field(default_factory=list)

    def view(self, flat: torch.Tensor) -> torch.Tensor:
        stretch = flat[self.offset : self.offset + self.nbytes]
        return stretch.view(self.dtype).as_strided(self.shape, self.stride)


class PinnedWeights:
    """Parks and wakes a `torch.nn.Module`; starts parked, wherever the module was. For one thread at a time.

    Covers parameters and buffers, also those that no checkpoint keeps; a tensor in a plain attribute stays where it is.
    Weights are immutable: what is changed in place while resident is gone after `park`. While parked the tensors are
    the host copy itself, so nobody may write to them then. Addresses differ after each wake: a captured CUDA graph
    does not survive a park.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        """TypeError for sparse, quantized, meta and inference tensors; RuntimeError if CUDA cannot lock the pages."""
        import torch

        self._module = module
        self._slots = _layout(chain(module.parameters(), module.buffers()))
        self._device: torch.Tensor | None = None
        with torch.inference_mode(False), torch.no_grad():
            self._host = _host(max((slot.offset + slot.nbytes for slot in self._slots), default=0))
            self._fill()
        self._unpin = _pin(self, self._host) if torch.cuda.is_available() else None
        _give_back()

    @property
    def resident(self) -> bool:
        """True between `wake` and `park`."""
        return self._device is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the host copy; on a device up to 2 MiB more are taken."""
        return int(self._host.numel())

    def wake(self, device: str | torch.device) -> int:
        """All weights to the device in one copy, and the bytes copied; nothing happens while they are resident.

        `torch.cuda.OutOfMemoryError` where they do not fit: then they are parked, and all that was taken is given back.
        """
        import torch

        if self.resident:
            return self.nbytes
        try:
            with torch.inference_mode(False), torch.no_grad():
                self._load(torch.device(device))
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)  # their locals would keep the buffer alive
            self._release()
            raise
        return self.nbytes

    def park(self) -> int:
        """Back to the host copy, and the bytes that are free for others now, cached activations among them.

        Waits for all work on the device. On CUDA the bytes are what torch returned to the driver, so they are fewer
        than `nbytes` if somebody still holds a tensor of the weights. 0 where nothing was resident.
        """
        if self._device is None:
            return 0
        where = self._device.device
        if where.type != "cuda":
            self._release()
            return self.nbytes
        return self._park_cuda(where)

    def close(self) -> None:
        """Parks and unlocks the pages; the module stays usable on the host, and a later wake takes longer."""
        self.park()
        if self._unpin is not None:
            self._unpin()

    def _fill(self) -> None:
        for slot in self._slots:
            slot.view(self._host).copy_(slot.tensors[0])
            _point(slot, self._host)  # at once, so that the source goes before the next is copied

    def _load(self, device: torch.device) -> None:
        _give_back()  # or the buffer may be cut from a cached stretch that is shared with others
        self._device = _allocate(self.nbytes, device)
        self._device.copy_(self._host, non_blocking=True)
        for slot in self._slots:
            _point(slot, self._device)
        _flatten(self._module)
        _wait(device)

    def _park_cuda(self, where: torch.device) -> int:
        import torch

        torch.cuda.synchronize(where)
        before = torch.cuda.memory_reserved(where)
        self._release()
        torch.cuda.synchronize(where)
        return int(before - torch.cuda.memory_reserved(where))

    def _release(self) -> None:
        import torch

        with torch.inference_mode(False), torch.no_grad():
            for slot in self._slots:
                _point(slot, self._host)
        self._device = None
        _give_back()


def _layout(tensors: Iterable[torch.Tensor]) -> list[_Slot]:
    """A slot for each distinct stretch of memory: tied tensors share theirs."""
    slots: dict[Hashable, _Slot] = {}
    end = 0
    for tensor in tensors:
        _check(tensor)
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if key not in slots:
            slots[key] = _slot(tensor, -(-end // ALIGN) * ALIGN)
            end = slots[key].offset + slots[key].nbytes
        slots[key].tensors.append(tensor)
    return list(slots.values())


def _check(tensor: torch.Tensor) -> None:
    import torch

    if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized:
        raise TypeError(f"weights must be dense and have values: {tensor.dtype} {tensor.layout} on {tensor.device}")
    if tensor.is_inference():
        raise TypeError("weights were made under torch.inference_mode, so their memory cannot be exchanged")


def _slot(tensor: torch.Tensor, offset: int) -> _Slot:
    import torch

    stride = torch.empty_like(tensor, device="meta").stride()  # its own if it has no gaps, such as channels_last
    return _Slot(offset, tensor.numel() * tensor.element_size(), tensor.dtype, tensor.shape, stride)


def _point(slot: _Slot, flat: torch.Tensor) -> None:
    for tensor in slot.tensors:
        tensor.data = slot.view(flat)


def _host(nbytes: int) -> torch.Tensor:
    """Pages of its own: to lock a page twice is an error, and torch's own locked memory comes in powers of two."""
    import torch

    if nbytes == 0:
        return torch.empty(0, dtype=torch.uint8)
    pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.uint8)


def _allocate(nbytes: int, device: torch.device) -> torch.Tensor:
    import torch

    return torch.empty(-(-nbytes // SEGMENT) * SEGMENT, dtype=torch.uint8, device=device)[:nbytes]


def _pin(owner: PinnedWeights, host: torch.Tensor) -> weakref.finalize[Any, Any] | None:
    """Locks the pages; what comes back unlocks them once, at the latest when the owner goes."""
    import torch

    if host.numel() == 0:
        return None
    failed = int(torch.cuda.cudart().cudaHostRegister(host.data_ptr(), host.numel(), PORTABLE))
    if failed:
        raise RuntimeError(f"CUDA could not lock {host.numel()} bytes of host memory (error {failed})")
    unpin = weakref.finalize(owner, _unlock, host)
    unpin.atexit = False  # the driver does it then, and may be gone before us
    return unpin


def _unlock(host: torch.Tensor) -> None:
    import torch

    torch.cuda.cudart().cudaHostUnregister(host.data_ptr())


def _flatten(module: torch.nn.Module) -> None:
    """cuDNN wants the weights of a recurrent layer in a piece of their own, or copies them at each call."""
    for layer in _recurrent(module):
        layer.flatten_parameters()


def _recurrent(module: torch.nn.Module) -> Iterator[torch.nn.RNNBase]:
    import torch

    return (layer for layer in module.modules() if isinstance(layer, torch.nn.RNNBase))


def _give_back() -> None:
    """What torch has cached and nobody uses goes back to the driver; without a CUDA context nothing happens."""
    import torch

    torch.cuda.empty_cache()


def _wait(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
