"""HTTP of the emotion service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from services.emotion.service import Feelings
from services.emotion.uploads import file_of, spans_of
from shared.auth.dependencies import ForUser
from shared.errors import BadRequest, UnsupportedMedia
from shared.schemas.emotion import (
    AnalyzeBatch,
    AnalyzeSpeech,
    AnalyzeText,
    EmotionAnalysis,
    EmotionBatch,
    SpansMeasured,
    SpeechEmotion,
)

router = APIRouter(prefix="/emotion")
Body = TypeVar("Body")
BODY_S = 120.0
"""How long a body may take to come; it holds a place meanwhile."""


async def the_feelings(request: Request) -> Feelings:
    feelings: Feelings = request.app.state.feelings
    return feelings


TheFeelings = Annotated[Feelings, Depends(the_feelings)]


@router.post("/analyze")
async def analyze(request: Request, user: ForUser, feelings: TheFeelings) -> EmotionAnalysis:
    """JSON `{text}` or a multipart `file`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "multipart/form-data":
        most = request.app.state.settings.max_clip_bytes
        async with feelings.files:
            return await feelings.file(user, await _in_time(file_of(request, most=most)))
    if kind == "application/json":
        return await feelings.text(_text_of(await request.body()))
    raise UnsupportedMedia("Send JSON {text} or multipart/form-data with a `file`.")


async def _in_time(coming: Awaitable[Body]) -> Body:
    """Raises BadRequest for a body that is too slow."""
    try:
        async with asyncio.timeout(BODY_S):
            return await coming
    except TimeoutError as error:
        raise BadRequest(f"The body did not come within {BODY_S:.0f} s.") from error


def _text_of(body: bytes) -> str:
    try:
        return AnalyzeText.model_validate_json(body).text
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


@router.post("/batch")
async def batch(request: AnalyzeBatch, user: ForUser, feelings: TheFeelings) -> EmotionBatch:
    """At most 256 texts of 20,000 characters."""
    return await feelings.batch(request.texts)


@router.post("/measure")
async def measure(request: Request, user: ForUser, feelings: TheFeelings) -> SpansMeasured:
    """Multipart: `spans` is JSON `[{start_s, end_s, words}]`, `pcm` a file of s16le, mono, 16 kHz. Not public."""
    async with feelings.measurements:
        return await feelings.spans(*await _in_time(spans_of(request)))


@router.post("/speech")
async def speech(request: AnalyzeSpeech, user: ForUser, feelings: TheFeelings) -> SpeechEmotion:
    """All segments of one recording, with the metrics that `/emotion/measure` gave. Not public."""
    return await feelings.speech(request.segments)
