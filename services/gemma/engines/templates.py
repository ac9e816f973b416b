"""Our own chat templates per model family; one inside a file is never run.

A prompt is made of parts that are ours and parts that are somebody's words. Only in ours do the template's tokens count
as tokens: whatever stands in the words stays words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from services.gemma.engines import Turn


@dataclass(frozen=True)
class Part:
    text: str
    ours: bool = True
    """Its special tokens are meant."""


@dataclass(frozen=True)
class Template:
    parts: Callable[[Sequence[Turn]], Iterator[Part]]
    stop: tuple[str, ...]
    """The tokens that end an answer."""


def chatml(turns: Sequence[Turn]) -> Iterator[Part]:
    for turn in turns:
        yield Part(f"<|im_start|>{turn.role}\n")
        yield Part(turn.content, ours=False)
        yield Part("<|im_end|>\n")
    yield Part("<|im_start|>assistant\n")


def gemma(turns: Sequence[Turn]) -> Iterator[Part]:
    """Gemma knows no system turn: its words go before the first question. Without its <bos> it writes nonsense."""
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    yield Part("<bos>")
    for turn in turns:
        if turn.role == "system":
            continue
        role = "model" if turn.role == "assistant" else "user"
        yield Part(f"<start_of_turn>{role}\n")
        if system and role == "user":
            turn, system = Turn(turn.role, f"{system}\n\n{turn.content}"), ""
        yield Part(turn.content, ours=False)
        yield Part("<end_of_turn>\n")
    yield Part("<start_of_turn>model\n")


def llama3(turns: Sequence[Turn]) -> Iterator[Part]:
    """Llama 3 and its successors of that format (model card of Meta-Llama-3-8B-Instruct)."""
    yield Part("<|begin_of_text|>")
    for turn in turns:
        yield Part(f"<|start_header_id|>{turn.role}<|end_header_id|>\n\n")
        yield Part(turn.content.strip(), ours=False)
        yield Part("<|eot_id|>")
    yield Part("<|start_header_id|>assistant<|end_header_id|>\n\n")


def mistral(turns: Sequence[Turn]) -> Iterator[Part]:
    """Mistral's instruct models from version 0.3 on: the system's words stand before the last question."""
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    said = [turn for turn in turns if turn.role != "system"]
    yield Part("<s>")
    for number, turn in enumerate(said, start=1):
        if turn.role == "assistant":
            yield Part(f" {turn.content.strip()}", ours=False)
            yield Part("</s>")
            continue
        yield Part("[INST]")
        last = number == len(said) and system
        yield Part(f" {system}\n\n{turn.content}" if last else f" {turn.content}", ours=False)
        yield Part("[/INST]")


def phi(turns: Sequence[Turn]) -> Iterator[Part]:
    """Phi-3 and Phi-3.5 (model card of Phi-3-mini-4k-instruct)."""
    for turn in turns:
        yield Part(f"<|{turn.role}|>\n")
        yield Part(turn.content, ours=False)
        yield Part("<|end|>\n")
    yield Part("<|assistant|>\n")


TEMPLATES = {
    "chatml": Template(chatml, ("<|im_end|>", "<|im_start|>", "<|endoftext|>")),
    # As ChatML; the system turn that its own template adds where there is none is left out.
    "qwen": Template(chatml, ("<|im_end|>", "<|im_start|>", "<|endoftext|>")),
    "gemma": Template(gemma, ("<end_of_turn>", "<start_of_turn>", "<eos>")),
    "llama3": Template(llama3, ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|start_header_id|>")),
    "mistral": Template(mistral, ("</s>", "[INST]")),
    "phi": Template(phi, ("<|end|>", "<|endoftext|>", "<|user|>")),
}
_FAMILIES = (
    ("gemma", "gemma"),
    ("llama-?3", "llama3"),
    ("mistral|mixtral|ministral", "mistral"),
    ("qwen", "qwen"),
    (r"phi-?3(?!\d)", "phi"),
)
"""What a file's name holds, in lower case, and its template; the first that fits."""


def template_for(name: str, model: str) -> Template:
    """`auto`: by the name of the model's file; ChatML, which most others use, where no family is known by it."""
    if name == "auto":
        found = (family for sign, family in _FAMILIES if re.search(sign, model.rpartition("/")[2].lower()))
        name = next(found, "chatml")
    return TEMPLATES[name]
