"""HTTP of the emotion service."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.emotion.service import Feelings
from services.emotion.uploads import file_of
from shared.auth.dependencies import ForUser
from shared.errors import UnsupportedMedia
from shared.schemas.emotion import AnalyzeBatch, AnalyzeText, EmotionAnalysis, EmotionBatch

router = APIRouter(prefix="/emotion")


async def the_feelings(request: Request) -> Feelings:
    feelings: Feelings = request.app.state.feelings
    return feelings


TheFeelings = Annotated[Feelings, Depends(the_feelings)]


@router.post("/analyze")
async def analyze(request: Request, user: ForUser, feelings: TheFeelings) -> EmotionAnalysis:
    """JSON `{text}` or a multipart `file`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return await feelings.file(user, await file_of(request, most=request.app.state.settings.max_clip_bytes))
    if kind == "application/json":
        return await feelings.text(_text_of(await request.body()))
    raise UnsupportedMedia("Send JSON {text} or multipart/form-data with a `file`.")


def _text_of(body: bytes) -> str:
    try:
        return AnalyzeText.model_validate_json(body).text
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


@router.post("/batch")
async def batch(request: AnalyzeBatch, user: ForUser, feelings: TheFeelings) -> EmotionBatch:
    """At most 256 texts of 20,000 characters."""
    return await feelings.batch(request.texts)
