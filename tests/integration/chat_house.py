"""The gateway, the chat service's completions and the memory service on real sockets in this process.

The vaults and MiniLM are real; the language model is the obedient fake, or whatever a test puts there.
"""

from __future__ import annotations

import asyncio
import secrets
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from openai import AsyncOpenAI

from services.gemma.completions import Completions
from services.gemma.engines import Capabilities, Piece, Sampling, Turn
from services.gemma.engines.fake import FakeLanguage
from services.gemma.routes import chat as chats
from services.gemma.routes import completions
from services.gemma.service import Chat
from services.gemma.settings import Settings
from services.rag.app import create_app as rag_app
from services.rag.engines.onnx_minilm import OnnxMiniLM
from services.rag.settings import Settings as RagSettings
from shared.auth.principal import Principal
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.clients.rag import RagClient
from shared.service import create_service
from shared.storage.keyring import MemoryKeyring
from tests.gateway_house import bearer, gateway, join, served, settings_for


class Here:
    """A language engine without a process of its own: the surface that ModelLoader has."""

    ahead = 0

    def __init__(self, context_tokens: int = 100_000) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.engine = FakeLanguage(None)
        self.engine.capabilities = Capabilities("fake", context_tokens)
        self.reason: str | None = None
        self.seen: list[tuple[Sequence[Turn], Sampling]] = []
        self.holds_at, self.written, self.ended = 0, 0, asyncio.Event()
        self.fails: Exception | None = None

    def why_not(self) -> str | None:
        return self.reason

    async def write(
        self, compose: Any, sampling: Sampling, cancelled: Callable[[], bool], told: Any, **_: Any
    ) -> AsyncGenerator[Piece, None]:
        turns = await asyncio.to_thread(compose, self.engine)
        self.seen.append((turns, sampling))
        for piece in self.engine.write(turns, sampling):
            if cancelled():
                break
            self.written = piece.written
            yield piece
            while piece.written == self.holds_at and not cancelled():
                await asyncio.sleep(0.01)
            if self.fails is not None:
                raise self.fails
        self.ended.set()


@dataclass
class Door:
    """The gateway, and somebody with a personal token to it."""

    url: str
    key: str
    headers: dict[str, str]
    model: Any
    http: httpx.AsyncClient
    user: Principal
    rag: RagClient

    def client(self, key: str | None = None, **headers: str) -> AsyncOpenAI:
        return AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=key or self.key, max_retries=0, timeout=60, default_headers=headers
        )

    async def another(self) -> Door:
        """The same house for somebody else."""
        joined = await join(self.http, f"user-{secrets.token_hex(6)}")
        body = {"name": "key", "scopes": ["chat", "memory"]}
        token = (await self.http.post("/auth/tokens", json=body, headers=bearer(joined))).json()["token"]
        return replace(self, key=token, headers=bearer(joined), user=Principal(joined["user_id"]))

    async def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return await self.http.post(path, headers=self.headers | (headers or {}), **body)

    async def remember(self, content: str, **more: Any) -> str:
        answer = await self.post("/rag/memory", json={"content": content, **more})
        return str(answer.raise_for_status().json()["memory_id"])


@asynccontextmanager
async def opened(folder: Path, models_dir: Path, model: Any = None, **changes: Any) -> AsyncIterator[Door]:
    """Everything served; `changes` are settings of the chat service."""
    identities = ServiceIdentity.ephemeral()
    async with AsyncExitStack() as stack:
        rag_settings = RagSettings(data_dir=folder, models_dir=models_dir)
        rag = rag_app(rag_settings, keyring=MemoryKeyring(), embedder=OnnxMiniLM(rag_settings), coordinator=object())
        rag.state.door, rag.state.identity = ServiceDoor(identities["rag"], None), identities["rag"]
        rag_url = await stack.enter_async_context(served(rag))
        settings = Settings(**({"data_dir": folder, "engine": "fake", "rag_url": rag_url} | changes))
        client = await stack.enter_async_context(RagClient(settings, identities["gemma"]))
        model = model or Here()
        chat = create_service("gemma", settings, routers=[chats.router, completions.router])
        chat.state.door, chat.state.rag = ServiceDoor(identities["gemma"], None), client
        chat.state.chat, chat.state.completions = Chat(settings, client, model), Completions(settings, client, model)
        stack.push_async_callback(chat.state.chat.stop)
        stack.push_async_callback(chat.state.completions.stop)
        urls = {"rag_url": rag_url, "gemma_url": await stack.enter_async_context(served(chat))}
        app = gateway(settings_for(folder, **urls))
        app.state.identity = identities["api-gateway"]
        url = await stack.enter_async_context(served(app))
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60))
        yield await Door(url, "", {}, model, http, Principal(""), client).another()
