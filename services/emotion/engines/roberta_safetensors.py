"""Turns a PyTorch checkpoint into safetensors at set-up, so that no pickle is opened while serving (needs torch)."""

from __future__ import annotations

import os
from pathlib import Path


def build(folder: Path) -> Path:
    """Make `<folder>/model.safetensors` of `pytorch_model.bin`; whole or not at all.

    `weights_only=True` refuses everything in the file but tensors.
    """
    import torch
    from safetensors.torch import save_file

    state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    tensors = {name: value.contiguous().clone() for name, value in state.items() if not name.endswith("position_ids")}
    part = folder / f".model.safetensors.{os.getpid()}.part"
    save_file(tensors, part, metadata={"format": "pt"})
    part.replace(folder / "model.safetensors")
    return folder / "model.safetensors"
