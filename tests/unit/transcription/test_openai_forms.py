"""Forms of OpenAI's clients: what is too much or makes no sense is named."""

from __future__ import annotations

import pytest

from services.transcription import openai
from shared.errors import Invalid
from shared.schemas.openai import AudioForm, DiarizationForm
from shared.schemas.transcription import Segment

MODEL = ("model", "whisper-1")


@pytest.mark.parametrize("kind", [AudioForm, DiarizationForm])
def test_at_least_is_not_more_than_at_most(kind: type[AudioForm] | type[DiarizationForm]) -> None:
    with pytest.raises(Invalid, match="min_speakers") as raised:
        openai.read_form(kind, [MODEL, ("max_speakers", "2"), ("min_speakers", "3")])
    assert raised.value.errors[0].pointer == "/max_speakers"
    assert openai.read_form(kind, [MODEL, ("min_speakers", "2"), ("max_speakers", "2")]).max_speakers == 2


@pytest.mark.parametrize("words", [["x" * 101], ["x"] * 101])
def test_keywords_are_bounded(words: list[str]) -> None:
    with pytest.raises(Invalid) as raised:
        openai.read_form(AudioForm, [MODEL, *(("keywords[]", each) for each in words)])
    assert raised.value.errors[0].pointer.startswith("/keywords")


def test_hotwords_are_cut() -> None:
    pairs = [MODEL, ("prompt", "y" * 900), *(("keywords", "x" * 100) for _ in range(100))]
    hotwords = openai.hotwords_of(openai.read_form(AudioForm, pairs))
    assert hotwords is not None and len(hotwords) == 1_000 and hotwords.startswith("y")


def test_an_arrow_in_the_text_is_no_time_of_a_caption() -> None:
    said = Segment(segment_id="seg_1", start_s=0, end_s=1, speaker="", text="00:00:09 --> 00:00:10", confidence=1)
    captions = openai.plain(AudioForm(model="m", response_format="srt"), [said])
    assert captions is not None and captions.count("-->") == 1
