"""Edits of a transcript: pure functions from one document to the next. The revision is the vault's to count."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from shared.errors import Conflict, Invalid, NotFound
from shared.schemas.edits import ChangeSpeakers, EditSegment, MergeSegments, RevisionKind, SplitSegment
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Speaker, Transcript, Word
from shared.words import align, dense, words_of

_NEW_LABEL = re.compile(r"SPEAKER_\d{2,3}")


def kind_of(change: EditSegment) -> RevisionKind:
    if change.text is None:
        return "speaker"
    return "text" if change.speaker is None else "text_and_speaker"


def edit_segment(transcript: Transcript, segment_id: str, change: EditSegment) -> Transcript:
    """Another text, another speaker, or both. Raises NotFound; Invalid for a label that cannot be."""
    at = _index(transcript, segment_id)
    segment = transcript.segments[at]
    if change.text is not None and change.text != segment.text:
        segment = _reworded(segment, change.text)
    if change.speaker is not None and change.speaker != segment.speaker:
        _require_label(transcript, change.speaker)
        segment = segment.model_copy(update={"speaker": change.speaker})
    if segment is transcript.segments[at]:
        return transcript
    return with_segments(transcript, [*transcript.segments[:at], segment, *transcript.segments[at + 1 :]])


def _index(transcript: Transcript, segment_id: str) -> int:
    for at, segment in enumerate(transcript.segments):
        if segment.segment_id == segment_id:
            return at
    raise NotFound


def _require_label(transcript: Transcript, label: str, more: Sequence[str] = ()) -> None:
    known = {each.label for each in transcript.speakers} | {each.speaker for each in transcript.segments} | {*more}
    if label not in known and not _NEW_LABEL.fullmatch(label):
        raise Invalid(
            "No speaker of this transcript has that label; take one that it has, or a new one such as SPEAKER_07."
        )


def _reworded(segment: Segment, text: str) -> Segment:
    words = align(segment, text)
    confidence = round(fmean(word.confidence for word in words), 3) if words else 1.0
    return segment.model_copy(update={"text": text, "words": words, "confidence": confidence})


def with_segments(transcript: Transcript, segments: Sequence[Segment]) -> Transcript:
    """The document that these segments make: its text, and its speakers with their time of speech."""
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        seconds[segment.speaker] += segment.end_s - segment.start_s
    known = {each.label: each for each in transcript.speakers}
    labels = [label for label in known if label in seconds] + [label for label in seconds if label not in known]
    speakers = [
        known.get(label, Speaker(label=label)).model_copy(update={"talk_s": round(seconds[label], 2)})
        for label in labels
    ]
    text = " ".join(segment.text for segment in segments if segment.text)
    return transcript.model_copy(update={"segments": list(segments), "speakers": speakers, "text": text})


def split(transcript: Transcript, segment_id: str, where: SplitSegment) -> Transcript:
    """Two segments of one: the first keeps its id. Raises NotFound; Invalid where one of them would have no word."""
    at = _index(transcript, segment_id)
    segment = transcript.segments[at]
    words = words_of(segment)
    cut = where.at_word if where.at_word is not None else _words_before(words, where.at_s or 0.0)
    if not 0 < cut < len(words):
        raise Invalid(
            f"This segment has {len(words)} words from {segment.start_s:.3f} s to {segment.end_s:.3f} s;"
            " a cut must leave at least one on each side."
        )
    first, second = _parts(segment, words, cut)
    rest = transcript.segments[at + 1 :]
    # Who spoke meanwhile stands between the two.
    after = next((n for n, each in enumerate(rest) if each.start_s >= second.start_s), len(rest))
    return with_segments(transcript, [*transcript.segments[:at], first, *rest[:after], second, *rest[after:]])


def _words_before(words: Sequence[Word], at_s: float) -> int:
    return sum((word.start_s + word.end_s) / 2 < at_s for word in words)


def _parts(segment: Segment, words: Sequence[Word], cut: int) -> tuple[Segment, Segment]:
    """Both sound as the whole did, as far as anybody knows, so both keep its emotion and confidence."""
    left, right = list(words[:cut]), list(words[cut:])
    at = _position(segment.text, sum(len(dense(word.word)) for word in left))
    first = {"words": left, "end_s": max(word.end_s for word in left), "text": segment.text[:at].rstrip()}
    second = {"words": right, "start_s": right[0].start_s, "text": segment.text[at:].lstrip()}
    return segment.model_copy(update=first), segment.model_copy(update=second | {"segment_id": new_id("seg")})


def _position(text: str, count: int) -> int:
    """Where `count` characters that are no blanks are over."""
    passed = 0
    for at, char in enumerate(text):
        if passed == count:
            return at
        passed += not char.isspace()
    return len(text)


def merge(transcript: Transcript, segment_id: str, how: MergeSegments) -> Transcript:
    """With the next segment, under the first one's id and speaker. Raises NotFound, Conflict."""
    at = _index(transcript, segment_id)
    if at + 1 == len(transcript.segments):
        raise Conflict("This is the last segment; there is none to merge it with.")
    first, second = transcript.segments[at : at + 2]
    if not how.force and (first.speaker, first.channel) != (second.speaker, second.channel):
        raise Conflict("The next segment is another speaker's; send force: true to make all of it this one's.")
    return with_segments(
        transcript, [*transcript.segments[:at], _joined(first, second), *transcript.segments[at + 2 :]]
    )


def _joined(first: Segment, second: Segment) -> Segment:
    words = [*words_of(first), *words_of(second)]
    text = " ".join(each.text for each in (first, second) if each.text)
    in_order = sorted(words, key=lambda word: word.start_s)
    if in_order != words:  # two who talked at once
        words, text = in_order, " ".join(word.word for word in in_order)
    longer = max(first, second, key=lambda each: (each.emotion is not None, each.end_s - each.start_s))
    size = [max(1, len(each.words)) for each in (first, second)]
    confidence = (first.confidence * size[0] + second.confidence * size[1]) / sum(size)
    return first.model_copy(
        update={
            "start_s": min(first.start_s, second.start_s),
            "end_s": max(first.end_s, second.end_s),
            "text": text,
            "words": words,
            "confidence": round(confidence, 3),
            "overlap": first.overlap or second.overlap,
            "emotion": longer.emotion,
        }
    )


def change_speakers(transcript: Transcript, change: ChangeSpeakers) -> Transcript:
    """Who labels are, and whose segments are. Raises Invalid for a label or a segment that is not there."""
    given = {each.label: each for each in change.speakers}
    owners: Mapping[str, str] = change.segments or {}
    if not owners.keys() <= {segment.segment_id for segment in transcript.segments}:
        raise Invalid("Some of these segments are not in this transcript.")
    for label in set(owners.values()):
        _require_label(transcript, label, list(given))
    segments = [
        each.model_copy(update={"speaker": owners.get(each.segment_id, each.speaker)}) for each in transcript.segments
    ]
    if not given.keys() <= {each.speaker for each in [*transcript.segments, *segments]}:
        raise Invalid("Some of these labels speak no segment of this transcript.")
    changed = with_segments(transcript, segments)
    speakers = [
        given[each.label].model_copy(update={"talk_s": each.talk_s}) if each.label in given else each
        for each in changed.speakers
    ]
    return changed.model_copy(update={"speakers": speakers})


def revert(current: Transcript, earlier: Transcript) -> Transcript:
    """The earlier one; how far the work on the recording is was no user's edit, so it stays."""
    return earlier.model_copy(update={"status": current.status, "job_id": current.job_id})


def keep_edits(edited: Transcript, made: Transcript) -> Transcript:
    """What the pipeline made anew, with the segments and speakers that a user edited.

    Of the new segments only the emotion is taken over, by id and where there was none. A transcript that was whole
    stays so while its late stages run again.
    """
    emotions = {segment.segment_id: segment.emotion for segment in made.segments}
    segments = [
        each.model_copy(update={"emotion": each.emotion or emotions.get(each.segment_id)}) for each in edited.segments
    ]
    kept = {"segments": segments, "speakers": edited.speakers, "text": edited.text}
    status = edited.status if edited.status == "completed" else made.status
    return made.model_copy(update=kept | {"status": status})
