"""Our own chat templates per model family; one inside a file is never run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.gemma.engines import Turn


def chatml(turns: Sequence[Turn]) -> str:
    body = "".join(f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n" for turn in turns)
    return f"{body}<|im_start|>assistant\n"


def gemma(turns: Sequence[Turn]) -> str:
    """Gemma knows no system turn: its words go before the first question."""
    system = "\n\n".join(turn.content for turn in turns if turn.role == "system")
    body, first = "", True
    for turn in turns:
        if turn.role == "system":
            continue
        content = f"{system}\n\n{turn.content}" if first and turn.role == "user" and system else turn.content
        first = first and turn.role != "user"
        role = "model" if turn.role == "assistant" else "user"
        body += f"<start_of_turn>{role}\n{content}<end_of_turn>\n"
    return f"{body}<start_of_turn>model\n"


TEMPLATES: dict[str, tuple[Callable[[Sequence[Turn]], str], list[str]]] = {
    "chatml": (chatml, ["<|im_end|>", "<|im_start|>", "<|endoftext|>"]),
    "gemma": (gemma, ["<end_of_turn>", "<start_of_turn>"]),
}


def template_for(name: str, model: str) -> tuple[Callable[[Sequence[Turn]], str], list[str]]:
    """The template and the words that end an answer."""
    if name == "auto":
        name = "gemma" if "gemma" in model.lower() else "chatml"
    return TEMPLATES[name]
