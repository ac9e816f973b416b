"""Calls of two people, left and right: kept like any recording, told in the words of call centres."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.transcription import wave_header
from services.transcription.service import Family, Studio
from services.transcription.settings import Settings
from services.transcription.wave_header import WaveHeader
from shared import summary
from shared.auth.principal import Principal
from shared.errors import AudioTooLong, AudioUnreadable
from shared.multipart import MultipartBody
from shared.schemas.calls import (
    Call,
    CallLine,
    CallList,
    CallMetadata,
    CallSegment,
    CallSummary,
    CallTranscript,
    Side,
)
from shared.schemas.problem import FieldError
from shared.schemas.transcription import Segment, Status, Transcript, UploadAccepted

NAME = "call"
OPTIONS = {"channels": "separate", "channel_labels": "left,right", "diarize": False}
BITS = (16, 24, 32)


class Calls:
    """Sessions of the family `call`; other recordings are none of them."""

    def __init__(self, settings: Settings, studio: Studio) -> None:
        self._settings, self._studio = settings, studio
        self._family = Family(NAME, self._checked, settings.call_bytes, OPTIONS)

    async def receive(self, user: Principal, body: MultipartBody) -> UploadAccepted:
        """Raises AudioUnreadable, AudioTooLong, TooLarge, Invalid; nothing is kept then."""
        return await self._studio.upload(user, body, self._family)

    async def wait(self, user: Principal, session_id: str, wait_s: float) -> Transcript:
        return await self._studio.wait(user, session_id, wait_s)

    async def get(self, user: Principal, session_id: str) -> Call:
        """Raises NotFound."""
        await self._studio.require_family(user, session_id, NAME)
        return told(await self._studio.get(user, session_id))

    async def list(self, user: Principal, *, limit: int, offset: int, status: Status | None) -> CallList:
        found = await self._studio.of_family(user, NAME, limit=limit + 1, offset=offset, status=status)
        lines = [
            CallLine(
                session_id=each.transcript_id,
                status=each.status,
                created_at=each.created_at,
                duration=each.duration_s,
                error=each.error,
            )
            for each in found[:limit]
        ]
        return CallList(data=lines, limit=limit, offset=offset, has_more=len(found) > limit)

    async def _checked(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes, refused as soon as they show that they are no such call."""
        head, header, total = b"", None, 0
        async for chunk in chunks:
            total += len(chunk)
            if header is None:
                head += chunk[: wave_header.MOST_BYTES]
                header = wave_header.read(head)
                if header is not None:
                    self._check_format(header)
            yield chunk
        if header is None:
            raise _refused("The file breaks off before its sound; send a whole WAV file.")
        self._check_length(header.seconds(total))

    def _check_format(self, header: WaveHeader) -> None:
        low, high = self._settings.call_min_hz, self._settings.call_max_hz
        if header.channels != 2:
            raise _refused(
                f"A call has one voice a channel, so the file must be stereo; this one has {header.channels}"
                f" channel{'s' if header.channels > 1 else ''}. Send others to /transcription/upload."
            )
        if not low <= header.rate_hz <= high:
            raise _refused(f"The sample rate is {header.rate_hz} Hz; resample the file to {low} to {high} Hz.")
        if header.bits not in BITS:
            raise _refused(f"The samples have {header.bits} bits; convert them to 16, 24 or 32.")

    def _check_length(self, seconds: float) -> None:
        if seconds < self._settings.call_min_s:
            raise _refused(f"The call lasts {seconds:.2f} s; at least {self._settings.call_min_s:g} s are needed.")
        if seconds > self._settings.call_max_s:
            raise AudioTooLong(
                f"The call lasts {seconds / 60:.1f} minutes, the limit is {self._settings.call_max_s / 60:g}; cut it,"
                " or send it to /transcription/upload.",
                errors=[FieldError(pointer="/audio", detail="too long")],
            )


def _refused(detail: str) -> AudioUnreadable:
    return AudioUnreadable(detail, errors=[FieldError(pointer="/audio", detail="not such a call")])


def told(transcript: Transcript) -> Call:
    """A transcript in the words of call centres."""
    segments = sorted(transcript.segments, key=lambda each: (each.start_s, each.channel))
    models = transcript.metadata.models.model_dump(exclude_none=True)
    return Call(
        session_id=transcript.transcript_id,
        status=transcript.status,
        transcript=CallTranscript(segments=[_segment(each) for each in segments]),
        summary=_summary(segments) if transcript.status == "completed" else None,
        metadata=CallMetadata(
            duration=transcript.duration_s,
            processing_time=transcript.metadata.processing_s,
            model_versions=models,
        ),
        warnings=transcript.warnings,
        error=transcript.error,
    )


def _segment(segment: Segment) -> CallSegment:
    return CallSegment(
        speaker=side_of(segment),
        start_time=segment.start_s,
        end_time=segment.end_s,
        text=segment.text,
        confidence=segment.confidence,
    )


def side_of(segment: Segment) -> Side:
    """A call whose channels are copies is all left: who speaks cannot be told by channel."""
    return "right" if segment.channel == 1 else "left"


def _summary(segments: list[Segment]) -> CallSummary:
    said = summary.sentences((side_of(each), each.text) for each in segments)
    return CallSummary(
        text=summary.text(said), key_points=summary.key_points(said), sentiment=summary.sentiment(segments)
    )
