"""NVIDIA NeMo for real, with small models of Parakeet's and TitaNet's kind: `make test-nemo`, offline."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from services.transcription.engines.served import Speech
from services.transcription.settings import Settings
from shared.errors import Invalid, ModelNotReady
from shared.gpu.supervisor import ModelChild
from tests.unit.transcription.test_engines import FIXTURES, RATE_HZ, errors, require_order, synthetic_sound, words_of

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.skipif(find_spec("nemo") is None, reason="NeMo is not installed here; `make test-nemo` does it"),
]
FOLDER = FIXTURES / "nemo"
VOICES = ("adam", "fiona", "klatt")
OWN_ERRORS = 0.04
"""Of words in long sound, where the small TDT model itself misses one now and then, in the middle of a piece too."""


def settings(**changes: object) -> Settings:
    chosen = {"engine": "nemo", "models_dir": FOLDER, "transcription_model": "tdt.nemo", "threads": 1}
    return Settings(**(chosen | changes))


def sentence(seed: int, count: int) -> tuple[list[str], str]:
    """Words in an order that no training saw, and who says them."""
    draw = random.Random(seed)
    words = list(json.loads((FOLDER / "words.json").read_text())["adam"])
    return [draw.choice(words) for _ in range(count)], draw.choice(VOICES)


def long_sound(seconds: float) -> tuple[np.ndarray, list[str]]:
    """Sentences with pauses of a third of a second: no stretch of silence is long enough for a natural cut."""
    sounds, said = [], []
    for seed in itertools.count():
        words, voice = sentence(seed, 5)
        sounds.append(synthetic_sound(voice, words, gap_s=0.15, around_s=0.15))
        said += words
        if sum(map(len, sounds)) >= seconds * RATE_HZ:
            return np.concatenate(sounds), said
    raise AssertionError


@pytest.fixture(scope="module", params=["tdt", "rnnt"])
def nemo(request: pytest.FixtureRequest):
    from services.transcription.engines.nemo import Nemo

    return Nemo(settings(transcription_model=f"{request.param}.nemo", nemo_chunk_s=5.0))


@pytest.mark.parametrize("seed", range(100, 106))
def test_unseen_sentences_are_understood(nemo, seed: int) -> None:
    words, voice = sentence(seed, 4)
    assert errors(" ".join(words), nemo.transcribe(synthetic_sound(voice, words))) == 0


def test_word_times_and_confidence_are_real(nemo) -> None:
    words, _ = sentence(7, 5)
    where = json.loads((FOLDER / "words.json").read_text())["adam"]
    at_s, wanted = 0.5, []
    for each in words:
        long_s = (where[each][1] - where[each][0]) / RATE_HZ
        wanted.append((at_s, at_s + long_s))
        at_s += long_s + 0.3
    heard = words_of(nemo.transcribe(synthetic_sound("adam", words, gap_s=0.3)))
    assert [each.word for each in heard] == words
    for word, (start_s, end_s) in zip(heard, wanted, strict=True):
        assert min(word.end_s, end_s) - max(word.start_s, start_s) > 0, (word, start_s, end_s)
    assert len({each.confidence for each in heard}) > 1 and min(each.confidence for each in heard) < 1


def test_many_pieces_in_few_batches_are_the_same_text(nemo) -> None:
    sound, said = long_sound(20)
    heard = nemo.transcribe(sound)
    require_order(heard, sound)
    assert errors(" ".join(said), heard) <= OWN_ERRORS


def test_half_the_bits_hear_the_same() -> None:
    from services.transcription.engines.nemo import Nemo

    words, voice = sentence(3, 5)
    sound = synthetic_sound(voice, words)
    assert errors(" ".join(words), Nemo(settings(nemo_dtype="bf16")).transcribe(sound)) == 0


def test_a_name_of_the_hub_is_loaded_from_its_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the hub's own client lays it out."""
    from huggingface_hub import constants, file_download

    from services.transcription.engines.nemo import Nemo

    revision = "a" * 40
    model = tmp_path / "models--nvidia--parakeet-tdt-0.6b"
    (model / "snapshots" / revision).mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(revision)
    shutil.copy(FOLDER / "tdt.nemo", model / "snapshots" / revision / "parakeet-tdt-0.6b.nemo")
    for each in (constants, file_download):
        monkeypatch.setattr(each, "HF_HUB_CACHE", str(tmp_path), raising=False)
    engine = Nemo(settings(models_dir=tmp_path / "none", transcription_model="nvidia/parakeet-tdt-0.6b"))
    words, voice = sentence(4, 4)
    assert errors(" ".join(words), engine.transcribe(synthetic_sound(voice, words))) == 0


@pytest.mark.parametrize("name", ["stt_en_conformer_transducer_small", "nvidia/no-such-model", "", "../tdt", "a/b/c"])
def test_an_unknown_name_is_refused_and_nothing_is_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them a name that NeMo would fetch by itself."""
    import socket

    from services.transcription.engines.nemo import Nemo

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(ModelNotReady, match=r"nemo models pull|holds 3"):
        Nemo(settings(transcription_model=name))


def test_a_folder_with_one_file_is_enough(tmp_path: Path) -> None:
    from services.transcription.engines.nemo import Nemo

    (tmp_path / "parakeet").mkdir()
    shutil.copy(FOLDER / "rnnt.nemo", tmp_path / "parakeet" / "anything.nemo")
    assert Nemo(settings(models_dir=tmp_path, transcription_model="parakeet")).capabilities.word_timestamps


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    from services.transcription.engines.nemo import Nemo

    (tmp_path / "broken.nemo").write_bytes((FOLDER / "rnnt.nemo").read_bytes()[:100_000])
    with pytest.raises(ModelNotReady, match=r"broken\.nemo"):
        Nemo(settings(models_dir=tmp_path, transcription_model="broken.nemo"))


@pytest.fixture(scope="module")
def titanet():
    from services.transcription.engines.titanet import TitaNet

    return TitaNet(settings(titanet_model="titanet.nemo"))


def test_the_same_voice_is_closer_than_another(titanet) -> None:
    found = [
        (voice, titanet.vector(synthetic_sound(voice, sentence(seed, 3)[0])))
        for voice in VOICES
        for seed in (50, 51, 52)
    ]
    assert all(vector.dtype == np.float32 and vector.shape == (192,) for _, vector in found)
    assert all(np.linalg.norm(vector) == pytest.approx(1, abs=1e-5) for _, vector in found)
    pairs = list(itertools.combinations(found, 2))
    same = [float(a @ b) for (one, a), (other, b) in pairs if one == other]
    different = [float(a @ b) for (one, a), (other, b) in pairs if one != other]
    assert min(same) > max(different)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((16_000, 2), np.float32),
        np.zeros(16_000, np.int16),
        np.zeros(0, np.float32),
        np.zeros(1_599, np.float32),
    ],
    ids=["stereo", "int16", "nothing", "short"],
)
def test_what_is_no_voice_is_refused(titanet, wrong: np.ndarray) -> None:
    with pytest.raises(Invalid):
        titanet.vector(wrong)


async def test_forty_seconds_and_voices_through_the_model_s_own_process(titanet) -> None:
    chosen = settings(nemo_chunk_s=8.0, speaker_encoder="titanet", titanet_model="titanet.nemo")
    child = ModelChild("services.transcription.engines.served:open_speech", chosen.plain())
    speech = Speech(child)
    try:
        await child.wake()
        sound, said = long_sound(40)
        heard = await speech.transcribe(sound)
        require_order(heard, sound)
        assert errors(" ".join(said), heard) <= OWN_ERRORS
        short = synthetic_sound("adam", said[:3])
        voice = await speech.voice(short)
        assert voice.dtype == np.float32 and float(voice @ titanet.vector(short)) == pytest.approx(1, abs=1e-4)
        assert await speech.pauses(np.zeros(32_000, dtype=np.float32)) == [(0.0, 2.0)]
        await child.park()
        await child.wake()
        assert [each.text for each in (await speech.transcribe(sound)).segments] == [e.text for e in heard.segments]
        with pytest.raises(Invalid, match="understands en only"):
            await speech.transcribe(sound, language="de")
    finally:
        await child.kill()


async def test_its_process_says_what_is_missing(tmp_path: Path) -> None:
    chosen = settings(models_dir=tmp_path, transcription_model="parakeet-tdt-0.6b-v2")
    child = ModelChild("services.transcription.engines.served:open_speech", chosen.plain())
    try:
        with pytest.raises(ModelNotReady, match=r"nemo models pull parakeet-tdt-0\.6b-v2"):
            await child.wake()
    finally:
        await child.kill()
