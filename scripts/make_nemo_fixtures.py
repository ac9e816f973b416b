#!/usr/bin/env python3
"""Small NeMo models that understand fourteen words of a speech synthesizer: made once, committed.

    python scripts/make_nemo_fixtures.py tests/fixtures/nemo      (needs nemo_toolkit[asr], espeak-ng; one thread)

Real architectures, real files, real text: a Parakeet-like TDT and RNNT model, over-fitted, and a TitaNet that tells
three voices apart. They prove that the engine handles such files rightly; they say nothing about Parakeet's accuracy.
The speech models learn from known word times, since NeMo's own losses need a GPU to be of use.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import tempfile
import time
import wave
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
from nemo.collections.asr.models import EncDecRNNTBPEModel, EncDecSpeakerLabelModel
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from scipy.signal import resample_poly
from torch.nn import functional as F  # noqa: N812 - its usual name

Sound = NDArray[np.float32]
RATE_HZ = 16_000
WORDS = [
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliet",
    "kilo",
    "lima",
    "mike",
    "november",
]
VOICES = {"adam": ("en-us+m3", 35), "fiona": ("en-gb-scotland+f4", 75), "klatt": ("en-gb-x-rp+klatt2", 50)}
"""Name to the synthesizer's voice and pitch."""
SPEED = 150
"""Words a minute."""
DURATIONS = [0, 1, 2, 3, 4]
"""Frames that one step of a TDT model may go on by, as in Parakeet."""
SIZE = 96
FRAME = 1_280
"""Samples of one frame of the encoder."""
LATE = 3
"""Frames after its own in which a token is still right."""
Clips = dict[tuple[str, str], Sound]
"""By voice and word."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--what", choices=("all", "voices", "speech"), default="all")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(7)
    asked.folder.mkdir(parents=True, exist_ok=True)
    clips = {(voice, word): spoken(voice, word) for voice in VOICES for word in WORDS}
    write_clips(asked.folder, clips)
    if asked.what in ("all", "voices"):
        train_voices(clips, asked.folder / "titanet.nemo")
    if asked.what in ("all", "speech"):
        train_both(clips, asked.folder, asked.steps)


def train_both(clips: Clips, to: Path, steps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = make_tokenizer(Path(folder))
        tdt = EncDecRNNTBPEModel(cfg=speech_config(tokenizer, DURATIONS))
        train_speech(tdt, clips, DURATIONS, steps, to / "tdt.nemo")
        rnnt = EncDecRNNTBPEModel(cfg=speech_config(tokenizer, []))
        begin_with(rnnt, tdt)
        train_speech(rnnt, clips, [], steps // 3, to / "rnnt.nemo")


def spoken(voice: str, word: str) -> Sound:
    """One word, without the silence around it."""
    name, pitch = VOICES[voice]
    command = ["espeak-ng", "-v", name, "-p", str(pitch), "-s", str(SPEED), "--stdout", word]
    made = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(BytesIO(made)) as file:
        assert file.getframerate() == 22_050
        raw = np.frombuffer(made[44:], dtype="<i2").astype(np.float32) / 32768
    sound = resample_poly(raw, 320, 441).astype(np.float32)
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[max(0, loud[0] - 160) : loud[-1] + 800]


def write_clips(folder: Path, clips: Clips) -> None:
    """A file for each voice with all words in it, and where each is, in samples."""
    where: dict[str, dict[str, list[int]]] = {}
    for voice in VOICES:
        gap, at, parts = np.zeros(RATE_HZ // 10, dtype=np.float32), 0, []
        where[voice] = {}
        for word in WORDS:
            clip = clips[voice, word]
            where[voice][word] = [at, at + len(clip)]
            parts += [clip, gap]
            at += len(clip) + len(gap)
        write_wav(folder / f"{voice}.wav", np.concatenate(parts))
    (folder / "words.json").write_text(json.dumps(where, indent=1) + "\n")


def write_wav(path: Path, sound: Sound) -> None:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes((sound * 32767).round().astype("<i2").tobytes())


def sentence(clips: Clips, voice: str, words: list[str]) -> tuple[Sound, list[tuple[int, int]]]:
    """Words with pauses of random length between and around them, over a little noise; and their ranges in samples."""
    parts, spans = [np.zeros(random.randrange(800, 12_000), dtype=np.float32)], []
    at = len(parts[0])
    for word in words:
        clip = clips[voice, word] * random.uniform(0.5, 1.0)
        gap = np.zeros(int(random.choice((0.05, 0.15, 0.3, 0.7)) * RATE_HZ), dtype=np.float32)
        spans.append((at, at + len(clip)))
        parts += [clip, gap]
        at += len(clip) + len(gap)
    sound = np.concatenate(parts)
    return sound + np.random.randn(len(sound)).astype(np.float32) * random.choice((1e-5, 1e-4, 1e-3)), spans


def padded(sounds: list[Sound]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(each) for each in sounds])
    return torch.stack([F.pad(torch.from_numpy(each), (0, int(lengths.max()) - len(each))) for each in sounds]), lengths


def make_tokenizer(folder: Path) -> Path:
    text = folder / "words.txt"
    text.write_text("\n".join(" ".join(random.sample(WORDS, len(WORDS))) for _ in range(200)))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(folder / "tokenizer"), vocab_size=64, model_type="bpe", pad_id=-1,
        bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    (folder / "vocab.txt").write_text("\n".join(pieces.id_to_piece(at) for at in range(pieces.get_piece_size())))
    return folder


def preprocessor() -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
        "sample_rate": RATE_HZ, "normalize": "per_feature", "window_size": 0.025, "window_stride": 0.01,
        "window": "hann", "features": 80, "n_fft": 512, "frame_splicing": 1, "dither": 1e-5, "pad_to": 0,
    }  # fmt: skip


def speech_config(tokenizer: Path, durations: list[int]) -> DictConfig:
    """As Parakeet's: FastConformer (Rekesh et al. 2023), 80 ms frames, RNNT or TDT (Xu et al. 2023)."""
    asr = "nemo.collections.asr.modules"
    decoding = {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}}
    loss: dict[str, Any] = {"loss_name": "default"}
    if durations:
        decoding |= {"model_type": "tdt", "durations": durations}
        loss = {"loss_name": "tdt", "tdt_kwargs": {"durations": durations, "sigma": 0.02, "omega": 0.1}}
    return OmegaConf.create(
        {
            "sample_rate": RATE_HZ,
            "compute_eval_loss": False,
            "model_defaults": {"enc_hidden": SIZE, "pred_hidden": SIZE, "joint_hidden": SIZE}
            | ({"tdt_durations": durations, "num_tdt_durations": len(durations)} if durations else {}),
            "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
            "preprocessor": preprocessor(),
            "encoder": {
                "_target_": f"{asr}.ConformerEncoder",
                "feat_in": 80, "feat_out": -1, "n_layers": 2, "d_model": SIZE, "use_bias": False,
                "subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 48,
                "ff_expansion_factor": 2, "self_attention_model": "rel_pos", "n_heads": 4,
                "att_context_size": [-1, -1], "xscaling": False, "conv_kernel_size": 9, "conv_norm_type": "layer_norm",
                "dropout": 0.0, "dropout_pre_encoder": 0.0, "dropout_emb": 0.0, "dropout_att": 0.0,
            },
            "decoder": {
                "_target_": f"{asr}.RNNTDecoder",
                "normalization_mode": None, "random_state_sampling": False, "blank_as_pad": True,
                "prednet": {"pred_hidden": SIZE, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
            },
            "joint": {
                "_target_": f"{asr}.RNNTJoint",
                "log_softmax": None, "preserve_memory": False, "fuse_loss_wer": False,
                "jointnet": {"joint_hidden": SIZE, "activation": "relu", "dropout": 0.0},
                "num_extra_outputs": len(durations),
            },
            "decoding": decoding,
            "loss": loss,
        }
    )  # fmt: skip


def train_speech(model: Any, clips: Clips, durations: list[int], steps: int, path: Path) -> None:
    """Beside the text, a layer that is not kept says the word of each frame, or the encoder learns it late."""
    beside = torch.nn.Linear(SIZE, len(WORDS) + 1)

    def data() -> Iterator[tuple[torch.Tensor, ...]]:
        while True:
            texts = [random.choices(WORDS, k=random.randint(1, 8)) for _ in range(8)]
            made = [sentence(clips, random.choice(list(VOICES)), words) for words in texts]
            tokens = [[model.tokenizer.text_to_ids(word) for word in words] for words in texts]
            flat = [torch.tensor(list(chain.from_iterable(each))) for each in tokens]
            when = [emissions(each, spans) for each, (_, spans) in zip(tokens, made, strict=True)]
            yield (
                *padded([sound for sound, _ in made]),
                torch.nn.utils.rnn.pad_sequence(flat, batch_first=True),
                torch.tensor([len(each) for each in flat]),
                torch.nn.utils.rnn.pad_sequence(when, batch_first=True),
                frame_words(texts, [spans for _, spans in made]),
            )

    def step(
        sounds: torch.Tensor,
        lengths: torch.Tensor,
        targets: torch.Tensor,
        sizes: torch.Tensor,
        when: torch.Tensor,
        word: torch.Tensor,
    ) -> torch.Tensor:
        encoded, frames = model.forward(input_signal=sounds, input_signal_length=lengths)
        encoded = encoded.transpose(1, 2)
        predicted, _, _ = model.decoder(targets=targets, target_length=sizes)
        scores = model.joint.joint(encoded, predicted.transpose(1, 2))
        by_frame = F.cross_entropy(beside(encoded).transpose(1, 2), word[:, : encoded.shape[1]], ignore_index=-1)
        return aligned_loss(scores, targets, frames, sizes, when, durations) + by_frame

    train(model, step, data(), steps, path.stem, list(beside.parameters()))
    model.save_to(str(path))


def frame_words(texts: list[list[str]], spans: list[list[tuple[int, int]]]) -> torch.Tensor:
    """int [batch, frames]: the number of the word, behind the last one for a pause, -1 behind the end."""
    found = torch.full((len(texts), max(each[-1][1] for each in spans) // FRAME + 20), -1)
    for row, (words, each) in enumerate(zip(texts, spans, strict=True)):
        found[row, : each[-1][1] // FRAME + 1] = len(WORDS)
        for word, (begin, end) in zip(words, each, strict=True):
            found[row, begin // FRAME : end // FRAME + 1] = WORDS.index(word)
    return found


def emissions(tokens: list[list[int]], spans: list[tuple[int, int]]) -> torch.Tensor:
    """The frame in which each token is to be written: those of a word spread evenly over it."""
    found = []
    for pieces, (begin, end) in zip(tokens, spans, strict=True):
        found += [int((begin + (end - begin) * (n + 0.3) / len(pieces)) / FRAME) for n in range(len(pieces))]
    return torch.tensor(found)


def begin_with(model: Any, other: Any) -> None:
    """Encoder and predictor of another model; the joint network differs by its last layer."""
    model.encoder.load_state_dict(other.encoder.state_dict())
    model.decoder.load_state_dict(other.decoder.state_dict())


def aligned_loss(
    scores: torch.Tensor,
    targets: torch.Tensor,
    frames: torch.Tensor,
    sizes: torch.Tensor,
    when: torch.Tensor,
    durations: list[int],
) -> torch.Tensor:
    """Cross-entropy in the nodes of the transducer's lattice (Graves 2012) that lie around the known alignment.

    `scores`: float [batch, time, tokens + 1, vocabulary + 1 + durations], the blank behind the vocabulary. Before the
    frame of the next token the blank is right, from there on the token; a duration (TDT, Xu et al. 2023) leads as far
    as it can towards the next one.
    """
    batch, times, width = scores.shape[:3]
    blank = scores.shape[-1] - len(durations) - 1
    at, done = torch.arange(times)[None, :, None], torch.arange(width)[None, None, :]
    when = F.pad(when, (0, 2))
    last = done[0] >= sizes[:, None]
    due = torch.where(last, frames[:, None], when[:, :width])
    following = torch.where(last | (done[0] + 1 >= sizes[:, None]), frames[:, None], when[:, 1 : width + 1])
    before = F.pad(due, (1, 0))[:, :width]
    waits = at < due[:, None]
    labels = torch.where(waits, blank, F.pad(targets, (0, 1))[:, None, :])
    near = (at >= before[:, None] - 1) & (at <= due[:, None] + LATE) & (done <= sizes[:, None, None])
    near = near & (at < frames[:, None, None])
    loss = F.cross_entropy(scores[..., : blank + 1][near], labels.expand(batch, times, width)[near])
    if not durations:
        return loss
    ahead = torch.where(waits, due[:, None] - at, (following[:, None] - at)).clamp(0, durations[-1])
    return loss + F.cross_entropy(scores[..., blank + 1 :][near], ahead.expand(batch, times, width)[near])


def train(
    model: Any, step: Callable[..., torch.Tensor], data: Iterator[Any], steps: int, name: str, more: Sequence[Any] = ()
) -> None:
    """`more`: weights that learn along and are not kept."""
    model.train()
    optimizer = torch.optim.AdamW([*model.parameters(), *more], lr=2e-3, weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min(1.0, n / 20) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * n / steps)))
    )
    began, recent = time.monotonic(), []
    for n in range(steps):
        loss = step(*next(data))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        rate.step()
        recent.append(loss.item())
        if n % 25 == 24:
            took_s = time.monotonic() - began
            print(f"{name} {n + 1} loss {sum(recent) / len(recent):.4f} {took_s:.0f} s", flush=True)
            recent = []
    model.eval()


def voice_config() -> DictConfig:
    """TitaNet (Koluguri et al. 2022) in small: separable convolutions, attentive pooling, 192 numbers."""
    block = {"repeat": 1, "stride": [1], "dilation": [1], "dropout": 0.0, "separable": True, "se": True}
    return OmegaConf.create(
        {
            "sample_rate": RATE_HZ,
            "labels": list(VOICES),
            "preprocessor": preprocessor(),
            "encoder": {
                "_target_": "nemo.collections.asr.modules.ConvASREncoder",
                "feat_in": 80,
                "activation": "relu",
                "conv_mask": True,
                "jasper": [
                    block | {"filters": 64, "kernel": [3], "residual": False},
                    block | {"filters": 64, "kernel": [7], "residual": True},
                    block | {"filters": 192, "kernel": [1], "residual": False},
                ],
            },
            "decoder": {
                "_target_": "nemo.collections.asr.modules.SpeakerDecoder",
                "feat_in": 192, "num_classes": len(VOICES), "pool_mode": "attention", "emb_sizes": 192, "angular": True,
                "attention_channels": 32,
            },
            "loss": {
                "_target_": "nemo.collections.asr.losses.angularloss.AngularSoftmaxLoss", "scale": 30, "margin": 0.2,
            },
        }
    )  # fmt: skip


def train_voices(clips: Clips, path: Path) -> None:
    model = EncDecSpeakerLabelModel(cfg=voice_config())
    voices = list(VOICES)

    def data() -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        while True:
            who = [random.randrange(len(voices)) for _ in range(12)]
            sounds = [sentence(clips, voices[each], random.choices(WORDS, k=2))[0] for each in who]
            yield *padded(sounds), torch.tensor(who)

    def step(sounds: torch.Tensor, lengths: torch.Tensor, who: torch.Tensor) -> torch.Tensor:
        scores, _ = model.forward(input_signal=sounds, input_signal_length=lengths)
        return model.loss(logits=scores, labels=who)

    train(model, step, data(), 100, path.stem)
    model.save_to(str(path))


if __name__ == "__main__":
    random.seed(7)
    np.random.seed(7)
    main()
