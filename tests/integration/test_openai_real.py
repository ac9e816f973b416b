"""The official client against the real model in its own process; and that server as another one's language model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from shared.auth.service_tokens import ServiceIdentity
from shared.schemas.ids import new_id
from shared.settings import ServiceSettings
from tests.conftest import ROOT, free_ports
from tests.gateway_house import bearer, gateway, join, served, settings_for
from tests.integration.transcription_house import Caller, House, database

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="the language runtime is not built (`nemo up` builds it)"
)
MODEL = "smollm2-135m-instruct-q4_1"
ASK: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


class ChatHouse(House):
    services = ("gpu-coordinator", "rag", "gemma")


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, redis_url: str, models_dir: Path
) -> Iterator[ChatHouse]:
    made = ChatHouse(tmp_path_factory.mktemp("house"), database(postgres_server), redis_url)
    made.start()
    yield made
    made.stop()


@pytest.fixture
async def door(house: ChatHouse, tmp_path: Path) -> AsyncIterator[tuple[AsyncOpenAI, httpx.AsyncClient]]:
    urls = {f"{name.replace('-', '_')}_url": house.url(name) for name in house.ports}
    app = gateway(settings_for(tmp_path, **urls))
    app.state.identity = ServiceIdentity.from_settings("api-gateway", ServiceSettings(data_dir=house.folder))
    async with served(app) as url, httpx.AsyncClient(base_url=url, timeout=120) as http:
        http.headers.update(bearer(await join(http)))
        token = await http.post("/auth/tokens", json={"name": "key", "scopes": ["chat"]})
        key = token.json()["token"]
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120) as client:
            yield client, http


Opened = tuple[AsyncOpenAI, httpx.AsyncClient]


async def test_words_usage_and_a_stream(door: Opened) -> None:
    client, _ = door
    assert [model.id async for model in client.models.list()] == [MODEL, "all-minilm-l6-v2"]
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=40, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    # <|im_start|>user \n ... <|im_end|> \n <|im_start|>assistant \n: more than the question's words
    assert answer.usage.prompt_tokens > 10 and 1 <= answer.usage.completion_tokens <= 40
    stream = await client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=4, temperature=0, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said and (answer.choices[0].message.content or "").startswith(said)
    assert chunks[-1].choices[0].finish_reason == "length"
    assert last.usage is not None and last.usage.completion_tokens == 4
    assert last.usage.prompt_tokens == answer.usage.prompt_tokens


async def test_a_memory_with_its_citation(door: Opened) -> None:
    client, http = door
    (await http.post("/rag/memory", json={"content": "The plumber comes on Friday at nine."})).raise_for_status()
    answer = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "When does the plumber come?"}], max_tokens=30,
        temperature=0, extra_headers={"X-Nemo-Memory": "read"},
    )  # fmt: skip
    nemo = (answer.model_extra or {})["nemo"]
    assert nemo["citations"][0]["quote"] == "The plumber comes on Friday at nine." and nemo["memories"] == 1
    assert "Friday" in (answer.choices[0].message.content or "")


async def test_an_answer_in_the_shape_of_a_schema(door: Opened) -> None:
    client, _ = door
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "large": {"type": "boolean"}},
        "required": ["city", "large"],
        "additionalProperties": False,
    }
    answer = await client.chat.completions.create(
        model=MODEL, messages=ASK, max_tokens=100, temperature=0, seed=1,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )  # fmt: skip
    found = json.loads(answer.choices[0].message.content or "")
    assert set(found) == {"city", "large"} and isinstance(found["large"], bool)
    assert answer.choices[0].finish_reason == "stop"


async def test_a_stop_ends_it(door: Opened) -> None:
    client, _ = door
    answer = await client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=40, temperature=0, stop="Paris")
    assert "Paris" not in (answer.choices[0].message.content or "") and answer.choices[0].finish_reason == "stop"


async def test_this_server_as_the_language_model_of_another(house: ChatHouse, door: Opened, tmp_path: Path) -> None:
    """A second chat service, without a model of its own, answers from memories with the first one's words."""
    client, _ = door
    key = tmp_path / "key"
    key.write_text(client.api_key)
    port = free_ports(1)
    changes = {
        "GEMMA_PORT": str(port),
        "GEMMA_ENGINE": "openai",
        "GEMMA_OPENAI_URL": str(client.base_url),
        "GEMMA_OPENAI_MODEL": MODEL,
        "GEMMA_OPENAI_KEY_FILE": str(key),
    }
    user, identity = new_id("usr"), ServiceIdentity.from_settings("api-gateway", ServiceSettings(data_dir=house.folder))
    with (tmp_path / "log").open("wb") as log:
        second = subprocess.Popen(
            [sys.executable, "-m", "services", "run", "gemma"],
            cwd=ROOT, env=house.environment | changes, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        with house.client(user, "rag") as rag:
            rag.post("/rag/memory", json={"content": "The plumber comes on Friday at nine."}).raise_for_status()
        auth = Caller(identity, "gemma", user)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", auth=auth, timeout=120) as chat:
            await ready(chat, second, tmp_path / "log")
            body = {"message": "When does the plumber come?", "max_tokens": 40, "temperature": 0}
            answer = (await chat.post("/gemma/chat", json=body)).json()
            assert answer["citations"][0]["quote"] == "The plumber comes on Friday at nine.", answer
            assert answer["model"] in (MODEL, "extractive") and answer["usage"]["completion_tokens"] > 0
            told = (
                await chat.post("/completing/chat", json={"model": MODEL, "messages": ASK, "temperature": 0})
            ).json()
            assert "Paris" in told["choices"][0]["message"]["content"]
            alone = await client.chat.completions.create(model=MODEL, messages=ASK, temperature=0)
            assert alone.usage is not None and told["usage"]["prompt_tokens"] == alone.usage.prompt_tokens
    finally:
        second.terminate()
        second.wait(20)
    assert "plumber" not in (tmp_path / "log").read_text()


async def ready(chat: httpx.AsyncClient, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            if (await chat.get("/ready", auth=httpx.Auth())).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
