"""Arousal beside the same speaker's other segments, and what it makes of the words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.emotion.engines import distribution
from services.emotion.fusion import EXPECTED_AROUSAL, LEAST_SEGMENTS, arousal, emotions_of, fit
from shared.schemas.emotion import LABELS, EmotionScore
from shared.schemas.transcription import SpanEmotion, SpanMetrics

TEXT = "this is what they said"
BY = ["A"] * 12


def usual(count: int = 12, level_db: float = -25.0, pitch_hz: float = 120.0, seed: int = 1) -> list[SpanMetrics]:
    """One voice as it varies in calm talk."""
    rng = np.random.default_rng(seed)
    return [
        SpanMetrics(
            rms_db=level_db + rng.normal(0, 2),
            pitch_mean_hz=pitch_hz * 2 ** (rng.normal(0, 1) / 12),
            pitch_std_hz=pitch_hz * 0.15 * 2 ** rng.normal(0, 0.3),
            speaking_rate_wpm=160 * 2 ** rng.normal(0, 0.2),
        )
        for _ in range(count)
    ]


def text_scores(**shares: float) -> list[EmotionScore]:
    rest = (1 - sum(shares.values())) / (len(LABELS) - len(shares))
    return distribution(LABELS, [shares.get(label, rest) for label in LABELS])


def changed(metrics: SpanMetrics, *, db: float = 0.0, semitones: float = 0.0, faster: float = 1.0) -> SpanMetrics:
    """Higher without a flatter melody: the spread of pitch in hertz grows with its mean."""
    up = 2 ** (semitones / 12)
    return metrics.model_copy(
        update={
            "rms_db": metrics.rms_db + db,
            "pitch_mean_hz": metrics.pitch_mean_hz * up,
            "pitch_std_hz": metrics.pitch_std_hz * up,
            "speaking_rate_wpm": metrics.speaking_rate_wpm * faster,
        }
    )


def louder(metrics: SpanMetrics) -> SpanMetrics:
    return changed(metrics, db=9, semitones=6, faster=1.4)


def test_an_outburst_is_aroused_and_a_murmur_is_not() -> None:
    voice = usual()
    voice[3] = louder(voice[3])
    voice[7] = changed(voice[7], db=-9, semitones=-6, faster=0.7)
    found = arousal(BY, voice)
    assert found[3] == max(found)
    assert found[7] == min(found)
    assert found[3] > 0.8 > 0.2 > found[7]
    assert np.median(found) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("cue", [{"db": 2.0}, {"semitones": 1.5}, {"faster": 1.15}])
def test_each_cue_alone_raises_it_step_by_step(cue: dict[str, float]) -> None:
    voice = [usual()]
    for _ in range(4):
        voice.append([*voice[-1][:5], changed(voice[-1][5], **cue), *voice[-1][6:]])
    levels = [arousal(BY, each)[5] for each in voice]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 0.05


def test_a_loud_high_voice_is_not_excited_everywhere() -> None:
    calm, loud = usual(seed=1), usual(level_db=-9, pitch_hz=260, seed=2)
    both = [each for pair in zip(calm, loud, strict=True) for each in pair]
    found = arousal(["A", "B"] * 12, both)
    assert np.mean(found[1::2]) == pytest.approx(0.5, abs=0.1)
    assert found[::2] == arousal(BY, calm), "what another speaker does changes nothing"


def test_too_few_segments_tell_nothing() -> None:
    few = usual(LEAST_SEGMENTS - 1)
    assert arousal(["A"] * len(few), few) == [None] * len(few)
    one_more = arousal(["A"] * LEAST_SEGMENTS, usual(LEAST_SEGMENTS))
    assert None not in one_more


def test_a_segment_that_was_not_measured_has_no_arousal() -> None:
    voice: list[SpanMetrics | None] = [*usual(12), None, SpanMetrics(rms_db=-120)]
    found = arousal(["A"] * 14, voice)
    assert found[12:] == [None, None]
    assert None not in found[:12]


def test_a_machine_that_never_changes_its_voice() -> None:
    """No spread at all must not make an outburst of a rounding error."""
    voice = [SpanMetrics(rms_db=-20, pitch_mean_hz=100, pitch_std_hz=0, speaking_rate_wpm=150)] * 11
    found = arousal(BY, [*voice, voice[0].model_copy(update={"rms_db": -19.9, "pitch_mean_hz": 100.1})])
    assert found[:11] == [0.5] * 11
    assert found[11] == pytest.approx(0.5, abs=0.02)


def test_without_metrics_the_words_stay_as_they_are() -> None:
    scores = [text_scores(anger=0.5), text_scores(joy=0.9)] * 6
    for (fused, emotion), words in zip(emotions_of(scores, [TEXT] * 12, BY, [None] * 12), scores, strict=True):
        assert fused == words
        assert (emotion.label, emotion.score) == (words[0].label, words[0].score)
        assert emotion.agreement is None
        assert emotion.metrics is None


def said(scores: list[EmotionScore], aroused: bool) -> tuple[list[EmotionScore], SpanEmotion]:
    voice = usual()
    voice[0] = louder(voice[0]) if aroused else changed(voice[0], db=-9, semitones=-6, faster=0.7)
    return emotions_of([scores] * 12, [TEXT] * 12, BY, voice)[0]


def test_the_voice_shifts_weight_among_what_the_words_name() -> None:
    scores = text_scores(anger=0.45, sadness=0.42)
    excited, calm = said(scores, aroused=True), said(scores, aroused=False)
    assert excited[1].label == "anger"
    assert calm[1].label == "sadness"
    assert sum(each.score for each in excited[0]) == pytest.approx(1)
    assert excited[1].metrics.arousal > 0.7 > 0.3 > calm[1].metrics.arousal


def test_the_voice_alone_never_outvotes_clear_words() -> None:
    clear = text_scores(joy=0.9)
    assert said(clear, aroused=False)[1].label == "joy"
    assert said(text_scores(sadness=0.9), aroused=True)[1].label == "sadness"


def test_agreement_and_confidence_tell_of_a_voice_that_does_not_fit() -> None:
    angry = text_scores(anger=0.9)
    fits, contradicts = said(angry, aroused=True)[1], said(angry, aroused=False)[1]
    assert fits.agreement > 0.9 > 0.3 > contradicts.agreement
    assert fits.confidence > 0.5 > contradicts.confidence


def test_little_said_is_little_known() -> None:
    words = [text_scores(joy=0.9)] * 3
    found = [each.confidence for _, each in emotions_of(words, ["yes", "oh yes", "oh yes please"], BY[:3], [None] * 3)]
    assert found == sorted(found)
    assert found[0] < 0.2
    assert emotions_of([text_scores()], [TEXT], ["A"], [None])[0][1].confidence < 0.5


def test_what_is_expected_of_each_label() -> None:
    assert set(EXPECTED_AROUSAL) == set(LABELS)
    assert all(fit(label, value) == 1 for label, value in EXPECTED_AROUSAL.items())


def test_no_segments() -> None:
    assert emotions_of([], [], [], []) == []


NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.none() | st.builds(
    SpanMetrics,
    rms_db=st.floats(-1e300, 1e300),
    pitch_mean_hz=NUMBER,
    pitch_std_hz=NUMBER,
    speaking_rate_wpm=NUMBER,
)


@given(st.lists(st.tuples(st.sampled_from("AB"), METRICS), max_size=40))
def test_whatever_is_sent_the_answer_is_finite_and_repeatable(segments: list[tuple[str, SpanMetrics | None]]) -> None:
    speakers, metrics = [each[0] for each in segments], [each[1] for each in segments]
    scores, texts = [text_scores(fear=0.4)] * len(segments), [TEXT] * len(segments)
    found = emotions_of(scores, texts, speakers, metrics)
    assert found == emotions_of(scores, texts, speakers, metrics)
    for fused, emotion in found:
        assert sum(each.score for each in fused) == pytest.approx(1)
        assert 0 <= emotion.confidence <= 1
        assert emotion.agreement is None or 0 <= emotion.agreement <= 1
