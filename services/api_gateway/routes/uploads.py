"""Resumable uploads of recordings: tus 1.0.0 with creation, termination and expiration.

The file becomes a recording with its last byte, as by `POST /transcription/upload`; then answers carry
`X-Transcript-Id` and `X-Job-Id`.
"""

from __future__ import annotations

from email.utils import format_datetime
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from services.api_gateway import tus
from services.api_gateway.routes import PROBLEMS, Services
from shared.auth.dependencies import CurrentUser
from shared.schemas.uploads import PartialUpload

router = APIRouter(prefix=tus.PREFIX, tags=["uploads"], responses=PROBLEMS)

Sent = Annotated[str | None, Header()]


@router.options("", status_code=204)
async def abilities(request: Request, user: CurrentUser) -> Response:
    """What this server speaks, and the most bytes that a file may have."""
    most = str(request.app.state.settings.max_file_bytes)
    headers = {"Tus-Version": tus.VERSION, "Tus-Extension": tus.EXTENSIONS, "Tus-Max-Size": most}
    return Response(status_code=204, headers=headers)


@router.post("", status_code=201)
async def create(
    user: CurrentUser,
    services: Services,
    tus_resumable: Sent = None,
    upload_length: Sent = None,
    upload_metadata: Sent = None,
) -> Response:
    """Begin. `Upload-Metadata`: `filename`, `filetype` and the form fields of `POST /transcription/upload`."""
    tus.require_version(tus_resumable)
    new = tus.new_upload(tus.number(upload_length, "Upload-Length"), upload_metadata)
    made = await services.transcription.new_upload(user, new)
    return Response(status_code=201, headers=_headers(made) | {"Location": f"{tus.PREFIX}/{made.upload_id}"})


@router.head("/{upload_id}")
async def state(upload_id: str, user: CurrentUser, services: Services, tus_resumable: Sent = None) -> Response:
    """Where to go on: `Upload-Offset`."""
    found = await services.transcription.upload_state(user, upload_id)
    tus.require_version(tus_resumable)
    return Response(status_code=200, headers=_headers(found) | {"Cache-Control": "no-store"})


@router.patch("/{upload_id}", status_code=204)
async def append(
    upload_id: str,
    request: Request,
    user: CurrentUser,
    services: Services,
    tus_resumable: Sent = None,
    upload_offset: Sent = None,
    content_type: Sent = None,
) -> Response:
    """The next piece, `application/offset+octet-stream`; what `Upload-Offset` acknowledges is on the disk."""
    await services.transcription.upload_state(user, upload_id)  # whose it is comes before how it is asked for
    tus.require_version(tus_resumable)
    tus.require_piece(content_type)
    offset = tus.number(upload_offset, "Upload-Offset")
    found = await services.transcription.append(user, upload_id, offset, request.stream())
    return Response(status_code=204, headers=_headers(found))


@router.delete("/{upload_id}", status_code=204)
async def delete(upload_id: str, user: CurrentUser, services: Services, tus_resumable: Sent = None) -> Response:
    """Give up; a recording that it has become stays."""
    await services.transcription.upload_state(user, upload_id)
    tus.require_version(tus_resumable)
    await services.transcription.delete_upload(user, upload_id)
    return Response(status_code=204)


def _headers(upload: PartialUpload) -> dict[str, str]:
    found = {
        "Upload-Offset": str(upload.offset_bytes),
        "Upload-Length": str(upload.length_bytes),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }
    if upload.metadata:
        found["Upload-Metadata"] = upload.metadata
    if upload.transcript_id is not None and upload.job_id is not None:
        found |= {"X-Transcript-Id": upload.transcript_id, "X-Job-Id": upload.job_id}
        found["Location"] = f"/jobs/{upload.job_id}"
    return found
