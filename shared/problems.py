"""Every error as `application/problem+json`, below `/v1` in OpenAI's envelope: ours, FastAPI's and the unforeseen."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from shared import errors, telemetry
from shared.logging import request_id
from shared.schemas.problem import FieldError

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
OPENAI = "/v1/"
"""Paths below this are called by clients of OpenAI, which know its envelope of errors only."""
_OPENAI_CODES = {"unauthenticated": "invalid_api_key", "rate_limited": "rate_limit_exceeded", "internal_error": None}
_OPENAI_STATUS = {415: 400, 422: 400}
_OPENAI_TYPES = {403: "permission_error", 429: "rate_limit_error"}

_BY_STATUS: dict[int, type[errors.ProductError]] = {
    400: errors.BadRequest,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.TooLarge,
    415: errors.UnsupportedMedia,
    416: errors.RangeNotSatisfiable,
    422: errors.Invalid,
    429: errors.RateLimited,
    503: errors.Busy,
}


def problem_response(error: errors.ProductError, instance: str) -> Response:
    """The answer for one error, with `Retry-After` or `WWW-Authenticate` where it has one."""
    telemetry.here().count("nemo_errors_total", code=error.code)
    headers = {"Cache-Control": "no-store"}
    if error.status in (429, 502, 503, 504, 507) or error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s or 1)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if instance.startswith(OPENAI):
        status = _OPENAI_STATUS.get(error.status, error.status)
        return Response(json.dumps(openai_envelope(error)), status, headers, "application/json")
    problem = error.to_problem(instance=instance, request_id=request_id.get())
    return Response(problem.model_dump_json(), error.status, headers, MEDIA_TYPE)


def openai_envelope(error: errors.ProductError) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`, as in OpenAI's API reference under "Error codes".

    It is also what a stream that has begun says as its last event.
    """
    kind = "server_error" if error.status >= 500 else _OPENAI_TYPES.get(error.status, "invalid_request_error")
    param = error.errors[0].pointer.lstrip("/") if error.errors else None
    code = _OPENAI_CODES.get(error.code, error.code)
    return {"error": {"message": error.detail, "type": kind, "param": param or None, "code": code}}


def install(app: FastAPI) -> None:
    """Map every kind of error of this application."""
    app.add_exception_handler(errors.ProductError, _ours)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _frameworks)


async def _ours(request: Request | WebSocket, error: Exception) -> Response | None:
    assert isinstance(error, errors.ProductError)
    if isinstance(request, WebSocket):
        await _deny(request, error)
        return None
    if error.status >= 500:
        log.warning("a request failed", extra={"code": error.code, "path": route_of(request.scope)})
    return problem_response(error, request.url.path)


async def _deny(socket: WebSocket, error: errors.ProductError) -> None:
    """A handshake that is refused is answered like any request; an open socket is closed."""
    if socket.application_state is WebSocketState.CONNECTING:
        await socket.send_denial_response(problem_response(error, socket.url.path))
    else:
        await socket.close(1011)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [_field_error(each) for each in error.errors()]
    if any(each.get("type") == "json_invalid" for each in error.errors()):
        return problem_response(errors.BadRequest("The body is not valid JSON.", errors=found), request.url.path)
    return problem_response(errors.Invalid(_summary(found), errors=found), request.url.path)


def _field_error(found: dict[str, Any]) -> FieldError:
    """Where and what; never the value, which may be a password."""
    place = [str(part) for part in found.get("loc", ())]
    if place and place[0] in ("body", "query", "path", "header", "cookie"):
        place = place[1:]
    pointer = "/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in place)
    return FieldError(pointer=pointer[:200], detail=str(found.get("msg", "not valid"))[:500])


def _summary(found: list[FieldError]) -> str:
    first = "; ".join(f"{each.pointer}: {each.detail}" for each in found[:3])
    return f"Some values are not valid. {first}" if first else errors.Invalid.title()


async def _frameworks(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, errors.BadRequest if error.status_code < 500 else errors.ProductError)
    detail = None if error.status_code in (404, 405) else str(error.detail)
    answer = problem_response(kind(detail), request.url.path)
    if not request.url.path.startswith(OPENAI):
        answer.status_code = error.status_code
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def route_of(scope: Any) -> str:
    """The template of the route (`/jobs/{job_id}`), so that ids and user text stay out of logs and metrics."""
    return getattr(scope.get("route"), "path", None) or "unmatched"
