"""Speakers: their voices and names."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from services.transcription.enrolment import Enrolments
from services.transcription.naming import Naming
from services.transcription.routes import Body, TheStudio
from services.transcription.voices import enrolled
from shared.auth.dependencies import ForUser
from shared.errors import Conflict
from shared.etags import IfMatch, mark
from shared.schemas.speakers import (
    AssignSpeakers,
    EditSpeaker,
    EnrolledSpeaker,
    Enrolment,
    SpeakerEdited,
    SpeakersAssigned,
    Undone,
)
from shared.schemas.wire import Page

router = APIRouter(prefix="/transcription")


async def the_enrolments(request: Request) -> Enrolments:
    enrolments: Enrolments = request.app.state.enrolments
    return enrolments


async def the_naming(request: Request) -> Naming:
    naming: Naming = request.app.state.naming
    return naming


TheEnrolments = Annotated[Enrolments, Depends(the_enrolments)]
TheNaming = Annotated[Naming, Depends(the_naming)]


@router.post("/enroll-speaker", status_code=201)
async def enroll(body: Body, user: ForUser, enrolments: TheEnrolments) -> Enrolment:
    return await enrolments.enroll(user, body)


@router.get("/speakers")
async def speakers(user: ForUser, studio: TheStudio) -> Page[EnrolledSpeaker]:
    people = await studio.pipeline.voices.speakers.all(user.user_id)
    return Page(data=[enrolled(each) for each in people], next_cursor=None, has_more=False)


@router.get("/speakers/{speaker_id}")
async def speaker(speaker_id: str, user: ForUser, studio: TheStudio, response: Response) -> EnrolledSpeaker:
    found = enrolled(await studio.pipeline.voices.speakers.get(user.user_id, speaker_id))
    mark(response, found.revision)
    return found


@router.patch("/speakers/{speaker_id}")
async def rename(
    speaker_id: str, change: EditSpeaker, user: ForUser, naming: TheNaming, expected: IfMatch, response: Response
) -> SpeakerEdited:
    found = await naming.rename(user, speaker_id, change, expected)
    mark(response, found.speaker.revision)
    return found


@router.delete("/speakers/{speaker_id}", status_code=204)
async def delete(speaker_id: str, user: ForUser, studio: TheStudio, expected: IfMatch) -> None:
    await studio.pipeline.voices.speakers.delete(user.user_id, speaker_id, expected)
    await studio.deletions.record(user.user_id, "speaker", speaker_id)


@router.post("/speakers/undo/{undo_id}")
async def undo(undo_id: str, user: ForUser, naming: TheNaming) -> Undone:
    return await naming.undo(user, undo_id)


@router.post("/{transcript_id}/speakers")
async def assign(
    transcript_id: str, wanted: AssignSpeakers, user: ForUser, studio: TheStudio, naming: TheNaming
) -> SpeakersAssigned:
    transcript = await studio.get(user, transcript_id)
    if transcript.status != "completed":
        raise Conflict(f"The recording is {transcript.status}; its speakers can be named once it is completed.")
    return await naming.assign(user, transcript, wanted)
