"""A gateway for tests: in memory, or on a real socket before stand-ins of the services."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from services.api_gateway.app import create_app
from services.api_gateway.settings import Settings
from services.cli.bounded_http import BoundedHttp
from shared.auth.service_tokens import ServiceIdentity
from shared.settings import SERVICE_PORTS
from shared.storage.keyring import Keyring, MemoryKeyring
from shared.storage.redis import MemoryStore, Store

PASSWORD = "a long enough pass phrase"


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Fit secrets, cheap hashing and no limits that a test would run into by accident."""
    values: dict[str, Any] = {
        "data_dir": folder,
        "bcrypt_rounds": 4,
        "sign_ins_per_minute": 100_000,
        "requests_per_minute": 1_000_000,
        "jwt_secret_primary": SecretStr("0123456789abcdefghijklmnopqrstuvwxyz"),
        "session_secret": SecretStr("zyxwvutsrqponmlkjihgfedcba9876543210"),
        "users_db_key": SecretStr("abcdefghijklmnopqrstuvwxyz0123456789"),
    }
    return Settings(**(values | changes))


def gateway(
    settings: Settings, *, store: Store | None = None, keyring: Keyring | None = None, clients: Any = None
) -> FastAPI:
    """The real application over in-memory twins; nobody answers behind it unless the settings name an address."""
    app = create_app(settings, store=store or MemoryStore(), keyring=keyring or MemoryKeyring(), clients=clients)
    app.state.door, app.state.identity = object(), ServiceIdentity.ephemeral()["api-gateway"]
    return app


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application without a socket between them."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://nemo.test") as http,
    ):
        yield http


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The application on a free port, as `nemo run` serves it; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, http=BoundedHttp)
    config.timeout_graceful_shutdown = 2
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            assert not running.done(), "the server did not start"
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listener.close()


def behind(url: str) -> dict[str, str]:
    """Settings that make one address stand for every service."""
    names = (name.replace("-", "_") for name in SERVICE_PORTS if name != "api-gateway")
    return {f"{name}_url": url for name in names}


async def join(http: httpx.AsyncClient, name: str = "anna") -> dict[str, Any]:
    """A new user, signed in; the answer of the sign-in."""
    body = {"username": name, "password": PASSWORD}
    made = await http.post("/auth/register", json=body)
    assert made.status_code == 201, made.text
    pair: dict[str, Any] = (await http.post("/auth/login", json=body)).json()
    return pair | {"user_id": made.json()["user"]["id"]}


def bearer(pair: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}
