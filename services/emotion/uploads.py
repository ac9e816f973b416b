"""The one file of a multipart request, in memory and nowhere else."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from shared.errors import BadRequest, Invalid, TooLarge
from shared.schemas.problem import FieldError

FIELDS = ("file", "audio_file")


class InMemory(MultiPartParser):
    """Starlette's parser puts whatever is larger than a megabyte on the disk, in the clear; this one never does."""

    spool_max_size = 0  # what a spooled file takes for "no limit"


async def file_of(request: Request, *, most: int) -> bytes:
    """The file, at most `most` bytes. Raises Invalid without one, TooLarge, or BadRequest for a broken body."""
    parser = InMemory(request.headers, request.stream(), max_files=1, max_fields=10, max_part_size=4096)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(f"The multipart body cannot be read. {error.message}") from error
    try:
        file = next((form[name] for name in FIELDS if name in form), None)
        if not isinstance(file, UploadFile):
            raise Invalid(
                "The file is missing; send it in the field `file`.",
                errors=[FieldError(pointer="/file", detail="required")],
            )
        data = await file.read()
    finally:
        await form.close()
    if len(data) > most:
        raise TooLarge(f"The file is larger than the limit of {most} bytes.")
    return data
