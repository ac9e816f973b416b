"""How services call each other."""

from __future__ import annotations

import asyncio
import socket

import pytest

from shared import clients
from shared.auth.service_tokens import ServiceIdentity
from shared.clients.tts import TtsClient
from shared.errors import Busy
from shared.settings import ServiceSettings


async def test_a_full_pool_is_busy_and_no_endless_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "CONNECTIONS", 1)
    monkeypatch.setattr(clients, "_POOL_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = TtsClient(ServiceSettings(tts_url=url), ServiceIdentity.ephemeral()["api-gateway"])
        async with client:
            first = asyncio.create_task(client.json("GET", "/first", user=None, deadline_s=60))
            await asyncio.sleep(0.05)
            with pytest.raises(Busy, match="tts"):
                await client.json("GET", "/second", user=None, deadline_s=30)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
