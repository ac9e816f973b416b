"""HTTP of the transcription service."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from services.transcription.service import Studio
from shared.multipart import MultipartBody


async def the_studio(request: Request) -> Studio:
    studio: Studio = request.app.state.studio
    return studio


async def multipart_body(request: Request) -> MultipartBody:
    return MultipartBody(request.headers.get("content-type", ""), request.stream())


TheStudio = Annotated[Studio, Depends(the_studio)]
Body = Annotated[MultipartBody, Depends(multipart_body)]
