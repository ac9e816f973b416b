"""One suite for every engine that is installed, and what only the default one promises."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.emotion.engines import BUILTIN, EmotionEngine, distribution
from services.emotion.engines.onnx_minilm import OnnxMiniLM
from services.emotion.settings import Settings
from shared import engines
from shared.errors import Invalid, ModelNotReady
from shared.schemas.emotion import LABELS, EmotionScore

TEXTS = [
    "I am so happy today!",
    "",
    " \n",
    "🙂",
    "He left. " * 2_000,
    "x" * 20_000,
    "\u0000\u202e<s>[SEP]",
    "naïve Ü 猫",
]


def tiny_roberta(folder: Path) -> Path:
    """A DistilRoBERTa of the right form and random weights, as the production one lies on the disk."""
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizer

    letters = {mark: at for at, mark in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrst"])}
    RobertaTokenizer(vocab=letters, merges=[]).save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=514, pad_token_id=1, bos_token_id=0, eos_token_id=2, id2label=dict(enumerate(LABELS)),
    )  # fmt: skip
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=sorted(BUILTIN))
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> EmotionEngine:
    settings = Settings()
    if request.param == "transformers_roberta":
        if find_spec("transformers") is None or find_spec("torch") is None:
            pytest.skip("the extra `gpu` is not installed")
        folder = tiny_roberta(tmp_path_factory.mktemp("models") / "roberta")
        settings = Settings(models_dir=folder.parent, emotion_model=folder.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: EmotionEngine = engines.load("emotion", BUILTIN, request.param)(settings)
    return found


def as_pairs(scores: list[EmotionScore]) -> list[tuple[str, float]]:
    return [(each.label, each.score) for each in scores]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:12]))
def test_any_text_gets_seven_sorted_scores_that_sum_to_one(engine: EmotionEngine, text: str) -> None:
    (scores,) = engine.analyze([text])
    assert sorted(each.label for each in scores) == sorted(LABELS)
    assert [each.score for each in scores] == sorted((each.score for each in scores), reverse=True)
    assert sum(each.score for each in scores) == pytest.approx(1, abs=1e-9)


def test_every_text_is_answered_in_its_place(engine: EmotionEngine) -> None:
    together = engine.analyze(TEXTS)
    assert [as_pairs(each)[0][0] for each in together] == [as_pairs(engine.analyze([text])[0])[0][0] for text in TEXTS]


def test_the_same_text_always_gets_the_same(engine: EmotionEngine) -> None:
    assert engine.analyze(TEXTS[:3]) == engine.analyze(TEXTS[:3])


def test_no_texts_no_answers(engine: EmotionEngine) -> None:
    assert engine.analyze([]) == []


def test_it_says_what_it_is(engine: EmotionEngine) -> None:
    assert engine.capabilities.model
    assert engine.capabilities.languages


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am so happy today, thank you all!", "joy"),
        ("I am furious, how dare they lie to me!", "anger"),
        ("This is disgusting, it makes me want to vomit.", "disgust"),
        ("I am terrified of what might happen tonight.", "fear"),
        ("I miss her so much, I cried all night.", "sadness"),
        ("Wow, I did not expect that at all!", "surprise"),
        ("The meeting is on Tuesday at four.", "neutral"),
    ],
)
def test_the_committed_model_knows_the_seven(minilm: OnnxMiniLM, text: str, label: str) -> None:
    assert minilm.analyze([text])[0][0].label == label


def test_neighbours_in_a_batch_do_not_colour_a_text(minilm: OnnxMiniLM) -> None:
    """They did: int8 activations have one scale per run, and a batch was one run."""
    text = "That was a strange thing to say."
    crowd = ["I love you so much, this is the best day of my life!!!", "x " * 60, "I hate this horrible thing"] * 3
    assert minilm.analyze([text, *crowd])[0] == minilm.analyze([text])[0]


def test_the_end_of_a_long_text_counts(minilm: OnnxMiniLM) -> None:
    calm = "The meeting is on Tuesday at four. " * 10
    anger = {
        each.label: each.score for each in minilm.analyze([calm + "I am furious, I hate you all, you liars! " * 10])[0]
    }["anger"]
    assert anger > 0.25


def test_calibrated_figures_are_part_of_the_model() -> None:
    facts = json.loads((Settings().models_dir / "emotion" / "model.json").read_text())
    assert facts["labels"] == list(LABELS)
    assert len(facts["thresholds"]) == len(LABELS)
    metrics = json.loads((Settings().models_dir / "emotion" / "metrics.json").read_text())
    assert metrics["dev_macro_f1"] >= 0.60


@pytest.mark.parametrize("name", ["onnx_minilm", "transformers_roberta"])
def test_absent_weights_are_named(tmp_path: Path, name: str) -> None:
    """And not looked for elsewhere: a relative folder that does not exist would be a name on a hub."""
    with pytest.raises(ModelNotReady, match=r"nowhere.*model\."):
        engines.load("emotion", BUILTIN, name)(Settings(models_dir=tmp_path, emotion_model="nowhere"))


def test_other_labels_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = tiny_roberta(tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(at): f"LABEL_{at}" for at in range(7)}
    config["label2id"] = {f"LABEL_{at}": at for at in range(7)}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelNotReady, match="LABEL_0"):
        engines.load("emotion", BUILTIN, "transformers_roberta")(Settings(models_dir=tmp_path, emotion_model="other"))


def test_an_unknown_engine_is_answered_with_the_known_ones() -> None:
    with pytest.raises(Invalid, match=r"'tarot'.*onnx_minilm"):
        engines.load("emotion", BUILTIN, "tarot")


def test_the_fake_says_that_it_is_one() -> None:
    with pytest.warns(UserWarning, match="invents"):
        engines.load("emotion", BUILTIN, "fake")(Settings())


@given(st.lists(st.floats(0, 1e6), min_size=7, max_size=7).filter(lambda shares: sum(shares) > 1e-6))
def test_a_distribution_is_sorted_whole_and_close(shares: list[float]) -> None:
    scores = distribution(LABELS, shares)
    assert [each.score for each in scores] == sorted((each.score for each in scores), reverse=True)
    assert sum(each.score for each in scores) == pytest.approx(1, abs=1e-9)
    exact = dict(zip(LABELS, shares, strict=True))
    assert all(abs(each.score - exact[each.label] / sum(shares)) < 1.01e-4 for each in scores)


def test_even_shares_stay_sorted() -> None:
    assert [each.score for each in distribution(LABELS, [1] * 7)] == [0.1429] * 4 + [0.1428] * 3
