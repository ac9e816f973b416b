"""Any server that speaks OpenAI's chat completions: vLLM, llama-server, Ollama.

What it says is not trusted: every line, answer and stream is bounded, redirects are not followed, no proxy of the
environment is used, and a connection serves one request, so that each is judged anew (docs/adr/0018).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from services.gemma.egress import Gate, places
from services.gemma.engines import Capabilities, Piece, Sampling, Turn
from services.gemma.settings import Settings
from shared.errors import (
    Busy,
    ContextExceeded,
    Invalid,
    ModelFailed,
    ModelLost,
    ModelNotReady,
    ProductError,
)

CONNECT_S = 5.0
LINE_BYTES = 1024**2
HEAD_BYTES = 64 * 1024
TOKEN_BYTES = 4096
"""An event of a stream takes some 300 bytes; more than this for each token asked for, and the server is not sane."""
BYTES_PER_TOKEN = 3
"""Of UTF-8, on the safe side: English has four to five, Chinese three. Some servers do not count for their callers."""
TURN_TOKENS = 4


class OpenAiServer:
    """A ruler that estimates, and the answer as it comes. Raises Invalid where a setting cannot be meant."""

    def __init__(self, settings: Settings) -> None:
        self.capabilities = Capabilities(settings.openai_model, settings.context_tokens)
        self._url = f"{settings.openai_url.rstrip('/')}/chat/completions"
        self._place = _place_of(settings.openai_url) if settings.openai_url else ("", 0)
        self._allowed = places(settings.egress)
        self._timeout_s = settings.openai_timeout_s
        self._headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if settings.gemma_openai_key is not None:
            self._headers["Authorization"] = f"Bearer {settings.gemma_openai_key.get_secret_value()}"

    @staticmethod
    def missing(settings: Settings) -> str | None:
        absent = [name for name in ("openai_url", "openai_model") if not getattr(settings, name)]
        names = " and ".join(f"GEMMA_{name.upper()}" for name in absent)
        return f"The language model's server is not named; set {names}." if absent else None

    def length(self, turns: Sequence[Turn]) -> int:
        """About how many tokens the whole prompt has; the server's own count comes with its answer."""
        return sum(TURN_TOKENS + -(-len(turn.content.encode()) // BYTES_PER_TOKEN) for turn in turns)

    async def write(self, turns: Sequence[Turn], sampling: Sampling, *, private: bool) -> AsyncGenerator[Piece]:
        """The last piece has the server's count. Raises EgressRefused, ContextExceeded, Busy or a ModelNotReady."""
        room = self.capabilities.context_tokens - self.length(turns)
        sampling = replace(sampling, max_tokens=max(1, min(sampling.max_tokens, room)))  # vLLM refuses more than fits
        gate = Gate(self._place, self._allowed, private)
        with _in_our_words(gate):
            async with self._asked(payload(self.capabilities.model, turns, sampling), gate) as answer:
                if answer.status != 200:
                    raise await _error_of(answer, self.capabilities.model)
                async with aclosing(_pieces(answer, sampling)) as pieces:
                    async for piece in pieces:
                        yield piece

    @asynccontextmanager
    async def _asked(self, body: dict[str, Any], gate: Gate) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_read=self._timeout_s)
        connector = aiohttp.TCPConnector(force_close=True, use_dns_cache=False, socket_factory=gate.socket)
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False) as http,
            http.post(self._url, json=body, headers=self._headers, timeout=timeout, allow_redirects=False) as answer,
        ):
            yield answer


@contextmanager
def _in_our_words(gate: Gate) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ModelNotReady(
            "The language model's server takes too long; try again in a moment.", retry_after_s=10
        ) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if gate.refused is not None:
            raise gate.refusal() from error
        raise _gone(error) from error


def payload(model: str, turns: Sequence[Turn], sampling: Sampling) -> dict[str, Any]:
    """Only what is in OpenAI's reference: a strict server refuses what is not."""
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if sampling.seed is not None:
        asked["seed"] = sampling.seed
    if sampling.stop:
        asked["stop"] = list(sampling.stop)
    if sampling.schema is not None:
        asked["response_format"] = _format(sampling.schema)
    return asked


def _format(schema: str) -> dict[str, Any]:
    asked = json.loads(schema)
    if asked == {"type": "object"}:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": asked}}


async def _pieces(answer: aiohttp.ClientResponse, sampling: Sampling) -> AsyncGenerator[Piece]:
    written, finish, read = 0, None, None
    async for event in _events(answer, HEAD_BYTES + TOKEN_BYTES * sampling.max_tokens):
        text, ended, usage = _said(event)
        finish = ended or finish
        if usage is not None:
            read, written = usage
        elif text:
            written += 1
            yield Piece(text, written)
    if finish is None:
        raise ModelLost("The language model's server ended in the middle of its answer.")
    yield Piece("", written, "length" if finish == "length" else "stop", read)


def _said(event: Any) -> tuple[str, str | None, tuple[int, int] | None]:
    """Text, why it ended, and the tokens (prompt, answer). Raises ModelFailed for what is no event of theirs."""
    try:
        if "error" in event:
            raise ModelFailed("The language model's server failed in the middle of its answer; its log says more.")
        usage = event.get("usage")
        counted = (int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
        choice = event["choices"][0] if event["choices"] else {"delta": {}}
        text, finish = choice["delta"].get("content") or "", choice.get("finish_reason")
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise _garbled() from error
    if not isinstance(text, str) or not isinstance(finish, str | None):
        raise _garbled()
    return text, finish, counted


async def _events(answer: aiohttp.ClientResponse, most_bytes: int) -> AsyncIterator[Any]:
    if answer.content_type != "text/event-stream":
        raise _garbled()
    async for line in _lines(answer, most_bytes):
        name, _, value = line.partition(b":")
        if name != b"data":
            continue
        if value.strip() == b"[DONE]":
            return
        try:
            yield json.loads(value)
        except (ValueError, RecursionError) as error:
            raise _garbled() from error


async def _lines(answer: aiohttp.ClientResponse, most_bytes: int) -> AsyncIterator[bytes]:
    rest, seen = b"", 0
    async for chunk in answer.content.iter_any():
        seen += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES or seen > most_bytes:
            raise ModelFailed("The language model's server does not stop talking.")
        for line in lines:
            yield line.strip()


async def _error_of(answer: aiohttp.ClientResponse, model: str) -> ProductError:
    """In our words: theirs may repeat what was asked."""
    status, code = answer.status, await _code(answer)
    if code == "context_length_exceeded":
        return ContextExceeded("This is longer than the language model's server reads at once; send less.")
    if status in (429, 503):
        retry = answer.headers.get("Retry-After", "")
        return Busy(
            "The language model's server is busy; try again in a moment.",
            retry_after_s=min(int(retry), 600) if retry.isascii() and retry.isdigit() else 5,
        )
    if status in (401, 403):
        return ModelNotReady("The language model's server refuses our key; set GEMMA_OPENAI_KEY.", retry_after_s=30)
    if status == 404:
        return ModelNotReady(
            f"The language model's server has no model {model[:100]!r} there; set GEMMA_OPENAI_URL and"
            " GEMMA_OPENAI_MODEL.",
            retry_after_s=30,
        )
    if 300 <= status < 400:
        return ModelFailed("The language model's server sends us elsewhere; set GEMMA_OPENAI_URL to where it is.")
    return ModelFailed(f"The language model's server answered {status}; its log says more.")


async def _code(answer: aiohttp.ClientResponse) -> str | None:
    """The word for programs in its error, where there is one."""
    try:
        body = json.loads(await asyncio.wait_for(answer.content.read(HEAD_BYTES), CONNECT_S))
        return str(body["error"]["code"])
    except (TimeoutError, aiohttp.ClientError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _garbled() -> ModelFailed:
    return ModelFailed("The language model's server answers something else than OpenAI's protocol; is it one?")


def _gone(error: Exception) -> ModelNotReady:
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError | aiohttp.InvalidURL):
        return ModelNotReady("The language model's server cannot be reached; see GEMMA_OPENAI_URL.", retry_after_s=5)
    return ModelLost("The language model's server broke off; try again in a moment.", retry_after_s=5)


def _place_of(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        if parts.hostname and parts.username is None:
            return parts.hostname, port
    except (ValueError, KeyError):
        pass
    raise Invalid("GEMMA_OPENAI_URL takes the base URL of a server, such as http://127.0.0.1:8080/v1.")
