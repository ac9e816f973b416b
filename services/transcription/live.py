"""Recordings whose sound is still coming: durable first, then heard, then shown.

Every piece of sound is on the disk before it is acknowledged. A detector cuts it into utterances; one loop over all
sessions gives each ended utterance its final words, oldest first, and looks at open ones in between for partials. When
the sound has ended, the recording is queued like an upload, so its transcript is the one that an upload would have.
A dropped connection, or the death of this process, costs nothing: all state is made again from what is stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from services.transcription.chunking import moved
from services.transcription.endpoints import Utterance
from services.transcription.engines import Heard, Sound, Voice
from services.transcription.outbox import Outbox
from services.transcription.passing import PassingSound, Unrecorded
from services.transcription.pipeline import Pipeline
from services.transcription.redaction import redact
from services.transcription.repository import Recording
from services.transcription.service import LIVE, Studio
from services.transcription.session import Ended, Session
from services.transcription.settings import Settings
from shared.audio.decode import RATE_HZ
from shared.errors import Busy, Conflict, ModelFailed, ModelLost, ModelOutOfMemory, NotFound, ProductError, VaultLocked
from shared.lifecycle import comes
from shared.schemas.live import Ack, End, Event, Failed, Final, Partial, Ready, Relabelled, Revise, Start, Warned
from shared.schemas.transcription import Segment
from shared.storage.journal import Journals
from shared.telemetry import here

log = logging.getLogger(__name__)
Result = TypeVar("Result")
LOOK_S = 0.8
"""New sound after which an open utterance is looked at again, where there is time."""
TURN_S = 60.0
"""How long a final waits for the model before its session is told so."""
LINGER_S = 120.0
"""How long a session without a client stays in memory."""
HEARD_S, TIDY_S = 10.0, 5.0
RETURN_S = 60.0
"""After a start, how long clients of the process before have to come back."""
REVISE_EVERY = 4
"""Finals after which the speakers so far are compared anew."""
TRIES = 3


class Room:
    """All live sessions, and the one loop that listens to them."""

    def __init__(self, settings: Settings, studio: Studio, pipeline: Pipeline, journals: Journals) -> None:
        self._settings, self._studio, self._pipeline, self._journals = settings, studio, pipeline, journals
        self._recordings, self._keyring = studio.recordings, studio.keyring
        self._sessions: dict[str, Session] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._bell = asyncio.Event()
        self._since: float | None = None
        # Its own threads: what is said must reach the disk whatever else there is to compute.
        self._hands = ThreadPoolExecutor(max_workers=4, thread_name_prefix="live")
        pipeline.live_first = self.waiting
        here().ask("nemo_live_sessions", lambda: len(self._sessions))
        here().ask("nemo_live_lag_seconds", self._worst_lag_s)

    def _worst_lag_s(self) -> float:
        return max((each.lag_s() for each in list(self._sessions.values())), default=0.0)

    def waiting(self) -> bool:
        """Somebody who listens waits for words; recordings in the background let them go first."""
        return any(each.ended for each in list(self._sessions.values()))  # also asked by other threads

    async def _by_hand(self, work: Callable[..., Result], *given: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._hands, work, *given)

    async def _whole(self, work: Coroutine[Any, Any, None]) -> None:
        """To its end, also where whoever asked for it is gone: half a piece saved would be a piece in doubt."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    # -- coming and going

    async def open(self, owner: str, start: Start, outbox: Outbox) -> Session:
        """A new session, or the one of the token; whoever held it before is sent away.

        Raises NotFound, Invalid, or Busy where the user has too many sessions open.
        """
        if start.resume_token is None:
            session, token = await self._new(owner, start)
        else:
            session, token = await self._resumed(owner, start.resume_token), start.resume_token
        async with session.busy:  # what is being saved for another connection is counted, what comes later is not
            finals = await self._recordings.parts(session.recording, "live") if start.resume_token else {}
            if session.outbox is not None:
                session.outbox.taken_over()
            session.outbox = outbox
            session.forget_rest()
            self._greet(session, start, token, finals)
        return session

    def _greet(self, session: Session, start: Start, token: str | None, finals: Mapping[int, Any]) -> None:
        """`ready`, and the finals that the client may not have received, under the numbers that they had."""
        resumed = start.resume_token is not None
        ready = Ready(
            transcript_id=session.recording.recording_id if session.kept else None, resume_token=token,
            resumed=resumed, audio_ms=session.audio_ms, sample_rate_hz=session.rate_hz, channels=session.count,
            partials=not session.redacts,
        )  # fmt: skip
        if not resumed or session.outbox is None:
            session.tell(ready)
            return
        session.outbox.refill([ready.model_copy(update={"seq": start.last_seq}), *_missed(session, finals, start)])
        session.seq = max(session.seq, start.last_seq)
        labels = dict(session.voices.labels())
        changed = [
            Relabelled(segment_id=each["segment_id"], speaker=label, name=session.name_of(label))
            for value in finals.values()
            for each in value["segments"]
            if (label := labels.get(each["segment_id"], each["speaker"])) != each["speaker"]
        ]
        if changed:
            session.tell(Revise(segments=changed))

    async def _new(self, owner: str, start: Start) -> tuple[Session, str | None]:
        if sum(each.recording.owner == owner for each in self._sessions.values()) >= self._settings.live_sessions:
            raise Busy("Too many live recordings are open; stop one of them first.")
        if not start.keep:
            return await self._loaded(self._studio.unkept(owner, start)), None
        secret = secrets.token_urlsafe(24)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        recording = await self._studio.begin(owner, start, digest)
        session = await self._loaded(recording)
        return session, f"{recording.recording_id}.{secret}"

    async def _resumed(self, owner: str, token: str) -> Session:
        recording_id, _, secret = token.partition(".")
        recording = await self._recordings.get(recording_id, owner)
        digest = hashlib.sha256(secret.encode()).hexdigest()
        kept = str((recording.options.get("live") or {}).get("resume", ""))
        if not hmac.compare_digest(kept, digest):
            raise NotFound
        if recording.status != LIVE:
            raise NotFound("This recording has ended; read it by its transcript_id.")
        return await self._loaded(recording)

    async def _loaded(self, recording: Recording) -> Session:
        """The session in memory; made of what is stored where there is none."""
        async with self._opening.setdefault(recording.recording_id, asyncio.Lock()):
            session = self._sessions.get(recording.recording_id)
            if session is None:
                session = await self._restored(recording)
                self._sessions[recording.recording_id] = session
                self._bell.set()
        if await self._keyring.locked(recording.owner):  # while it was being made
            await self.drop(recording.recording_id)
            raise VaultLocked
        return session

    async def _restored(self, recording: Recording) -> Session:
        voices = await self._pipeline.voices.live(recording)
        if not recording.options["live"].get("keep", True):
            session = Session(recording, PassingSound(), voices, Unrecorded())
            await self._by_hand(session.restore, {}, {})
            return session
        key = await self._keyring.data_key(recording.owner)
        journal = await self._journals.open(recording.owner, recording.recording_id, key)
        try:
            session = Session(recording, journal, voices, self._recordings)
            utterances = await self._recordings.parts(recording, "utterance")
            finals = await self._recordings.parts(recording, "live")
            await self._by_hand(session.restore, utterances, finals)
            await self._queue(session, await self._by_hand(session.overheard))
        except BaseException:
            journal.close()
            raise
        return session

    async def leave(self, session: Session, outbox: Outbox) -> None:
        """The client is gone; what it sent is kept and worked on all the same."""
        if session.outbox is not outbox:
            return
        if not session.kept:
            session.outbox = None
            await self.drop(session.recording.recording_id)
            return
        try:
            if piece := session.rest():
                await self._save(session, outbox, piece)
            await self._recordings.touch(session.recording, 0)
        except ProductError:
            log.warning("the last moment of a live stream was not kept")
        finally:
            if session.outbox is outbox:
                session.outbox = None
                session.left_at = asyncio.get_running_loop().time()

    # -- sound

    async def hear(self, session: Session, outbox: Outbox, data: bytes) -> bool:
        """False where the longest recording is reached. Raises NotFound where it was deleted, Conflict once over."""
        if session.outbox is not outbox:
            raise Conflict("This stream goes on over another connection.")
        if session.seconds_of(session.journal.size_bytes + len(data)) > self._settings.max_duration_s:
            detail = "The longest recording is reached, so it is finished now; begin another one."
            session.tell(Warned(code="longest_reached", detail=detail))
            return False
        if piece := session.take(data):
            await self._save(session, outbox, piece)
        return True

    async def _save(self, session: Session, outbox: Outbox | None, piece: bytes) -> None:
        await self._whole(self._saved(session, outbox, piece))

    async def _saved(self, session: Session, outbox: Outbox | None, piece: bytes) -> None:
        """On the disk, acknowledged, listened to. Nothing of a connection that was sent away meanwhile."""
        async with session.busy:
            if session.outbox is not outbox:
                return
            if session.stopping:
                raise Conflict("The recording was stopped; what came after that was not kept.")
            await self._by_hand(session.journal.append, piece)
            if session.kept:
                session.tell(Ack(audio_ms=session.audio_ms))
            await self._queue(session, await self._by_hand(session.hear, piece))
            session.forget_sound()
            session.tell_voices()
            session.tell_lag()
        if not await session.records.touch(session.recording, HEARD_S):
            await self.drop(session.recording.recording_id)
            raise NotFound
        self._bell.set()

    async def _queue(self, session: Session, ended: list[Ended]) -> None:
        """An utterance is stored before it is worked on, so that a restart finds it; what the database did not take
        is offered again."""
        session.unsaved += ended
        while session.unsaved:
            each = session.unsaved[0]
            value = {"channel": each.channel, "start": each.at.start, "end": each.at.end}
            await session.records.put_part(session.recording, "utterance", each.number, value)
            session.ended.append(session.unsaved.popleft())
            session.done.clear()

    async def flush(self, session: Session, *, last: bool = False) -> None:
        if piece := session.rest():
            await self._save(session, session.outbox, piece)
        await self._whole(self._flushed(session, last))

    async def _flushed(self, session: Session, last: bool) -> None:
        async with session.busy:
            session.stopping = session.stopping or last
            await self._queue(session, session.flush())
            session.tell_voices()
            session.tell_quiet()
        self._bell.set()

    async def stop(self, session: Session) -> None:
        """To the end: all finals, then the recording is one like any other."""
        await asyncio.shield(self._stopped(session))

    def _stopped(self, session: Session) -> asyncio.Task[None]:
        """It goes on also where the client does not wait for its end."""
        recording_id = session.recording.recording_id
        if recording_id not in self._ending:
            self._ending[recording_id] = asyncio.create_task(self._end(session))
        return self._ending[recording_id]

    async def _end(self, session: Session) -> None:
        try:
            await self.flush(session, last=True)
            await session.done.wait()
            await self._finish(session)
        except Exception as error:
            session.stopping = False  # it is tried again, by the client or by the tidying
            log.warning("a live recording could not be finished", extra={"kind": type(error).__name__})
            raise
        finally:
            self._ending.pop(session.recording.recording_id, None)

    async def _finish(self, session: Session) -> None:
        recording, size = session.recording, session.journal.size_bytes
        if not session.kept:
            duration_s = round(session.seconds_of(size), 3)
            session.tell(End(audio_ms=session.audio_ms, duration_s=duration_s))
            await self.drop(recording.recording_id)
            return
        if size == 0:
            await self._studio.discard(recording.owner, recording.recording_id)  # said once it is so
            session.tell(Failed(code="no_sound", detail="No sound came, so nothing was kept."))
            await self.drop(recording.recording_id)
            return
        job_id = await self._studio.adopt(recording, _wav(session))
        end = End(
            transcript_id=recording.recording_id, job_id=job_id, audio_ms=session.audio_ms,
            duration_s=round(session.seconds_of(size), 3),
        )  # fmt: skip
        session.tell(end)
        await self.drop(recording.recording_id)

    async def drop(self, recording_id: str) -> None:
        """Out of memory; what is stored stays."""
        session = self._sessions.pop(recording_id, None)
        self._opening.pop(recording_id, None)
        if session is not None:
            async with session.busy:
                session.ended.clear()
                session.done.set()
                await self._by_hand(session.journal.close)

    async def lock(self, owner: str) -> None:
        """The user's streams end; what they sent stays, and is gone on with or finished once the vault is unlocked."""
        for recording_id, session in list(self._sessions.items()):
            if session.recording.owner != owner:
                continue
            outbox, session.outbox = session.outbox, None
            try:
                if piece := session.rest():
                    await self._save(session, None, piece)
            except ProductError:
                log.warning("the last moment of a live stream was not kept")
            if outbox is not None:
                outbox.locked()
            await self.drop(recording_id)

    async def tidy(self) -> None:
        """For ever: forget sessions without a client, end those that nobody has come back to."""
        self._since = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                await self._tidied(asyncio.get_running_loop().time())
            except Exception as error:  # a bug here must not end the tidying for good
                log.exception("tidying up live sessions failed", extra={"kind": type(error).__name__})

    async def _tidied(self, now: float) -> None:
        resume_s = self._settings.resume_s
        for recording_id, session in list(self._sessions.items()):
            if session.outbox is None and not session.ended and now - session.left_at > LINGER_S:
                await self.drop(recording_id)
        if self._since is None or now - self._since < min(RETURN_S, resume_s):
            return  # clients of the process before this one are on their way
        for recording_id, owner in await self._recordings.silent(resume_s):
            here = self._sessions.get(recording_id)
            if here is not None and (here.outbox is not None or now - here.left_at < resume_s):
                continue
            try:
                here = here or await self._loaded(await self._recordings.get(recording_id, owner))
                if here.outbox is None:
                    self._stopped(here).add_done_callback(_heard_out)
            except VaultLocked:
                continue
            except Exception as error:  # one that cannot be finished must not keep the others
                log.exception("a live recording cannot be finished", extra={"kind": type(error).__name__})

    # -- words

    async def run(self) -> None:
        """For ever: finals first, then looks at what is being said."""
        while True:
            try:
                worked = await self._final() or await self._look()
            except Busy as error:
                worked = False
                self._tell_all(Warned(code=error.code, detail=f"{error.detail} The sound is kept meanwhile."))
                await asyncio.sleep(1.0)
            except Exception as error:  # nothing may end the loop but its own cancellation
                worked = False
                log.exception("a live session stumbled", extra={"kind": type(error).__name__})
                await asyncio.sleep(0.2)
            if not worked:
                self._bell.clear()
                await comes(self._bell, 0.5)

    def _tell_all(self, warning: Warned) -> None:
        for session in self._sessions.values():
            if session.ended:
                session.tell(warning.model_copy())

    async def _final(self) -> bool:
        """The words of the utterance that has waited longest. True where there was one."""
        waiting = [each for each in self._sessions.values() if each.ended]
        if not waiting:
            return False
        session = max(waiting, key=Session.lag_s)
        ended = session.ended[0]
        try:
            await self._words(session, ended)
        except Busy as error:
            if not isinstance(error, ModelLost | ModelFailed | ModelOutOfMemory):
                raise
            session.failures += 1
            if session.failures < TRIES:
                raise
        except Exception as error:  # the last reading of the whole has another chance
            session.failures += 1
            log.exception("an utterance failed", extra={"kind": type(error).__name__})
            if session.failures < TRIES:
                return True
        session.failures = 0
        if session.ended and session.ended[0] is ended:
            session.ended.popleft()
        if not session.ended:
            session.done.set()
        session.tell_lag()
        session.tell_quiet()
        return True

    async def _words(self, session: Session, ended: Ended) -> None:
        sound = await self._by_hand(session.sound, ended.channel, ended.at)
        options = session.recording.options
        heard = await self._pipeline.utterance(
            sound, language=session.language, hotwords=options.get("hotwords"), most_s=TURN_S
        )
        session.language = session.language or (heard.language if heard.segments else None)
        voice = await self._voice(session, sound) if heard.segments else None
        segments = self._segments(session, ended, heard, voice)
        async with session.busy:  # nothing else may take the numbers that are stored
            value = {
                "seq": session.seq + 1, "language": heard.language, "voice": session.voices.plain(voice),
                "segments": [each.model_dump() for each in segments],
            }  # fmt: skip
            await session.records.put_part(session.recording, "live", ended.number, value)
            for each in segments:
                session.tell(Final.of(each, ended.number, session.name_of(each.speaker)))
        if segments and session.count == 1 and session.voices.due(REVISE_EVERY):
            await self._revise(session)

    async def _voice(self, session: Session, sound: Sound) -> Voice | None:
        if session.count > 1 or not session.recording.options["diarize"]:
            return None
        return await self._pipeline.voice(sound)

    def _segments(self, session: Session, ended: Ended, heard: Heard, voice: Voice | None) -> list[Segment]:
        found = [moved(each, ended.at.start / RATE_HZ, ended.channel) for each in heard.segments]
        if session.redacts:
            found, _ = redact(found, session.redacts)
        if session.count > 1 or not found:
            return found
        label = session.voices.add(voice, [each.segment_id for each in found])
        return [each.model_copy(update={"speaker": label}) for each in found]

    async def _revise(self, session: Session) -> None:
        revised = await self._by_hand(session.voices.revised)
        changed = [Relabelled(segment_id=each, speaker=label, name=session.name_of(label)) for each, label in revised]
        if changed:
            session.tell(Revise(segments=changed))

    async def _look(self) -> bool:
        """At the open utterance that has grown most since it was last looked at. True where there was one."""
        grown = [
            (at.end - max(at.start, line.looked), session, number, at)
            for session in self._sessions.values()
            if session.outbox is not None and not session.redacts and not session.stopping
            for number, line in enumerate(session.lines)
            if (at := line.endpoints.open) is not None
        ]
        if not grown:
            return False
        most, session, number, at = max(grown, key=lambda each: each[0])
        if most < LOOK_S * RATE_HZ:
            return False
        await self._guess(session, number, at)
        return True

    async def _guess(self, session: Session, number: int, at: Utterance) -> None:
        line = session.lines[number]
        async with session.busy:  # the thread that hears changes the same
            if line.endpoints.open is None:
                return
            if line.number < 0:
                line.number = session.next_number()
            utterance, agreement, line.looked = line.number, line.agreement, at.end
        sound = await self._by_hand(session.sound, number, at)
        text = await self._pipeline.guess(sound, language=session.language)
        if line.number != utterance:  # it ended meanwhile
            return
        settled, rest = agreement.hear(text.split())
        if settled or rest:
            session.tell(
                Partial(
                    utterance=utterance, channel=number, start_s=round(at.start / RATE_HZ, 3),
                    settled=" ".join(settled), text=" ".join(rest),
                )
            )  # fmt: skip


def _missed(session: Session, finals: Mapping[int, Any], start: Start) -> Iterator[Event]:
    for number, value in sorted(finals.items(), key=lambda pair: pair[1]["seq"]):
        for at, each in enumerate(value["segments"]):
            if value["seq"] + at > start.last_seq:
                final = Final.of(Segment.model_validate(each), number, session.name_of(each["speaker"]))
                yield final.model_copy(update={"seq": value["seq"] + at})


def _heard_out(task: asyncio.Task[None]) -> None:
    """What went wrong was logged where it happened."""
    if not task.cancelled():
        task.exception()


def failed(error: ProductError) -> Failed:
    return Failed(code=error.code, detail=error.detail)


async def _wav(session: Session) -> AsyncIterator[bytes]:
    """The whole recording as a file that any player takes."""
    size = session.journal.size_bytes
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", min(36 + size, 2**32 - 1), b"WAVE", b"fmt ", 16, 1, session.count,
        session.rate_hz, session.rate_hz * session.frame_bytes, session.frame_bytes, 16, b"data", min(size, 2**32 - 1),
    )  # fmt: skip
    yield head
    step = 4 * 1024**2
    for at in range(0, size, step):
        yield await asyncio.to_thread(session.journal.read, at, at + step)
