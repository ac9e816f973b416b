"""Samples of a voice that a user sends, or points at in a recording."""

from __future__ import annotations

import asyncio

from pydantic import TypeAdapter, ValidationError

from services.transcription.channels import stretches
from services.transcription.engines import Sound
from services.transcription.repository import Recordings
from services.transcription.settings import Settings
from services.transcription.sound import sound_of
from services.transcription.voices import Voices
from shared.audio.decode import DecodeLimits, as_float, decode
from shared.auth.principal import Principal
from shared.clients.rag import RagClient
from shared.errors import Conflict, Invalid
from shared.multipart import MultipartBody
from shared.schemas.problem import FieldError
from shared.schemas.speakers import Enrolment, SpeakerId, SpeakerName
from shared.schemas.transcription import Segment
from shared.storage.blobs import Blobs
from shared.storage.keyring import Keyring

MOST_S = 300.0
"""Of one sample; more of it says no more about a voice."""
_ID: TypeAdapter[str] = TypeAdapter(SpeakerId)
_NAME: TypeAdapter[str] = TypeAdapter(SpeakerName)


class Enrolments:
    """Of all users; every method is told whose."""

    def __init__(
        self, settings: Settings, recordings: Recordings, blobs: Blobs, keyring: Keyring, rag: RagClient, voices: Voices
    ) -> None:
        self._settings, self._recordings, self._blobs, self._keyring = settings, recordings, blobs, keyring
        self._rag, self._voices = rag, voices

    async def enroll(self, user: Principal, body: MultipartBody) -> Enrolment:
        """From the file of the form, else from its `transcript_id` with `label` or `segment_ids`.

        Raises Invalid naming the field, or with the reason why the sound is no sample.
        """
        await self._keyring.data_key(user.user_id)  # a locked vault says so before the body is read
        data = await self._file(body)
        speaker_id, name = _who(body.fields)
        if data:
            decoded = await decode(data, limits=DecodeLimits(max_s=MOST_S, max_channels=2))
            return await self._voices.enroll(user.user_id, speaker_id, name, as_float(decoded.mono()), {})
        sound, source = await self._from_recording(user, body.fields)
        return await self._voices.enroll(user.user_id, speaker_id, name, sound, source)

    async def _file(self, body: MultipartBody) -> bytes:
        most = self._settings.clip_bytes
        detail = f"A sample may have {most} bytes; a minute of speech is enough."
        data = b""
        try:
            data = await body.whole("audio_file", "file", "audio", most=most, detail=detail)
        except Invalid:
            if "transcript_id" not in body.fields:
                raise
        if not data and "transcript_id" not in body.fields:
            raise _invalid("/audio_file", "The file is empty.")
        return data

    async def _from_recording(self, user: Principal, fields: dict[str, str]) -> tuple[Sound, dict[str, str]]:
        recording = await self._recordings.get(fields["transcript_id"], user.user_id)
        if recording.status != "completed":
            raise Conflict(f"The recording is {recording.status}; enrol from it once it is completed.")
        transcript = await self._rag.transcript(user, recording.recording_id)
        wanted = _chosen(transcript.segments, fields)
        tracks = await sound_of(recording, self._blobs, self._keyring, self._settings)
        channel = wanted[0].channel if len(tracks.channels) > 1 else 0
        signal = tracks.channels[channel] if _separate(transcript.segments) else tracks.mono()
        sound = as_float(await asyncio.to_thread(stretches, signal, wanted, MOST_S))
        return sound, {"recording_id": recording.recording_id} | _label(fields)


def _separate(segments: list[Segment]) -> bool:
    return any(each.channel > 0 for each in segments)


def _label(fields: dict[str, str]) -> dict[str, str]:
    """A sample of a label goes when the label is named anew; segments that were pointed at stay whose they are."""
    ids = fields.get("segment_ids", "").replace(",", "").strip()
    return {} if ids else {"label": fields["label"]}


def _chosen(segments: list[Segment], fields: dict[str, str]) -> list[Segment]:
    """The segments that the form points at; those in which others talk too are left out."""
    ids = {each.strip() for each in fields.get("segment_ids", "").split(",") if each.strip()}
    label = fields.get("label")
    if not ids and not label:
        raise _invalid("/segment_ids", "Say which segments, or the `label` of a speaker of the recording.")
    found = [each for each in segments if (each.segment_id in ids if ids else each.speaker == label)]
    if not found:
        raise _invalid("/segment_ids" if ids else "/label", "The recording has no such segment or speaker.")
    alone = [each for each in found if not each.overlap] or found
    return [each for each in alone if each.channel == alone[0].channel]


def _who(fields: dict[str, str]) -> tuple[str, str | None]:
    try:
        speaker_id = _ID.validate_python(fields.get("speaker_id", ""))
    except ValidationError as error:
        detail = "1 to 64 letters, digits, `_` and `-`, for example john_doe"
        raise _invalid("/speaker_id", f"speaker_id takes {detail}.") from error
    try:
        name = _NAME.validate_python(fields["name"]) if fields.get("name", "").strip() else None
    except ValidationError as error:
        raise _invalid("/name", "name takes 1 to 100 characters.") from error
    return speaker_id, name


def _invalid(pointer: str, detail: str) -> Invalid:
    return Invalid(detail, errors=[FieldError(pointer=pointer, detail=detail)])
