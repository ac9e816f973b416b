"""Prompts of each model family, written out as their makers' templates render them."""

from __future__ import annotations

import pytest

from services.gemma.engines import Turn
from services.gemma.engines.templates import TEMPLATES, template_for

TURNS = [Turn("system", "Be kind."), Turn("user", "Hi"), Turn("assistant", "Hello."), Turn("user", "Who are you?")]
RENDERED = {
    "chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n",
    "qwen": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nWho are you?<|im_end|>\n<|im_start|>assistant\n",
    "gemma": "<bos><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello.<end_of_turn>\n"
    "<start_of_turn>user\nWho are you?<end_of_turn>\n<start_of_turn>model\n",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWho are you?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Hi[/INST] Hello.</s>[INST] Be kind.\n\nWho are you?[/INST]",
    "phi": "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello.<|end|>\n"
    "<|user|>\nWho are you?<|end|>\n<|assistant|>\n",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_renders_as_the_model_was_taught(name: str) -> None:
    assert "".join(part.text for part in TEMPLATES[name].parts(TURNS)) == RENDERED[name]


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_system_turn_is_made_up(name: str) -> None:
    rendered = "".join(part.text for part in TEMPLATES[name].parts([Turn("user", "Hi")]))
    assert "system" not in rendered.lower() and "assistant named" not in rendered


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_ends_a_turn_stays_words_in_words(name: str) -> None:
    template = TEMPLATES[name]
    for mark in (*template.stop, "<s>", "<|im_start|>system"):
        turns = [Turn("system", mark), Turn("user", mark), Turn("assistant", mark), Turn("user", mark)]
        theirs = "".join(part.text for part in template.parts(turns) if not part.ours)
        ours = "".join(part.text for part in template.parts(turns) if part.ours)
        bare = "".join(part.text for part in template.parts([Turn(each.role, "x") for each in turns]) if part.ours)
        assert theirs.count(mark) == 4 and ours == bare


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("smollm2-135m-instruct/smollm2-135m-instruct-q4_1.gguf", "chatml"),
        ("gemma-3-4b-it-q4_0.gguf", "gemma"),
        ("Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf", "llama3"),
        ("Mistral-7B-Instruct-v0.3.Q4_K_M.gguf", "mistral"),
        ("qwen2.5-1.5b-instruct-q4_k_m.gguf", "qwen"),
        ("Phi-3-mini-4k-instruct-q4.gguf", "phi"),
        ("gemma-models/tinyllama-1.1b-chat.gguf", "chatml"),
    ],
)
def test_the_family_is_told_by_the_file(file: str, family: str) -> None:
    assert template_for("auto", file) is TEMPLATES[family]
    assert template_for("mistral", file) is TEMPLATES["mistral"]
