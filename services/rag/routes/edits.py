"""Edits of transcripts and their revisions, for the transcription service."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Response

from services.rag import edits, revisions, transcripts
from services.rag.routes import TheLibrary
from services.rag.transcripts import Edit
from services.rag.vaults import Vault
from shared.auth.dependencies import ForUser
from shared.etags import IfMatch, mark
from shared.schemas.edits import ChangeSpeakers, EditSegment, MergeSegments, Revert, Revision, SplitSegment
from shared.schemas.transcription import Transcript
from shared.schemas.wire import Page

router = APIRouter(prefix="/rag/transcripts/{transcript_id}")
Number = Annotated[int, Path(ge=1, lt=1_000_000_000)]


@router.patch("/segments/{segment_id}")
async def edit_segment(
    transcript_id: str,
    segment_id: str,
    change: EditSegment,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
) -> Transcript:
    apply = partial(edits.edit_segment, segment_id=segment_id, change=change)
    edit = Edit(edits.kind_of(change), apply, segment_id)
    changed = await library.revise(user.user_id, transcript_id, edit, expected)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/split")
async def split(
    transcript_id: str,
    segment_id: str,
    where: SplitSegment,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
) -> Transcript:
    edit = Edit("split", partial(edits.split, segment_id=segment_id, where=where), segment_id)
    changed = await library.revise(user.user_id, transcript_id, edit, expected)
    mark(response, changed.revision)
    return changed


@router.post("/segments/{segment_id}/merge")
async def merge(
    transcript_id: str,
    segment_id: str,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
    how: MergeSegments | None = None,
) -> Transcript:
    apply = partial(edits.merge, segment_id=segment_id, how=how or MergeSegments())
    changed = await library.revise(user.user_id, transcript_id, Edit("merge", apply, segment_id), expected)
    mark(response, changed.revision)
    return changed


@router.put("/speakers")
async def put_speakers(
    transcript_id: str,
    change: ChangeSpeakers,
    user: ForUser,
    library: TheLibrary,
    expected: IfMatch,
    response: Response,
) -> Transcript:
    edit = Edit("speakers", partial(edits.change_speakers, change=change))
    changed = await library.revise(user.user_id, transcript_id, edit, expected)
    mark(response, changed.revision)
    return changed


@router.get("/revisions")
async def revisions_of(transcript_id: str, user: ForUser, library: TheLibrary) -> Page[Revision]:
    """Newest first. The first state and the last 100 are kept."""
    work = partial(_revisions, transcript_id=transcript_id)
    return Page(data=await library.run(user.user_id, work))


def _revisions(vault: Vault, transcript_id: str) -> list[Revision]:
    return revisions.of(vault, transcripts.get(vault, transcript_id))


@router.get("/revisions/{revision}")
async def revision_at(
    transcript_id: str, revision: Number, user: ForUser, library: TheLibrary, response: Response
) -> Transcript:
    found = await library.transcript_at(user.user_id, transcript_id, revision)
    mark(response, found.revision)
    return found


@router.post("/revert")
async def revert(
    transcript_id: str, to: Revert, user: ForUser, library: TheLibrary, expected: IfMatch, response: Response
) -> Transcript:
    changed = await library.revert(user.user_id, transcript_id, to.revision, expected)
    mark(response, changed.revision)
    return changed
