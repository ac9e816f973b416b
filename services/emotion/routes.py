"""HTTP of the emotion service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from services.emotion.service import Feelings
from shared.auth.dependencies import ForUser
from shared.errors import Invalid, TooLarge, UnsupportedMedia
from shared.schemas.emotion import AnalyzeBatch, AnalyzeText, EmotionAnalysis, EmotionBatch

router = APIRouter(prefix="/emotion")


def the_feelings(request: Request) -> Feelings:
    feelings: Feelings = request.app.state.feelings
    return feelings


TheFeelings = Annotated[Feelings, Depends(the_feelings)]


@router.post("/analyze")
async def analyze(request: Request, user: ForUser, feelings: TheFeelings) -> EmotionAnalysis:
    """JSON `{text}` or a multipart `file`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await feelings.file(user, await _file_of(request))
    if kind != "application/json":
        raise UnsupportedMedia("Send JSON {text} or multipart/form-data with a `file`.")
    try:
        body = AnalyzeText.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
    return await feelings.text(body.text)


async def _file_of(request: Request) -> bytes:
    most = request.app.state.settings.max_clip_bytes
    async with request.form(max_files=1, max_fields=10) as form:
        file = form.get("file") or form.get("audio_file")
        if not isinstance(file, UploadFile):
            raise Invalid("The file is missing; send it in the field `file`.")
        data = await file.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"The file is larger than the limit of {most} bytes.")
    return data


@router.post("/batch")
async def batch(request: AnalyzeBatch, user: ForUser, feelings: TheFeelings) -> EmotionBatch:
    return await feelings.batch(request.texts)
