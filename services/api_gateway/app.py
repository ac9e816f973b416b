"""Wiring of the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI
from starlette.middleware import Middleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.api_gateway import signing, tus
from services.api_gateway.audit import AuditLog
from services.api_gateway.clients import Clients
from services.api_gateway.cors import cors
from services.api_gateway.idempotency import Idempotency
from services.api_gateway.rates import RateHeaders
from services.api_gateway.repository import Accounts
from services.api_gateway.routes import (
    admin,
    calls,
    chat,
    documents,
    edits,
    facts,
    house,
    identity,
    live,
    memory,
    mobile,
    openai,
    recordings,
    speakers,
    speech,
    summaries,
    uploads,
    vault,
    web,
    work,
)
from services.api_gateway.service import Identity
from services.api_gateway.settings import Settings
from services.api_gateway.vault import VaultLocks
from services.api_gateway.voice import Voices
from shared.auth.tokens import UserTokens
from shared.crypto.envelope import derive
from shared.crypto.passphrase import RECOMMENDED
from shared.lifecycle import background
from shared.security.body import BodyLimit
from shared.security.headers import SecurityHeaders
from shared.service import create_service
from shared.settings import require_secret
from shared.storage import postgres
from shared.storage.keyring import Keyring, PostgresKeyring
from shared.storage.redis import RedisStore, Store
from shared.telemetry import Metrics

NAME = "api-gateway"
AUDIT_S = 300.0
"""At least so long between two readings of the whole audit log for a scrape."""
UPLOADS = (
    "/transcription/upload",
    "/transcription/enroll-speaker",
    "/emotion/analyze",
    "/rag/documents",
    "/rag/import",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/audio/diarization",
    "/api/v1/transcribe",
)


def create_app(
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    keyring: Keyring | None = None,
    clients: Clients | None = None,
) -> FastAPI:
    """What is not given is made of the settings. Raises WeakSecret where a secret is not fit for use."""
    settings = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            app.state.store = store or RedisStore(settings.redis_dsn())
            if store is None:
                stack.push_async_callback(app.state.store.close)
            app.state.keyring = keyring or await _keyring(settings, app, stack)
            app.state.clients = clients or Clients(settings, app.state.identity)
            stack.push_async_callback(app.state.clients.close)
            await _identity(settings, app, stack)
            state = app.state
            state.vault_locks = VaultLocks(state.keyring, state.clients, state.identity_service)
            state.voices = Voices(settings, state.clients)
            app.state.checks["redis"] = app.state.store.ping
            yield

    # Routes are tried in turn, so what is called most comes first; web is last, since it answers every other path.
    pages = (
        memory,
        documents,
        facts,
        work,
        live,
        uploads,
        speakers,
        recordings,
        edits,
        chat,
        summaries,
        speech,
        identity,
        admin,
        vault,
        openai,
        calls,
        mobile,
        house,
        web,
    )
    return create_service(
        NAME,
        settings,
        routers=[each.router for each in pages],
        lifespan=lifespan,
        own_health=True,
        middleware=_middleware(settings),
    )


def _middleware(settings: Settings) -> list[Middleware]:
    """From the innermost outwards."""
    found = [
        Middleware(RateHeaders),
        Middleware(Idempotency),
        Middleware(BodyLimit, cap=lambda path: _cap(settings, path)),
        Middleware(tus.TusHeaders),
        Middleware(SecurityHeaders),
    ]
    if settings.origins:
        found.append(cors(settings.origins))
    if settings.proxies:  # outermost: everything else sees the client, not the proxy
        found.append(Middleware(ProxyHeadersMiddleware, trusted_hosts=settings.proxies))
    return found


def _cap(settings: Settings, path: str) -> int:
    large = path in UPLOADS or path.startswith(f"{tus.PREFIX}/")
    return settings.max_upload_bytes if large else settings.max_body_bytes


async def _chain(audit: AuditLog, to: Metrics) -> None:
    to.set("nemo_audit_chain_ok", await audit.intact())


async def _identity(settings: Settings, app: FastAPI, stack: AsyncExitStack) -> None:
    tokens = UserTokens(*signing.configured(settings))
    session_secret = require_secret("SESSION_SECRET", settings.session_secret)
    accounts = Accounts(settings.data_dir / "users.db", require_secret("USERS_DB_KEY", settings.users_db_key))
    stack.callback(accounts.close)
    service = Identity(settings, accounts, app.state.store, tokens, session_secret)
    app.state.identity_service = app.state.authenticator = service
    app.state.audit = AuditLog(accounts, derive(session_secret, "nemo audit log v1"))
    app.state.metrics.watch("audit", partial(_chain, app.state.audit), every_s=AUDIT_S)
    await stack.enter_async_context(background(signing.follow(settings, tokens)))
    app.state.idempotency_key = derive(session_secret, "nemo idempotent answers v1")


async def _keyring(settings: Settings, app: FastAPI, stack: AsyncExitStack) -> Keyring:
    pool = await postgres.connect(settings.postgres_dsn(), max_size=2)
    stack.push_async_callback(pool.close)
    app.state.checks["postgres"] = lambda: postgres.answers(pool)
    cost = RECOMMENDED._replace(memory_kib=settings.vault_memory_kib)
    ring = PostgresKeyring(pool, *settings.master_keys(), cost)
    await ring.prepare()
    return ring
