"""The web page: hashed assets for ever, the page itself never cached, its own paths answered with the page."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from shared.auth.dependencies import PublicRoute
from shared.errors import NotFound

router = APIRouter(dependencies=[PublicRoute], include_in_schema=False)
STATIC = Path(__file__).resolve().parent.parent / "static"
FOREVER = "public, max-age=31536000, immutable"
NOT_BUILT = (
    "<!doctype html><meta charset=utf-8><title>Nemo Server</title><h1>Nemo Server is running</h1>"
    "<p>The web page is not built. Run <code>make up</code>, or <code>npm ci &amp;&amp; npm run build</code> in "
    "<code>frontend/</code>. The API is here: <a href='/openapi.json'>openapi.json</a>.</p>"
)


@router.api_route("/v1/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
async def no_such_call(path: str, request: Request) -> Response:
    """OpenAI's clients are told in their words; they would take the page for an answer."""
    raise NotFound(f"There is no {request.method} /v1/{path[:100]} here.")


@router.get("/{path:path}")
async def page(path: str, request: Request) -> Response:
    """A file of the page, else the page itself for whoever asks for HTML, else 404."""
    file = _file(path)
    if file is not None and file.name != "index.html":
        return _answer(file, request)
    if "text/html" not in request.headers.get("accept", "") and path != "":
        raise NotFound
    index = STATIC / "index.html"
    if not index.is_file():
        return HTMLResponse(NOT_BUILT, headers={"Cache-Control": "no-store"})
    return FileResponse(index, headers={"Cache-Control": "no-store"})


def _file(path: str) -> Path | None:
    """Only files inside the folder of the page."""
    if not path or "\x00" in path:
        return None
    file = (STATIC / path).resolve()
    return file if file.is_relative_to(STATIC) and file.is_file() else None


def _answer(file: Path, request: Request) -> Response:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    cache = FOREVER if file.parent.name == "assets" else "no-cache"
    headers = {"Cache-Control": cache, "Vary": "Accept-Encoding"}
    packed = file.with_name(file.name + ".gz")
    if "gzip" in request.headers.get("accept-encoding", "") and packed.is_file():
        return FileResponse(packed, media_type=kind, headers=headers | {"Content-Encoding": "gzip"})
    return FileResponse(file, media_type=kind, headers=headers)
