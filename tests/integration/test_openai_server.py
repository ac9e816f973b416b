"""The `openai` engine against servers that are good, slow, broken and hostile, and where memories may go."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from pydantic import SecretStr

from services.gemma.egress import Gate, is_loopback, places
from services.gemma.engines import Open, Piece, Sampling, Turn
from services.gemma.engines.openai_server import OpenAiServer
from services.gemma.settings import Settings
from services.gemma.upstream import Upstream
from shared.errors import (
    Busy,
    ContextExceeded,
    EgressRefused,
    Invalid,
    ModelFailed,
    ModelLost,
    ModelNotReady,
)
from tests.integration.chat_house import Door, opened

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
TURNS = [Turn("user", "Hello")]
SSE = {"Content-Type": "text/event-stream"}


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[str]:
    """On loopback; its base URL."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        await runner.cleanup()


def says(*lines: str, status: int = 200, headers: dict[str, str] = SSE) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body="".join(f"{line}\n\n" for line in lines), status=status, headers=headers)

    return handler


def event(content: str | None = None, finish: str | None = None, **more: Any) -> str:
    delta = {} if content is None else {"content": content}
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more})


USAGE = "data: " + json.dumps(
    {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}}
)
GOOD = (event(""), event("Good "), event("day"), event(None, "stop"), USAGE, "data: [DONE]")


def settings(url: str, **more: Any) -> Settings:
    return Settings(**({"engine": "openai", "openai_url": url, "openai_model": "tiny"} | more))


async def written(url: str, sampling: Sampling | None = None, turns: Any = TURNS, **more: Any) -> list[Piece]:
    model = Upstream(settings(url, **more))
    asked = model.write(lambda ruler: turns, sampling or Sampling(), lambda: False, lambda stage, why: None)
    return [piece async for piece in asked]


async def test_an_answer_and_its_true_usage() -> None:
    seen: list[tuple[dict[str, Any], str | None]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((await request.json(), request.headers.get("Authorization")))
        return await says(*GOOD)(request)

    assert OpenAiServer(settings("http://x/v1")).length([Turn("user", "Grüße"), Turn("assistant", "")]) == 4 + 3 + 4
    sampling = Sampling(max_tokens=9, seed=3, stop=("x",), schema='{"type": "array"}', top_p=0.5)
    async with server(handler) as url:
        pieces = await written(url + "/", sampling, gemma_openai_key=SecretStr("a key"))
        await written(url, Sampling(max_tokens=4096, schema='{"type":"object"}'), context_tokens=512)
    assert [piece.text for piece in pieces] == ["Good ", "day", ""]
    assert pieces[-1] == Piece("", 7, "stop", 11)
    assert seen[0] == (
        {
            "model": "tiny", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 9, "temperature": 0.2,
            "top_p": 0.5, "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": 3, "stop": ["x"], "stream": True,
            "stream_options": {"include_usage": True},
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "array"}}},
        },
        "Bearer a key",
    )  # fmt: skip
    assert seen[1][0]["response_format"] == {"type": "json_object"} and seen[1][1] is None
    assert seen[1][0]["max_tokens"] == 512 - (4 + 2), "no more than there is room for"


async def test_servers_that_do_not_count_and_end_at_length() -> None:
    async with server(says(": a comment", "id: 4", event("a"), event("b", "length"))) as url:
        assert (await written(url))[-1] == Piece("", 2, "length", None)


@pytest.mark.parametrize(
    ("handler", "kind", "match"),
    [
        (says("nothing", headers={"Content-Type": "text/html"}), ModelFailed, "something else"),
        (says("data: {not json"), ModelFailed, "something else"),
        (says("data: " + "[" * 50_000), ModelFailed, "something else"),
        (says("data: []"), ModelFailed, "something else"),
        (says('data: {"choices": [{"delta": {"content": 7}}]}'), ModelFailed, "something else"),
        (says('data: {"choices": [], "usage": {"prompt_tokens": "x"}}'), ModelFailed, "something else"),
        (says(event("a"), 'data: {"error": {"message": "secret"}}'), ModelFailed, "in the middle"),
        (says(event("a")), ModelLost, "ended in the middle"),
        (says("data: [DONE]"), ModelLost, "ended in the middle"),
        (says("data: " + "x" * 3_000_000), ModelFailed, "stop talking"),
        (says(*[event("")] * 20_000), ModelFailed, "stop talking"),
        (says("secret", status=500), ModelFailed, "answered 500"),
        (says('{"error": {"code": null}}', status=400), ModelFailed, "answered 400"),
        (says('{"error": {"code": "context_length_exceeded"}}', status=400), ContextExceeded, "longer"),
        (says("x", headers=SSE | {"Content-Encoding": "gzip"}), ModelLost, "ended in the middle"),
        (says("", status=401), ModelNotReady, "GEMMA_OPENAI_KEY"),
        (says("", status=404), ModelNotReady, "GEMMA_OPENAI_MODEL"),
        (says("", status=204), ModelFailed, "204"),
    ],
)
async def test_what_servers_do_wrong(handler: Handler, kind: type[Exception], match: str) -> None:
    async with server(handler) as url:
        with pytest.raises(kind, match=match) as failed:
            await written(url, Sampling(max_tokens=8))
    assert "secret" not in str(failed.value)


async def test_a_busy_server_says_when_to_come_back() -> None:
    async with server(says("", status=429, headers={"Retry-After": "7"})) as url:
        with pytest.raises(Busy) as busy:
            await written(url)
    assert busy.value.retry_after_s == 7


async def test_nobody_there_silence_and_a_broken_line() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers=SSE)
        await answer.prepare(request)
        await answer.write(f"{event('a')}\n\n".encode())
        await asyncio.sleep(600)
        return answer

    async def breaks(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers=SSE)
        await answer.prepare(request)
        await answer.write(f"{event('a')}\n\n".encode())
        assert request.transport is not None
        request.transport.abort()
        return answer

    with pytest.raises(ModelNotReady, match="cannot be reached"):
        await written("http://127.0.0.1:1/v1")
    async with server(silent) as url:
        with pytest.raises(ModelNotReady, match="takes too long"):
            await written(url, openai_timeout_s=0.3)
    async with server(breaks) as url:
        with pytest.raises(ModelLost, match="broke off"):
            await written(url)


async def test_a_cancelled_answer_closes_the_connection() -> None:
    left, left_off = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers=SSE)
        await answer.prepare(request)
        await answer.write(f"{event('a')}\n\n".encode())
        try:
            while True:
                await asyncio.sleep(0.05)
                await answer.write(b": still here\n\n")
        except (ConnectionError, asyncio.CancelledError):
            left.set()
            raise

    async with server(slow) as url:
        asked = Upstream(settings(url)).write(lambda ruler: TURNS, Sampling(), left_off.is_set, lambda stage, why: None)
        async for piece in asked:
            assert piece.text == "a" and not left_off.is_set()
            left_off.set()
        await asyncio.wait_for(left.wait(), 30)


async def test_settings_that_cannot_be_meant() -> None:
    assert "GEMMA_OPENAI_URL and GEMMA_OPENAI_MODEL" in str(Upstream(Settings(engine="openai")).why_not())
    with pytest.raises(ModelNotReady):
        [
            piece
            async for piece in Upstream(Settings()).write(lambda r: TURNS, Sampling(), lambda: False, lambda s, w: None)
        ]
    for url in ("127.0.0.1:8080", "ftp://x/v1", "http://", "http://user:pw@host/v1", "http://host:port/v1"):
        with pytest.raises(Invalid, match="GEMMA_OPENAI_URL"):
            Upstream(settings(url))
    for egress in ("host", "http://host:1", "host:1/x", "host:0", "a:1,,b", "none,host:1", "host:99999"):
        with pytest.raises(Invalid, match="GEMMA_EGRESS"):
            print(egress, places(egress))


# -- egress


def test_what_is_loopback() -> None:
    for address in ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"):
        assert is_loopback(address)
    for address in ("0.0.0.0", "10.0.0.1", "192.168.1.2", "::ffff:10.0.0.1", "fe80::1%eth0", "::", "169.254.169.254"):
        assert not is_loopback(address)


def test_the_list_names_the_server_or_its_address() -> None:
    allowed = places("GPU.box:8000, 10.0.0.7:8000, [fd00::1]:9000")
    assert allowed == {("gpu.box", 8000), ("10.0.0.7", 8000), ("fd00::1", 9000)}
    assert Gate(("gpu.box", 8000), allowed, True).lets_to("203.0.113.1"), "named by its host"
    assert Gate(("other", 8000), allowed, True).lets_to("10.0.0.7"), "named by its address"
    assert not Gate(("gpu.box", 8001), allowed, True).lets_to("203.0.113.1"), "another port"
    assert not Gate(("other", 8000), allowed, True).lets_to("10.0.0.8")
    assert Gate(("other", 8000), places("none"), True).lets_to("127.0.0.1")


def own_address() -> str:
    """An address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        return str(probe.getsockname()[0])


@asynccontextmanager
async def elsewhere(handler: Handler) -> AsyncIterator[tuple[str, int]]:
    """A server at an address that is not loopback."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    listener = socket.create_server((own_address(), 0))
    await web.SockSite(runner, listener).start()
    try:
        yield listener.getsockname()[:2]
    finally:
        await runner.cleanup()


def counting(seen: list[str]) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append(await request.text())
        return await says(*GOOD)(request)

    return handler


async def test_memories_do_not_leave_the_machine_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    async with elsewhere(counting(seen)) as (address, port):
        url = f"http://{address}:{port}/v1"
        with pytest.raises(EgressRefused, match=f"GEMMA_EGRESS={address}:{port}"):
            await written(url)
        with pytest.raises(EgressRefused):
            await written(url, egress=f"{address}:{port + 1},127.0.0.1:{port}")
        assert seen == []
        assert len(await written(url, turns=Open(TURNS))) == 3, "what holds nothing of a vault may go"
        assert len(await written(url, egress=f"{address}:{port}")) == 3
        # a name is judged by what it means at that moment
        monkeypatch.setattr("aiohttp.connector.DefaultResolver.resolve", resolving(address))
        with pytest.raises(EgressRefused, match=address):
            await written(f"http://localhost.test:{port}/v1")
        assert len(await written(f"http://localhost.test:{port}/v1", egress=f"localhost.test:{port}")) == 3
    assert len(seen) == 3


def resolving(address: str) -> Any:
    """A name server under somebody else's hand."""

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[dict[str, Any]]:
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    return resolve


async def test_neither_a_redirect_nor_a_proxy_takes_them_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    async with server(counting(seen)) as target:
        for status in (301, 302, 307, 308):
            away = says("", status=status, headers={"Location": f"{target}/chat/completions"})
            async with server(away) as url:
                with pytest.raises(ModelFailed, match="elsewhere"):
                    await written(url)
        assert seen == []
        async with server(says(*GOOD)) as url:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, target.removesuffix("/v1"))
            assert len(await written(url)) == 3
        assert seen == []


async def test_the_rule_through_the_gateway(tmp_path: Path, models_dir: Path) -> None:
    seen: list[str] = []
    async with elsewhere(counting(seen)) as (address, port):
        here = settings(f"http://{address}:{port}/v1")
        changes = {"engine": "openai", "openai_url": here.openai_url, "openai_model": "tiny"}
        async with opened(tmp_path, models_dir, Upstream(here), **changes) as door:
            await door.remember("The canary is called Quetzalcoatl.")
            question: list[Any] = [{"role": "user", "content": "What is the canary called?"}]
            async with door.client() as client:
                for mode in ("read", "read-write"):
                    for stream in (False, True):
                        with pytest.raises(openai.PermissionDeniedError, match="GEMMA_EGRESS=") as refused:
                            await client.chat.completions.create(
                                model="tiny", messages=question, stream=stream, extra_headers={"X-Nemo-Memory": mode}
                            )
                        assert refused.value.code == "egress_refused"
                assert seen == []
                plain = await client.chat.completions.create(model="tiny", messages=question)
                assert (await client.models.list()).data[0].id == "tiny"
            assert plain.choices[0].message.content == "Good day"
            await chat_keeps_the_rule_too(door, seen)
            assert plain.usage is not None and (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (11, 7)
    assert len(seen) == 2 and not any("Quetzalcoatl" in each for each in seen)


async def chat_keeps_the_rule_too(door: Door, seen: list[str]) -> None:
    """Quotations need no model; without any memory the model may be asked, but not about a kept conversation."""
    quoted = (await door.post("/gemma/chat", json={"message": "What is the canary called?"})).json()
    assert quoted["citations"] and "GEMMA_EGRESS=" in quoted["notice"] and len(seen) == 1
    plain = {"message": "Hello there", "include_context": False}
    first = (await door.post("/gemma/chat", json=plain)).json()
    assert first["response"] == "Good day" and len(seen) == 2
    again = await door.post("/gemma/chat", json=plain | {"conversation_id": first["conversation_id"]})
    assert again.status_code == 403 and again.json()["code"] == "egress_refused"
