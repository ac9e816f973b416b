"""Multipart requests, in memory and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from shared.audio.decode import RATE_HZ, Samples
from shared.errors import AudioTooLong, AudioUnreadable, BadRequest, Invalid, TooLarge
from shared.schemas.emotion import MEASURE_SPANS, MOST_PCM_S, MOST_SPANS_S, MeasureSpan
from shared.schemas.problem import FieldError

FIELDS = ("file", "audio_file")
SPANS_BYTES = 512 * 1024
PCM_BYTES = int(MOST_PCM_S * RATE_HZ) * 2


class InMemory(MultiPartParser):
    """Starlette's parser puts whatever is larger than a megabyte on the disk, in the clear; this one never does."""

    spool_max_size = 0  # what a spooled file takes for "no limit"


@asynccontextmanager
async def _form(request: Request, most_part_bytes: int) -> AsyncIterator[FormData]:
    """Raises BadRequest for a broken body. `most_part_bytes` is for parts that are no files."""
    parser = InMemory(request.headers, request.stream(), max_files=1, max_fields=10, max_part_size=most_part_bytes)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The multipart body cannot be read. {error.message}") from error
    try:
        yield form
    finally:
        await form.close()


async def file_of(request: Request, *, most: int) -> bytes:
    """The file, at most `most` bytes. Raises Invalid without one, TooLarge, or BadRequest for a broken body."""
    async with _form(request, 4096) as form:
        file = next((form[name] for name in FIELDS if name in form), None)
        if not isinstance(file, UploadFile):
            raise _missing("file", "The file is missing; send it in the field `file`.")
        data = await file.read()
    if len(data) > most:
        raise TooLarge(f"The file is larger than the limit of {most} bytes.")
    return data


async def spans_of(request: Request) -> tuple[Samples, list[MeasureSpan]]:
    """Samples [n] of `pcm` and the spans to measure in them. Raises Invalid, AudioUnreadable, AudioTooLong."""
    async with _form(request, SPANS_BYTES) as form:
        spans, pcm = form.get("spans"), form.get("pcm")
        if not isinstance(spans, str):
            raise _missing("spans", "The spans are missing; send them as JSON in the field `spans`.")
        if not isinstance(pcm, UploadFile):
            raise _missing("pcm", "The sound is missing; send it as a file in the field `pcm`.")
        data = await pcm.read()
    return _samples(data), _spans(spans)


def _missing(field: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError(pointer=f"/{field}", detail="required")])


def _samples(data: bytes) -> Samples:
    if len(data) > PCM_BYTES:
        raise AudioTooLong(f"The sound is longer than {MOST_PCM_S:.0f} s; send it in parts.")
    if not data or len(data) % 2:
        raise AudioUnreadable("`pcm` is not a whole number of 16-bit samples.")
    return np.frombuffer(data, dtype="<i2")


def _spans(text: str) -> list[MeasureSpan]:
    try:
        spans = MEASURE_SPANS.validate_json(text)
    except ValidationError as error:
        found = [
            FieldError(pointer="/".join(["/spans", *map(str, each["loc"])]), detail=each["msg"])
            for each in error.errors(include_input=False)[:20]
        ]
        raise Invalid(f"The spans are not valid. {found[0].pointer}: {found[0].detail}", errors=found) from error
    if sum(each.end_s - each.start_s for each in spans) > MOST_SPANS_S:
        raise Invalid(
            f"The spans are longer than {MOST_SPANS_S:.0f} s together; send fewer of them.",
            errors=[FieldError(pointer="/spans", detail="too long together")],
        )
    return spans
