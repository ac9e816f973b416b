"""tus 1.0.0, the open protocol for resumable uploads (https://tus.io/protocols/resumable-upload)."""

from __future__ import annotations

import base64
import binascii

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import BadRequest, PreconditionFailed, UnsupportedMedia
from shared.schemas.uploads import MAX_METADATA, NewPartialUpload

PREFIX = "/transcription/uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,expiration,termination"
PIECE = "application/offset+octet-stream"
_OVERRIDES = ("PATCH", "DELETE", "HEAD")
_NAMES = {"filename": "filename", "name": "filename", "filetype": "content_type", "type": "content_type"}
"""What tus clients call the file and its kind; every other name is a form field."""
_IGNORED = ("relativePath",)


class TusHeaders:
    """Every answer below the uploads says the version, errors too; a client that cannot PATCH may POST instead."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Tus-Resumable"] = VERSION
                if message["status"] == PreconditionFailed.status:
                    headers["Tus-Version"] = VERSION
            await send(message)

        method = Headers(scope=scope).get("x-http-method-override")
        overridden = scope["method"] == "POST" and method in _OVERRIDES
        await self._app({**scope, "method": method} if overridden else scope, receive, sending)


def require_version(sent: str | None) -> None:
    """Raises PreconditionFailed."""
    if sent != VERSION:
        raise PreconditionFailed(f"Send the header Tus-Resumable: {VERSION}; that is what this server speaks.")


def require_piece(content_type: str | None) -> None:
    """Raises UnsupportedMedia."""
    if content_type != PIECE:
        raise UnsupportedMedia(f"A piece has the Content-Type {PIECE}.")


def number(sent: str | None, name: str) -> int:
    """Raises BadRequest."""
    if sent is None or not sent.isascii() or not sent.isdigit() or len(sent) > 18:
        raise BadRequest(f"{name} must be a whole number of bytes.")
    return int(sent)


def new_upload(length: int, metadata: str | None) -> NewPartialUpload:
    """Of `name base64,name base64,...`, as the extension "creation" has it. Raises BadRequest."""
    if metadata is not None and len(metadata) > MAX_METADATA:
        raise BadRequest(f"Upload-Metadata may have {MAX_METADATA} characters.")
    known: dict[str, str] = {}
    fields: dict[str, str] = {}
    for pair in filter(None, (each.strip() for each in (metadata or "").split(","))):
        name, _, encoded = pair.partition(" ")
        into, key = (known, _NAMES[name]) if name in _NAMES else (fields, name)
        if name in _IGNORED:
            continue
        if key in into and name in fields:
            raise BadRequest("Upload-Metadata has a name twice.")
        into[key] = _decoded(encoded)
    return NewPartialUpload(
        length_bytes=length,
        filename=known.get("filename", "")[:255] or None,
        content_type=known.get("content_type", "")[:100] or None,
        fields=fields,
        metadata=metadata or "",
    )


def _decoded(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError) as error:
        raise BadRequest("A value in Upload-Metadata is not base64 of UTF-8.") from error
