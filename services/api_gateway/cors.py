"""Cross-origin calls from an exact list of origins, and the rate headers of the answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

EXPOSED = ["ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "X-Message-Id"]


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Starlette's pure-ASGI middleware; no credentials, since tokens travel in a header."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Last-Event-ID", "Range"],
        expose_headers=EXPOSED,
        max_age=600,
    )
