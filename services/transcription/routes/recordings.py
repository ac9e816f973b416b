"""Recordings and their transcripts."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from services.transcription import exports, ranges
from services.transcription.routes import Body, TheStudio
from shared.auth.dependencies import ForUser, FromService
from shared.errors import AudioUnreadable, Conflict, ProductError, from_problem
from shared.etags import Conditions, IfMatch, mark
from shared.schemas.transcription import (
    ClipTranscript,
    EditTranscript,
    ExportFormat,
    Transcript,
    TranscriptSummary,
    UploadAccepted,
    Waveform,
)
from shared.schemas.wire import Page

router = APIRouter(prefix="/transcription")


Word = Annotated[str | None, Query(max_length=200)]


@router.post(
    "/upload",
    status_code=201,
    response_model=Transcript | UploadAccepted,
    responses={202: {"model": UploadAccepted}},
)
async def upload(
    body: Body,
    user: ForUser,
    studio: TheStudio,
    response: Response,
    wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0,
) -> Transcript | UploadAccepted:
    """201 with the transcript when it is done within `wait_s`, else 202 and `Location: /jobs/{id}`."""
    accepted = await studio.upload(user, body)
    response.headers["Location"] = f"/jobs/{accepted.job_id}"
    wait_s = _wait_of(body.fields.get("wait_s"), wait_s)
    transcript = await studio.wait(user, accepted.transcript_id, wait_s) if wait_s > 0 else None
    if transcript is None or transcript.status in ("queued", "processing"):
        response.status_code = 202
        return accepted
    if transcript.status == "failed":
        raise _why(transcript)
    response.headers["Location"] = f"/transcription/{accepted.transcript_id}"
    return transcript


def _wait_of(field: str | None, query: float) -> float:
    """The recording is stored by then, so what makes no sense is not worth an error."""
    try:
        return query if field is None else min(300.0, max(0.0, float(field)))
    except ValueError:
        return query


def _why(transcript: Transcript) -> ProductError:
    """A file that is no audio is the sender's error; the recording stays, so that nothing sent is lost."""
    detail = f"{transcript.error} It is kept as {transcript.transcript_id}; delete it or send another."
    return from_problem({"code": transcript.error_code or AudioUnreadable.code, "detail": detail}, status=422)


@router.post("/clip")
async def clip(body: Body, caller: FromService, studio: TheStudio) -> ClipTranscript:
    return await studio.clip(body)


@router.get("/recent")
async def recent(
    user: ForUser,
    studio: TheStudio,
    limit: Annotated[int, Query(ge=1, le=200)] = 10,
    cursor: Annotated[str | None, Query(max_length=64)] = None,
    q: Word = None,
    speaker: Word = None,
    tag: Word = None,
    emotion: Word = None,
    from_: Annotated[datetime | None, Query(alias="from")] = None,
    to: datetime | None = None,
) -> Page[TranscriptSummary]:
    filters = {
        "q": q,
        "speaker": speaker,
        "tag": tag,
        "emotion": emotion,
        "from": from_.isoformat() if from_ else None,
        "to": to.isoformat() if to else None,
    }
    return await studio.recent(user, limit, cursor, filters)


@router.get("/{transcript_id}")
async def transcript(transcript_id: str, user: ForUser, studio: TheStudio, response: Response) -> Transcript:
    found = await studio.get(user, transcript_id)
    mark(response, found.revision)
    return found


@router.patch("/{transcript_id}")
async def edit(
    transcript_id: str,
    change: EditTranscript,
    user: ForUser,
    studio: TheStudio,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    changed = await studio.edit(user, transcript_id, change, if_match)
    mark(response, changed.revision)
    return changed


@router.delete("/{transcript_id}", status_code=204)
async def delete(transcript_id: str, user: ForUser, studio: TheStudio, expected: IfMatch) -> None:
    await studio.delete(user, transcript_id, expected)


@router.get("/{transcript_id}/audio", responses={206: {"description": "The range asked for."}})
async def audio(
    transcript_id: str,
    user: ForUser,
    studio: TheStudio,
    range_: Annotated[str | None, Header(alias="range")] = None,
) -> StreamingResponse:
    """The original bytes, whole or by range."""
    size, media_type = await studio.audio(user, transcript_id)
    wanted = ranges.parse(range_, size)
    start, end = wanted or (0, size)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "ETag": f'"{transcript_id}"',
        "Content-Disposition": "inline",
        "X-Content-Type-Options": "nosniff",
    }
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return StreamingResponse(
        studio.audio_bytes(user, transcript_id, start, end),
        status_code=206 if wanted else 200,
        headers=headers,
        media_type=media_type,
    )


@router.get("/{transcript_id}/peaks")
async def peaks(
    transcript_id: str,
    user: ForUser,
    studio: TheStudio,
    points: Annotated[int, Query(ge=1, le=20_000)] = 1000,
) -> Waveform:
    """The waveform."""
    return await studio.pipeline.waveforms.get(user, transcript_id, points)


@router.get("/{transcript_id}/export")
async def export(
    transcript_id: str,
    user: ForUser,
    studio: TheStudio,
    form: Annotated[ExportFormat, Query(alias="format")] = "json",
    words: bool = False,
) -> Response:
    found = await studio.get(user, transcript_id)
    if found.status != "completed":
        raise Conflict(f"The transcript is {found.status}; it can be exported once it is completed.")
    text, media_type = await asyncio.to_thread(exports.export, found, form, words=words)
    disposition = f'attachment; filename="{transcript_id}.{form}"'
    return Response(text, media_type=media_type, headers={"Content-Disposition": disposition})


@router.delete("/owner/{user_id}", status_code=204)
async def delete_owner(user_id: str, caller: FromService, studio: TheStudio, request: Request) -> None:
    await request.app.state.partial_uploads.delete_owner(user_id)
    await studio.delete_owner(user_id)
    await request.app.state.change_log.forget_owner(user_id)
