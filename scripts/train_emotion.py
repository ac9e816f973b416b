#!/usr/bin/env python3
"""Fine-tune all-MiniLM-L6-v2 for seven emotions on GoEmotions (Ekman mapping) and export it as int8 ONNX.

    python scripts/train_emotion.py --data ../shared/data/goemotions --weights models/all-minilm-l6-v2

Needs torch, transformers, onnx, onnxscript, onnxruntime, scikit-learn: not part of the platform, only of this script.
A run takes some twenty minutes on two cores; `--checkpoint` makes it resumable. `--evaluate` trains nothing: it
measures the model that is there and writes its figures anew.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from tokenizers import Tokenizer
from torch import nn
from transformers import BertModel

LABELS = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]  # the indices of the data, in order
MAX_TOKENS = 64
BATCH = 32


class Classifier(nn.Module):
    """Mean pooling over the tokens, then one linear layer; answers logits [batch, 7]."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.body = BertModel.from_pretrained(weights, add_pooling_layer=False, attn_implementation="eager")
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(self.body.config.hidden_size, len(LABELS))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(self.drop(pooled))


def read(path: Path, limit: int | None) -> tuple[list[str], np.ndarray]:
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.count("\t") >= 2][:limit]
    targets = np.zeros((len(rows), len(LABELS)), dtype=np.float32)
    for row, (_, labels, *_) in enumerate(rows):
        for label in labels.split(","):
            targets[row, int(label)] = 1
    return [row[0] for row in rows], targets


def batches(lengths: list[int], seed: int) -> list[list[int]]:
    """Sentences of like length together, so that little is padding; order of batches shuffled."""
    rng = random.Random(seed)
    order = sorted(range(len(lengths)), key=lambda at: lengths[at] + rng.random() * 4)
    found = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    rng.shuffle(found)
    return found


def padded(ids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, ids))
    input_ids = torch.tensor([each + [0] * (width - len(each)) for each in ids])
    return input_ids, (torch.arange(width)[None, :] < torch.tensor([[len(each)] for each in ids])).long()


def train(model: Classifier, ids: list[list[int]], targets: np.ndarray, args: argparse.Namespace) -> None:
    for parameter in model.body.embeddings.word_embeddings.parameters():
        parameter.requires_grad = False
    schedule = [batch for epoch in range(8) for batch in batches([len(each) for each in ids], args.seed + epoch)]
    schedule = schedule[: int(args.epochs * (len(ids) + BATCH - 1) / BATCH)]
    groups = [
        {"params": [p for p in model.body.parameters() if p.requires_grad], "lr": args.lr, "weight_decay": 0.01},
        {"params": model.head.parameters(), "lr": 1e-3},
    ]
    optimiser = torch.optim.AdamW(groups)
    warm = max(1, len(schedule) // 12)
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm, max(0.0, (len(schedule) - step) / (len(schedule) - warm)))
    )
    first = resume(model, optimiser, decay, args.checkpoint)
    positive = torch.tensor(np.sqrt((1 - targets.mean(0)) / np.maximum(targets.mean(0), 1e-3))).clamp(max=5).float()
    loss_of = nn.BCEWithLogitsLoss(pos_weight=positive)
    model.train()
    began, running = time.time(), 0.0
    for step in range(first, len(schedule)):
        batch = schedule[step]
        loss = loss_of(model(*padded([ids[at] for at in batch])), torch.from_numpy(targets[batch]))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        decay.step()
        running = 0.98 * running + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}/{len(schedule)} loss {running:.4f} {time.time() - began:.0f} s", flush=True)
        if args.checkpoint and step % 200 == 199:
            state = {
                "model": model.state_dict(),
                "opt": optimiser.state_dict(),
                "lr": decay.state_dict(),
                "step": step + 1,
            }
            torch.save(state, args.checkpoint)


def resume(model: nn.Module, optimiser: torch.optim.Optimizer, decay: object, checkpoint: Path | None) -> int:
    if checkpoint is None or not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["opt"])
    decay.load_state_dict(state["lr"])  # type: ignore[attr-defined]
    return int(state["step"])


def logits_of(model: Classifier, ids: list[list[int]]) -> np.ndarray:
    model.eval()
    order = sorted(range(len(ids)), key=lambda at: len(ids[at]))
    found = np.zeros((len(ids), len(LABELS)), dtype=np.float32)
    with torch.no_grad():
        for at in range(0, len(order), 64):
            some = order[at : at + 64]
            found[some] = model(*padded([ids[each] for each in some])).numpy()
    return found


def tune_thresholds(probabilities: np.ndarray, targets: np.ndarray) -> list[float]:
    grid = np.arange(0.05, 0.95, 0.01)
    return [
        float(max(grid, key=lambda t: f1_score(targets[:, label], probabilities[:, label] >= t, zero_division=0)))
        for label in range(len(LABELS))
    ]


def fit_temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """One number T so that softmax(logits / T) is as honest as it can be: least negative log-likelihood on dev."""
    share = targets / np.maximum(targets.sum(1, keepdims=True), 1)

    def nll(temperature: float) -> float:
        scaled = logits / temperature
        log_p = scaled - scaled.max(1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
        return float(-(share * log_p).sum(1).mean())

    return float(min(np.arange(0.3, 4.0, 0.02), key=nll))


def export(model: Classifier, folder: Path, ids: list[list[int]]) -> None:
    """`model.onnx`: int64 input_ids and attention_mask [batch, tokens] -> float32 logits [batch, 7]; weights int8.

    Raises AssertionError where the graph, before it is made int8, does not answer for `ids` what the model does.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model.eval()
    example = (torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))
    full, ready = folder / "full.onnx", folder / "ready.onnx"
    axes = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "tokens"}, "logits": {0: "batch"}}
    torch.onnx.export(
        model, example, str(full), input_names=list(axes)[:2], output_names=["logits"], dynamic_axes=axes,
        opset_version=17, dynamo=False,
    )  # fmt: skip
    apart = np.abs(onnx_logits(full, ids) - logits_of(model, ids)).max()
    assert apart < 1e-3, f"the exported graph differs from the model by {apart}"
    quant_pre_process(str(full), str(ready), skip_symbolic_shape=True)
    quantize_dynamic(str(ready), str(folder / "model.onnx"), weight_type=QuantType.QInt8, per_channel=True)
    full.unlink()
    ready.unlink()


def onnx_logits(path: Path, ids: list[list[int]]) -> np.ndarray:
    """One text a run, as the service does it: int8 activations share one scale per run, so a batch mixes its texts."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = []
    for each in ids:
        feeds = {"input_ids": np.array([each]), "attention_mask": np.ones((1, len(each)), dtype=np.int64)}
        found.append(session.run(None, feeds)[0][0])
    return np.stack(found)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cross_fitted_f1(logits: np.ndarray, targets: np.ndarray, folds: int = 5) -> float:
    """Macro-F1 where the thresholds of every fold were tuned on the other folds."""
    probabilities, chosen = sigmoid(logits), np.zeros_like(targets, dtype=bool)
    fold = np.random.default_rng(0).integers(0, folds, len(targets))
    for each in range(folds):
        thresholds = np.array(tune_thresholds(probabilities[fold != each], targets[fold != each]))
        chosen[fold == each] = probabilities[fold == each] >= thresholds
    return float(f1_score(targets, chosen, average="macro", zero_division=0))


def calibration_error(logits: np.ndarray, targets: np.ndarray, temperature: float) -> float:
    """How far the score of the top label is, on average, from how often it is one of the true ones (ten bins)."""
    shares = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    score = (shares / shares.sum(1, keepdims=True)).max(1)
    right = targets[np.arange(len(targets)), logits.argmax(1)]
    bins = [(score > low) & (score <= low + 0.1) for low in np.arange(0, 1, 0.1)]
    return float(sum(abs(score[b].mean() - right[b].mean()) * b.mean() for b in bins if b.any()))


def quality(logits: np.ndarray, targets: np.ndarray, facts: dict) -> dict:
    """The figures of one set of logits, with the thresholds and the temperature that go with the model."""
    chosen = sigmoid(logits) >= np.array(facts["thresholds"])
    single = targets.sum(1) == 1
    f1 = f1_score(targets, chosen, average=None, zero_division=0)
    accuracy = (logits[single].argmax(1) == targets[single].argmax(1)).mean()
    return {
        "dev_macro_f1": round(float(f1.mean()), 4),
        "dev_macro_f1_cross_fitted": round(cross_fitted_f1(logits, targets), 4),
        "dev_f1": {label: round(float(each), 4) for label, each in zip(LABELS, f1, strict=True)},
        "dev_argmax_accuracy_single_label": round(float(accuracy), 4),
        "dev_calibration_error": round(calibration_error(logits, targets, facts["temperature"]), 4),
        "dev_rows": len(targets),
    }


def compared(full: np.ndarray, logits: np.ndarray, targets: np.ndarray) -> dict:
    """What int8 changed."""
    chosen = sigmoid(full) >= np.array(tune_thresholds(sigmoid(full), targets))
    return {
        "dev_macro_f1_float32": round(float(f1_score(targets, chosen, average="macro", zero_division=0)), 4),
        "int8_same_top_label": round(float((full.argmax(1) == logits.argmax(1)).mean()), 4),
        "int8_mean_logit_difference": round(float(np.abs(full - logits).mean()), 4),
    }


def written(path: Path, content: dict) -> dict:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return content


def evaluate(folder: Path, ids: list[list[int]], targets: np.ndarray) -> dict:
    """The figures of the model in `folder`, beside those of its training that are written there."""
    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    before = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return written(folder / "metrics.json", before | quality(onnx_logits(folder / "model.onnx", ids), targets, facts))


def make(args: argparse.Namespace, tokenizer: Tokenizer, ids: list[list[int]], targets: np.ndarray) -> dict:
    """Train, export and measure; `ids` and `targets` are those of the dev split."""
    texts, train_targets = read(args.data / "ekman-train.tsv", args.rows)
    model = Classifier(args.weights)
    train(model, [each.ids for each in tokenizer.encode_batch(texts)], train_targets, args)
    export(model, args.out, ids[:200])
    tokenizer.save(str(args.out / "tokenizer.json"))
    logits, full = onnx_logits(args.out / "model.onnx", ids), logits_of(model, ids)
    facts = {
        "labels": LABELS,
        "thresholds": [round(each, 2) for each in tune_thresholds(sigmoid(logits), targets)],
        "temperature": round(fit_temperature(logits, targets), 2),
        "max_tokens": MAX_TOKENS,
    }
    how = {"train_rows": len(texts), "epochs": args.epochs, "seed": args.seed}
    written(args.out / "model.json", facts)
    return written(args.out / "metrics.json", quality(logits, targets, facts) | compared(full, logits, targets) | how)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--out", type=Path, default=Path("models/emotion"))
    parser.add_argument("--epochs", type=float, default=1.5)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", type=int, help="only so many rows, for a smoke run")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--evaluate", action="store_true", help="train nothing, measure the model in --out")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.manual_seed(args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(args.weights / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    texts, targets = read(args.data / "ekman-dev.tsv", args.rows)
    ids = [each.ids for each in tokenizer.encode_batch(texts)]
    found = evaluate(args.out, ids, targets) if args.evaluate else make(args, tokenizer, ids, targets)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
