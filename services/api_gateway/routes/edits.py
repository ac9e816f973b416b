"""Edits of transcripts and their revisions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from services.api_gateway.relay import Relayed, relay
from services.api_gateway.routes import PROBLEMS, Services
from shared.auth.dependencies import CurrentUser
from shared.etags import Conditions, mark
from shared.schemas.edits import EditSegment, MergeSegments, Revert, Revision, SplitSegment
from shared.schemas.transcription import Transcript
from shared.schemas.wire import Page

router = APIRouter(
    prefix="/transcription/{transcript_id}", tags=["recordings"], responses=PROBLEMS, route_class=Relayed
)
Number = Annotated[int, Path(ge=1, lt=1_000_000_000)]


@router.patch("/segments/{segment_id}")
async def edit_segment(
    transcript_id: str,
    segment_id: str,
    change: EditSegment,
    user: CurrentUser,
    services: Services,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    """Another text or speaker for one segment. Words that stay keep their times; search finds the new ones at once."""
    changed = await services.transcription.edit_segment(user, transcript_id, segment_id, change, if_match)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/split")
async def split(
    transcript_id: str,
    segment_id: str,
    where: SplitSegment,
    user: CurrentUser,
    services: Services,
    if_match: Conditions,
    response: Response,
) -> Transcript:
    """Two segments of one, cut before a word."""
    changed = await services.transcription.split_segment(user, transcript_id, segment_id, where, if_match)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/merge")
async def merge(
    transcript_id: str,
    segment_id: str,
    user: CurrentUser,
    services: Services,
    if_match: Conditions,
    response: Response,
    how: MergeSegments | None = None,
) -> Transcript:
    """Join a segment with the next one; 409 where that is another speaker's and it is not forced."""
    changed = await services.transcription.merge_segments(
        user, transcript_id, segment_id, how or MergeSegments(), if_match
    )
    mark(response, changed.revision)
    return changed


@router.get("/revisions")
async def revisions_of(transcript_id: str, user: CurrentUser, services: Services) -> Page[Revision]:
    """What was changed and when, newest first. The first state and the last 100 are kept."""
    return await services.transcription.revisions(user, transcript_id)


@router.get("/revisions/{revision}", response_model=Transcript)
async def revision_at(
    transcript_id: str, revision: Number, request: Request, user: CurrentUser, services: Services
) -> Response:
    """The transcript as it was."""
    return await relay(services.transcription, request, user)


@router.post("/revert")
async def revert(
    transcript_id: str, to: Revert, user: CurrentUser, services: Services, if_match: Conditions, response: Response
) -> Transcript:
    """Back to what it was at a revision. That is a revision too, so it can be taken back."""
    changed = await services.transcription.revert(user, transcript_id, to, if_match)
    mark(response, changed.revision)
    return changed
