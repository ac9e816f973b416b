"""From three recordings to a sealed vault, as a user goes: every citation plays what it quotes, and a lock holds."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import soundfile

from services.cli.demo import RECORDING
from tests.conftest import AUDIO, Platform

PASSWORD = "a long enough pass phrase"
QUESTIONS = (
    ("What should Americans ask about their country?", "country"),
    ("What did Mister John Dashwood have leisure to consider?", "prudently"),
    ("What should a doctor do when in doubt?", "technical"),
)


@pytest.fixture
def house(tmp_path: Path, models_dir: Path) -> Iterator[Platform]:
    running = Platform(tmp_path / "data")
    running.start()
    yield running
    running.stop()


def heard(client: httpx.Client, citation: dict[str, Any]) -> str:
    """What the cited seconds of the recording say when they are played to the speech engine."""
    whole = client.get(f"/transcription/{citation['transcript_id']}/audio").raise_for_status().content
    sound, rate_hz = soundfile.read(io.BytesIO(whole))
    start, end = (int(citation[name] * rate_hz) for name in ("start_s", "end_s"))
    cut = io.BytesIO()
    soundfile.write(cut, sound[max(0, start - rate_hz // 4) : end + rate_hz // 4], rate_hz, format="WAV")
    form = {"model": "whisper-1", "response_format": "json"}
    answer = client.post("/v1/audio/transcriptions", files={"file": ("cut.wav", cut.getvalue())}, data=form)
    return str(answer.raise_for_status().json()["text"]).lower()


@pytest.mark.timeout(1500)
def test_three_recordings_five_questions_and_a_sealed_vault(house: Platform) -> None:
    anna = house.client("anna")
    for path in (AUDIO / "jfk.flac", AUDIO / "librivox-sas-0870.wav", RECORDING):
        with path.open("rb") as file:
            answer = anna.post("/transcription/upload", files={"file": (path.name, file)}, params={"wait_s": 280})
        assert answer.status_code == 201, answer.text
    for question, word in QUESTIONS:
        answer = anna.post("/gemma/chat", json={"message": question, "max_tokens": 40}).raise_for_status().json()
        told = next(each for each in answer["citations"] if word in each["quote"].lower())
        assert word in heard(anna, told), told
    token = anna.post("/auth/tokens", json={"name": "script", "scopes": ["chat", "memory"]}).raise_for_status().json()
    client = openai.OpenAI(base_url=f"{house.url}/v1", api_key=token["token"], timeout=300)
    model = next(each.id for each in client.models.list().data if "smollm" in each.id)
    for question, word in QUESTIONS[:2]:
        found = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": question}],
            max_tokens=40,
            extra_headers={"X-Nemo-Memory": "read"},
        )
        assert found.choices[0].message.content
        cited = (found.model_extra or {})["nemo"]["citations"]
        assert word in heard(anna, next(each for each in cited if word in each["quote"].lower()))

    sealed = anna.post("/vault/seal", json={"password": PASSWORD}).raise_for_status().json()
    assert sealed["recovery_code"]
    house.stop()
    house.start()
    access = {"Authorization": anna.headers["Authorization"]}
    with httpx.Client(base_url=house.url, headers=access, timeout=300) as again:
        assert again.get("/vault").json()["locked"] is True
        for path in ("/transcription/recent", "/rag/memories", "/gemma/conversations"):
            assert again.get(path).status_code == 423
        asked = again.post("/gemma/chat", json={"message": QUESTIONS[0][0]})
        assert asked.status_code == 423 and asked.json()["code"] == "vault_locked"
        assert again.post("/vault/unlock", json={"password": "not the pass phrase"}).status_code == 422
        again.post("/vault/unlock", json={"password": PASSWORD}).raise_for_status()
        answer = (
            again.post("/gemma/chat", json={"message": QUESTIONS[0][0], "max_tokens": 40}).raise_for_status().json()
        )
        assert QUESTIONS[0][1] in heard(again, answer["citations"][0])
    anna.close()
