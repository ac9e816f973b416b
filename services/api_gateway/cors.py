"""Cross-origin calls from an exact list of origins."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

ALLOWED = [
    "Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Last-Event-ID", "Range",
    "X-Nemo-Memory", "X-Nemo-Conversation",
    "Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset", "X-HTTP-Method-Override",
]  # fmt: skip
EXPOSED = [
    "ETag", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "X-Message-Id",
    "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size",
    "Upload-Length", "Upload-Metadata", "Upload-Offset", "Upload-Expires", "X-Transcript-Id", "X-Job-Id",
]  # fmt: skip


def cors(origins: Sequence[str]) -> Middleware:
    """Starlette's pure-ASGI middleware; no credentials, since tokens travel in a header."""
    return Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"],
        allow_headers=ALLOWED,
        expose_headers=EXPOSED,
        max_age=600,
    )
