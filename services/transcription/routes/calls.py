"""The call-centre family."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from services.transcription.calls import Calls, told
from services.transcription.routes import Body
from shared.auth.dependencies import ForUser
from shared.auth.principal import Principal
from shared.errors import AudioUnreadable, ProductError, from_problem
from shared.schemas.calls import Call, CallAccepted, CallList
from shared.schemas.transcription import Status, Transcript

UNTOLD = "The call could not be transcribed."
router = APIRouter(prefix="/api/v1/transcribe")


async def the_calls(request: Request) -> Calls:
    calls: Calls = request.app.state.calls
    return calls


TheCalls = Annotated[Calls, Depends(the_calls)]


@router.post("", response_model=Call | CallAccepted, responses={202: {"model": CallAccepted}})
async def transcribe(
    body: Body,
    user: ForUser,
    calls: TheCalls,
    response: Response,
    wait_s: Annotated[float, Query(ge=0, le=300)] = 60.0,
) -> Call | CallAccepted:
    """200 with the call when it is done within `wait_s`, else 202; `Location` is where it is in either case."""
    accepted = await calls.receive(user, body)
    session_id = accepted.transcript_id
    response.headers["Location"] = f"/api/v1/transcribe/{session_id}"
    transcript = await _finished(calls, user, session_id, wait_s) if wait_s > 0 else None
    if transcript is None or transcript.status in ("queued", "processing"):
        response.status_code = 202
        return CallAccepted(session_id=session_id, status=transcript.status if transcript else "queued")
    if transcript.status == "failed":
        detail = f"{transcript.error or UNTOLD} It is kept as {session_id}."
        raise from_problem({"code": transcript.error_code or AudioUnreadable.code, "detail": detail}, status=422)
    return told(transcript)


async def _finished(calls: Calls, user: Principal, session_id: str, wait_s: float) -> Transcript | None:
    """None where nobody can say how far it is: the call is safe all the same, and its id must reach its owner."""
    try:
        return await calls.wait(user, session_id, wait_s)
    except ProductError as error:
        if error.status < 500:
            raise
        return None


@router.get("")
async def sessions(
    user: ForUser,
    calls: TheCalls,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    status: Status | None = None,
) -> CallList:
    return await calls.list(user, limit=limit, offset=offset, status=status)


@router.get("/{session_id}")
async def session(session_id: str, user: ForUser, calls: TheCalls) -> Call:
    return await calls.get(user, session_id)
