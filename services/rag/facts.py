"""From what was said to what may be worth remembering: sources, and the extractor that goes by rules.

A model of a hundred million parameters invents; rules only copy. So each candidate is a clause as it was said, with the
place where it stands. A better extractor has to give the same: it goes behind `Extractor`, and the gate stays.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from services.rag.dates import WHEN, resolve
from services.rag.passages import speaker_keys
from services.rag.phrases import PHRASES, Phrase
from shared.schemas.facts import FactKind
from shared.schemas.rag import Message
from shared.schemas.transcription import Segment, Speaker, Transcript
from shared.words import laid, words_of

MOST_CHARS = 50_000
"""Of one message that are read; more is something pasted, not something said."""
LONGEST_SENTENCE = 500
"""Characters; nobody says a fact in more."""
LONGEST_TURN = 600
"""Characters up to which segments are joined, where a sentence goes on from one to the next."""
LONGEST_PAUSE_S = 1.5
MOST_CANDIDATES = 500
"""Of one source."""
USER = "You"
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)]*(?=\s)|\n+")
_ENDS = re.compile(r"[.!?…][\"'”’)]*$")
_JOINT = re.compile(
    r"(?:,\s+|\s+|;\s*)(?:and|but|so|because|although|while|then)\s+(?:then\s+)?"
    r"(?=(?i:I|we|my|our|the|he|she|they|let's|his|her|their|it's|it is|remind|don't forget)\b"
    r"|[A-Z][\w-]+(?:'s|'ll| will| is) )"
    r"|;\s+|,\s+(?=(?i:I|we|my|our|let's|remind)\b)|\s[—–-]\s"
)
"""Where a sentence may be cut in two that each have a subject of their own."""
_FILLER = re.compile(
    r"(?:(?:well|so|um+|uh+|er+m?|hmm+|oh|ah|yeah|yes|yep|okay|ok|right|actually|basically|anyway|also|and|but|then|now|"
    r"look|listen|you know|I mean|by the way|honestly|alright|all right|hi|hello|hey|because|plus|of course|sure|great|"
    r"good|perfect|thanks|no problem)\b[,.!]?\s+)+",
    re.IGNORECASE,
)
_SAME_WIDTH = str.maketrans("’‘`´\u00a0\u202f\t\n", "''''    ")
"""Other ways of writing the same, character for character, so that places in the text stay where they are."""
_NO_NAMES = frozenset(
    """
    i you he she it we they this that these those there here who what which everyone everybody somebody someone
    nobody anyone people one and but so then the a an my our your his her their its yes no well ok okay now today
    tomorrow yesterday monday tuesday wednesday thursday friday saturday sunday god also maybe perhaps not never always
    just keep please
    """.split()  # noqa: SIM905 - one word a line would be fifty lines
)


@dataclass(frozen=True)
class Utterance:
    """What one person said or wrote in one go."""

    text: str
    subject: str
    subject_key: str
    """Who that is, for comparing: an unknown voice of one recording is nobody in another."""
    said_at: datetime
    speaker_keys: tuple[str, ...] = ()
    """All that the speaker may be asked for by."""
    pieces: tuple[tuple[int, Segment], ...] = ()
    """Segments and where in the text each begins; none where it was written."""


@dataclass(frozen=True)
class Source:
    """One recording or one message, read for facts."""

    source_id: str
    utterances: tuple[Utterance, ...]
    transcript_id: str | None = None
    conversation_id: str | None = None
    language: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with whatever facts can depend on: words, times and speakers, not titles or emotions."""
        told = hashlib.sha256(repr(self.language).encode())
        for each in self.utterances:
            times = [(at, piece.segment_id, piece.start_s, piece.end_s) for at, piece in each.pieces]
            told.update(repr((each.text, each.subject, each.subject_key, each.said_at, times)).encode())
        return told.hexdigest()


@dataclass(frozen=True)
class Candidate:
    """A clause that may be a fact, and where it stands; nothing has judged it yet."""

    kind: FactKind
    subject: str
    subject_key: str
    slot: str
    value: str
    quote: str
    core: str
    """The beginning of the quote, up to where what it says is said."""
    sentence: str
    """The whole sentence around the quote."""
    utterance: Utterance
    confidence: float
    said_at: datetime
    on_date: date | None = None
    negative: bool = False
    overlap: bool = False
    segment_ids: tuple[str, ...] = ()
    start_s: float | None = None
    end_s: float | None = None


class Extractor(Protocol):
    """Finds candidates; deterministic for one version, so that the same source twice doubles nothing."""

    @property
    def version(self) -> str: ...

    def candidates(self, source: Source) -> Sequence[Candidate]:
        """In the order in which they were said. Blocking; raises nothing for any text."""
        ...


# ---------------------------------------------------------------- sources


def of_transcript(transcript: Transcript) -> Source:
    """Turns of one speaker; a sentence that goes on in the next segment is whole."""
    speakers = {each.label: each for each in transcript.speakers}
    marked = any(_ENDS.search(each.text.strip()) for each in transcript.segments)
    said = [
        _turn(transcript, speakers.get(group[0].speaker, Speaker(label=group[0].speaker)), group)
        for group in _turns(transcript.segments, joined=marked)
    ]
    name = transcript.transcript_id
    return Source(name, tuple(said), name, None, transcript.language, tuple(transcript.tags))


def _turns(segments: Sequence[Segment], *, joined: bool) -> Iterator[list[Segment]]:
    """Without marks of sentences (`joined` false) each segment is one."""
    group: list[Segment] = []
    for segment in segments:
        if not segment.text.strip():
            continue
        if group and not (joined and _goes_on(group, segment)):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group


def _goes_on(group: Sequence[Segment], segment: Segment) -> bool:
    last = group[-1]
    return (
        last.speaker == segment.speaker
        and not _ENDS.search(last.text.strip())
        and segment.start_s - last.end_s <= LONGEST_PAUSE_S
        and sum(len(each.text) for each in group) + len(segment.text) <= LONGEST_TURN
    )


def _turn(transcript: Transcript, speaker: Speaker, group: Sequence[Segment]) -> Utterance:
    pieces, at = [], 0
    for segment in group:
        pieces.append((at, segment))
        at += len(segment.text.strip()) + 1
    text = " ".join(segment.text.strip() for segment in group)
    said_at = _later(transcript.created_at, group[0].start_s)
    name, key = speaker.name or speaker.label, person_key(transcript, speaker)
    return Utterance(text, name, key, said_at, speaker_keys(speaker), tuple(pieces))


def _later(at: datetime, seconds: float) -> datetime:
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return at


def person_key(transcript: Transcript, speaker: Speaker) -> str:
    """The same for one person in all recordings once they have a name."""
    if speaker.name:
        return name_key(speaker.name)
    return f"id:{speaker.speaker_id}" if speaker.speaker_id else f"label:{transcript.transcript_id}/{speaker.label}"


def name_key(name: str) -> str:
    return f"name:{' '.join(name.split()).casefold()}"


def of_message(conversation_id: str, message: Message) -> Source:
    """What the user wrote; what a model wrote is nobody's fact."""
    texts = [message.content[:MOST_CHARS]] if message.role == "user" else []
    said = tuple(Utterance(text, USER, "user", message.created_at, (USER,)) for text in texts)
    return Source(message.message_id, said, None, conversation_id)


# ---------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rules:
    """The extractor that goes by `phrases.PHRASES`, for English."""

    version: str = "rules-1"
    phrases: Sequence[Phrase] = field(default=PHRASES)

    def candidates(self, source: Source) -> list[Candidate]:
        if source.language not in (None, "en"):
            return []
        found: list[Candidate] = []
        for utterance in source.utterances:
            for start, end in _sentences(utterance.text):
                found += self._in_sentence(utterance, start, end)
            if len(found) >= MOST_CANDIDATES:
                break
        return found[:MOST_CANDIDATES]

    def _in_sentence(self, utterance: Utterance, start: int, end: int) -> Iterator[Candidate]:
        plain = utterance.text.translate(_SAME_WIDTH)
        for begin, stop in _clauses(plain, start, end):
            for phrase in self.phrases:
                match = phrase.pattern.search(plain[begin:stop])
                if match is None or (phrase.dated and WHEN.search(match["value"]) is None):
                    continue
                subject = _subject(utterance, match)
                if subject is not None:
                    yield _candidate(utterance, phrase, match, (start, end), (begin, stop), subject)
                    break


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for end in [*(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]:
        if text[at:end].strip() and end - at <= LONGEST_SENTENCE:
            yield at, end
        at = end


def _clauses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Parts of a sentence that can stand alone, without the words that people begin with."""
    cuts = [(found.start(), found.end()) for found in _JOINT.finditer(text, start, end)]
    begins = [start, *(after for _, after in cuts)]
    stops = [*(before for before, _ in cuts), end]
    for begin, stop in zip(begins, stops, strict=True):
        part = text[begin:stop]
        begin += len(part) - len(part.lstrip(' "“'))
        filler = _FILLER.match(text, begin, stop)
        begin = filler.end() if filler else begin
        stop = begin + len(text[begin:stop].rstrip(' .,;:!…"”'))
        if stop - begin >= 6:
            yield begin, stop


def _subject(utterance: Utterance, match: re.Match[str]) -> tuple[str, str] | None:
    """Whom a clause is about: somebody with a name, or whoever said it; None for a name that is none."""
    groups = match.groupdict()
    name = groups.get("name")
    if name is None:
        return utterance.subject, utterance.subject_key
    if groups.get("who"):
        return name, name_key(name)
    return None if name.split()[0].casefold() in _NO_NAMES else (name, name_key(name))


def _candidate(
    utterance: Utterance,
    phrase: Phrase,
    match: re.Match[str],
    sentence: tuple[int, int],
    clause: tuple[int, int],
    subject: tuple[str, str],
) -> Candidate:
    groups = {name: " ".join((text or "").split()).casefold() for name, text in match.groupdict().items()}
    segments, times, heard = _place(utterance, *clause)
    quote = utterance.text[clause[0] : clause[1]]
    return Candidate(
        kind=phrase.kind,
        subject=subject[0],
        subject_key=subject[1],
        slot=_slot(phrase, groups),
        value=match["value"].strip(" .,"),
        quote=quote,
        core=quote[: match.end()],
        sentence=utterance.text[sentence[0] : sentence[1]].strip(),
        utterance=utterance,
        confidence=round(phrase.confidence * heard, 3),
        said_at=utterance.said_at if times is None else _since(utterance, times[0]),
        on_date=resolve(quote, utterance.said_at.date()),
        negative=phrase.negative,
        overlap=any(each.overlap for each in segments),
        segment_ids=tuple(each.segment_id for each in segments),
        start_s=times[0] if times else None,
        end_s=times[1] if times else None,
    )


def _slot(phrase: Phrase, groups: dict[str, str]) -> str:
    """Somebody has one birthday but may have two sons, so without a name there is nothing to be replaced."""
    return "" if "{who}" in phrase.slot and not groups.get("name") else phrase.slot.format_map(groups)


def _since(utterance: Utterance, start_s: float) -> datetime:
    return _later(utterance.said_at, start_s - utterance.pieces[0][1].start_s)


def _place(utterance: Utterance, begin: int, stop: int) -> tuple[list[Segment], tuple[float, float] | None, float]:
    """Segments, first and last second of its words, and how well they were heard (1 from a confidence of 0.8 on)."""
    segments: list[Segment] = []
    starts: list[float] = []
    ends: list[float] = []
    sure: list[float] = []
    for at, segment in utterance.pieces:
        text = segment.text.strip()
        if at >= stop or at + len(text) <= begin:
            continue
        segments.append(segment)
        shift = at - (len(segment.text) - len(segment.text.lstrip()))
        for token in laid(segment.text, words_of(segment)) or ():
            if token.start + shift < stop and token.start + len(token.text) + shift > begin:
                starts += [word.start_s for word in token.words]
                ends += [word.end_s for word in token.words]
                sure += [word.confidence for word in token.words]
    if not starts:
        return segments, None, 1.0
    return segments, (min(starts), max(ends)), min(1.0, sum(sure) / len(sure) / 0.8)
