"""What every service has in common, once for all."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared import errors, problems, telemetry, tracing
from shared import logging as our_logging
from shared.auth.dependencies import FromCollector, PublicRoute, classes_of
from shared.auth.service_tokens import ServiceDoor, ServiceIdentity
from shared.schemas.health import Health
from shared.schemas.ids import new_id
from shared.settings import ServiceSettings
from shared.storage.redis import RedisStore
from shared.telemetry import Metrics

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str]]
"""Answers a short word (`ok`) or raises."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,128}$")
_QUIET = ("/live", "/ready", "/health", "/metrics")
CHECK_S = 2.0
_LATE: set[asyncio.Task[str]] = set()
"""Checks that were cancelled and still end; asyncio itself holds tasks only weakly."""
GATEWAY = "api-gateway"


def platform_version() -> str:
    try:
        return version("nemo-server")
    except PackageNotFoundError:
        return "0.0.0"


def create_service(
    name: str,
    settings: ServiceSettings,
    *,
    routers: Sequence[APIRouter],
    lifespan: Lifespan | None = None,
    checks: Mapping[str, Check] | None = None,
    own_health: bool = False,
    middleware: Sequence[Middleware] = (),
    unlogged: Sequence[str] = (),
) -> FastAPI:
    """A FastAPI application with logs, request ids, problem+json, health, metrics and a door that admits services.

    `checks` say how the dependencies are (each may raise); the lifespan may add to `app.state.checks`.
    `middleware` goes from the innermost outwards.
    `unlogged`: routes that machines call all the time; only what fails there is logged.
    `own_health`: the routers bring `/health` and `/metrics` themselves (the gateway does).
    Raises RuntimeError where a route belongs to no class or to more than one.
    """
    app = FastAPI(
        title=f"Nemo Server: {name}",
        version=platform_version(),
        lifespan=_with_state(name, settings, lifespan),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.state.service_name = name
    app.state.unlogged = frozenset((*_QUIET, *unlogged))
    app.state.settings = settings
    app.state.checks = dict(checks or {})
    app.state.metrics = _metrics_of(name, settings)
    problems.install(app)
    for router in [_house_routes(own_health), *routers]:  # ours first: a page may answer every other path
        app.router.routes.extend(router.routes)  # include_router() would make every request walk a tree of routers
    require_classified(app)
    for each in middleware:
        app.add_middleware(each.cls, *each.args, **each.kwargs)
    app.add_middleware(Frame, app_=app)  # outermost: what the others refuse is counted and has its id too
    return app


def require_classified(app: FastAPI) -> None:
    """Fail closed: a route without exactly one class does not start. Raises RuntimeError naming it."""
    for path, dependant in routes_of(app):
        found = classes_of(dependant) if dependant is not None else set()
        if len(found) != 1:
            raise RuntimeError(f"{path} must have exactly one of the route classes, it has {sorted(found)}")


def routes_of(app: FastAPI) -> Iterator[tuple[str, Dependant | None]]:
    """Path and dependencies of every route, those of included routers too; None for what FastAPI cannot check."""
    for route in iter_route_contexts(app.routes):
        yield str(route.path), getattr(route, "dependant", None)


def _with_state(name: str, settings: ServiceSettings, lifespan: Lifespan | None) -> Lifespan:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        our_logging.configure(name, settings.log_level, settings.log_format)
        telemetry.enter(app.state.metrics)  # for all that the lifespan starts
        async with AsyncExitStack() as stack:
            stop = tracing.start(name, platform_version(), settings.otel_exporter_otlp_endpoint, settings.trace_share)
            stack.push_async_callback(asyncio.to_thread, stop)
            try:
                if not hasattr(app.state, "door"):
                    app.state.door = await stack.enter_async_context(_door(name, settings, app))
                if lifespan is not None:
                    await stack.enter_async_context(lifespan(app))
            except (OSError, ValueError, errors.ProductError) as error:  # settings, secrets, folders, databases
                app.state.cannot_start = f"{name} cannot start: {error}"
                raise
            gc.collect()
            gc.freeze()  # what is here now stays; the collector need not walk it again and again
            log.info("ready")
            yield
            log.info("stopping")

    return run


@asynccontextmanager
async def _door(name: str, settings: ServiceSettings, app: FastAPI) -> AsyncIterator[ServiceDoor]:
    identity: ServiceIdentity = getattr(app.state, "identity", None) or ServiceIdentity.from_settings(name, settings)
    app.state.identity = identity
    seen = RedisStore(settings.redis_dsn())
    try:
        yield ServiceDoor(identity, seen)
    finally:
        await seen.close()


def _house_routes(own_health: bool) -> APIRouter:
    router = APIRouter()

    @router.get("/live", dependencies=[PublicRoute], include_in_schema=own_health)
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    if not own_health:
        router.add_api_route("/health", _health, dependencies=[PublicRoute], response_model=Health)
        router.add_api_route("/ready", _ready, dependencies=[PublicRoute], response_model=Health)
        router.add_api_route("/metrics", _metrics)  # classified by its argument: services and the collector
    return router


async def run_checks(checks: Mapping[str, Check]) -> dict[str, str]:
    """One short word per dependency, all at once, within two seconds.

    What is late is cancelled and not waited for: a question to a frozen database takes half a minute to let go of.
    """

    async def one(check: Check) -> str:
        try:
            return await check()
        except Exception as error:  # a health check reports, whatever went wrong
            return f"down: {type(error).__name__}"

    asked = {name: asyncio.create_task(one(check)) for name, check in checks.items()}
    late = set(asked.values())
    try:
        late = (await asyncio.wait(late, timeout=CHECK_S))[1] if asked else set()
    finally:
        for each in late:
            _LATE.add(each)
            each.add_done_callback(_LATE.discard)
            each.cancel()
    return {name: "down: TimeoutError" if each in late else each.result() for name, each in asked.items()}


async def health_of(app: FastAPI) -> Health:
    found = await run_checks(app.state.checks)
    down = [word for word in found.values() if word.startswith("down")]
    return Health(
        status="degraded" if down else "ok", service=app.state.service_name, version=platform_version(), checks=found
    )


async def _health(request: Request) -> Health:
    return await health_of(request.app)


async def _ready(request: Request, response: Response) -> Health:
    health = await health_of(request.app)
    response.status_code = 200 if health.status == "ok" else 503
    return health


async def _metrics(request: Request, caller: FromCollector) -> Response:
    return Response(await request.app.state.metrics.read(), media_type="text/plain; version=0.0.4")


def _metrics_of(name: str, settings: ServiceSettings) -> Metrics:
    """With the figures that every service has."""
    metrics = Metrics(name)
    metrics.set("nemo_build_info", 1, version=platform_version())
    metrics.expect("nemo_errors_total", "code", *errors.codes())

    async def disk(to: Metrics) -> None:
        folder = next(each for each in (settings.data_dir, *settings.data_dir.resolve().parents) if each.exists())
        found = await asyncio.to_thread(shutil.disk_usage, folder)
        to.set("nemo_disk_bytes", found.total)
        to.set("nemo_disk_free_bytes", found.free)

    metrics.watch("disk", disk)
    return metrics


class Frame:
    """Around every request: its id, its line in the log, its figures, and an answer even to the unforeseen."""

    def __init__(self, app: ASGIApp, app_: FastAPI) -> None:
        self._app = app
        self._state = app_.state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, self._in_a_line(send))
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.match(sent) else new_id("req")
        token, ours = our_logging.request_id.set(request_id), telemetry.enter(self._state.metrics)
        try:
            with self._state.metrics.during("nemo_sockets_open") if scope["type"] == "websocket" else nullcontext():
                await self._answer(scope, receive, send, request_id)
        finally:
            telemetry.leave(ours)
            our_logging.request_id.reset(token)

    def _in_a_line(self, send: Send) -> Send:
        """What keeps the service from starting, instead of the traceback to it."""

        async def sending(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                message["message"] = getattr(self._state, "cannot_start", message["message"])
            await send(message)

        return sending

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        # A stranger may not join our traces or switch them on: they begin at the gateway and nowhere else.
        begins = self._state.service_name == GATEWAY and scope["path"] not in self._state.unlogged
        parent = None if self._state.service_name == GATEWAY else Headers(scope=scope).get("traceparent")
        if not begins and parent is None:
            await self._observed(scope, receive, send, request_id, tracing.Span())
            return
        method = scope.get("method", "WS")
        with tracing.span(method, "server", parent=parent, http__request__method=method) as span:
            await self._observed(scope, receive, send, request_id, span)

    async def _observed(self, scope: Scope, receive: Receive, send: Send, request_id: str, span: tracing.Span) -> None:
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # the last line of defence: log the place, tell the client nothing
            log.exception("an unforeseen error", extra={"kind": type(error).__name__})
            if status == 0 and scope["type"] == "http":
                answer = problems.problem_response(errors.ProductError(), scope["path"])
                await answer(scope, receive, sending)
        finally:
            self._observe(scope, status, time.perf_counter() - began)
            route = problems.route_of(scope)
            span.name(f"{scope.get('method', 'WS')} {route}")
            span.note(http__route=route, http__response__status_code=status, nemo__request_id=request_id)
            if status >= 500:
                span.failed()

    def _observe(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        method, route = scope.get("method", "WS"), problems.route_of(scope)
        self._state.metrics.observe(method, route, status, seconds)
        if route not in self._state.unlogged or status >= 400:
            log.info(
                "request",
                extra={"method": method, "route": route, "status": status, "duration_ms": round(seconds * 1000, 1)},
            )
