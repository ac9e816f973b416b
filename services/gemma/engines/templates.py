"""Our own chat templates per model family; one inside a file is never run.

A prompt is made of parts that are ours and parts that are somebody's words. Only in ours do the template's tokens count
as tokens: whatever stands in the words stays words.
"""

from __future__ import annotations

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


TEMPLATES = {
    "chatml": Template(chatml, ("<|im_end|>", "<|im_start|>", "<|endoftext|>")),
    "gemma": Template(gemma, ("<end_of_turn>", "<start_of_turn>", "<eos>")),
}


def template_for(name: str, model: str) -> Template:
    """`auto`: by the name of the model's file."""
    if name == "auto":
        name = "gemma" if "gemma" in model.lower() else "chatml"
    return TEMPLATES[name]
