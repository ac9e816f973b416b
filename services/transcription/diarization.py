"""Who said which words: turns of speakers laid over words."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence

from services.transcription.engines import Turn
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Speaker, Word

Span = tuple[float, float]
"""From when to when, in seconds."""
OVERLAP_SHARE, OVERLAP_S = 0.25, 1.0
"""A segment overlaps where two talk for this part of it, or for this long."""


def label_of(speaker: int) -> str:
    return f"SPEAKER_{speaker:02d}"


def assign(segments: Sequence[Segment], turns: Sequence[Turn]) -> list[Segment]:
    """Segments cut where the speaker changes, in the order in which they were given; takes O(n log n).

    Each word goes to the speaker who talks for most of it. Where two talk over the whole word, to the one who said the
    word before it: the sound does not tell which of them was transcribed, so the segment is marked `overlap`. A word
    that no turn touches goes to the nearest turn. A segment without words goes whole to whom it overlaps most.
    """
    if not turns:
        return list(segments)
    tracks = _tracks(turns)
    crowded = _crowded(turns)
    found: list[Segment] = []
    last = turns[0].speaker
    for segment in segments:
        for speaker, words in _steady(_groups(segment, tracks, last), tracks):
            found.append(_marked(_cut(segment, speaker, words), crowded))
            last = speaker
    return found


class _Track:
    """When one speaker talks: spans in order that do not overlap."""

    def __init__(self, spans: Sequence[Span]) -> None:
        joined: list[list[float]] = []
        for start_s, end_s in sorted(spans):
            if joined and start_s <= joined[-1][1]:
                joined[-1][1] = max(joined[-1][1], end_s)
            else:
                joined.append([start_s, end_s])
        self._starts, self._ends = [each[0] for each in joined], [each[1] for each in joined]

    def shared_s(self, start_s: float, end_s: float) -> float:
        """Seconds of the stretch in which the speaker talks; where there are none, minus the distance to a turn."""
        first, behind = bisect_right(self._ends, start_s), bisect_left(self._starts, end_s)
        if first < behind:
            return sum(min(end_s, self._ends[at]) - max(start_s, self._starts[at]) for at in range(first, behind))
        before = start_s - self._ends[first - 1] if first else float("inf")
        after = self._starts[behind] - end_s if behind < len(self._starts) else float("inf")
        return -max(0.0, min(before, after))


Tracks = dict[int, _Track]


def _tracks(turns: Sequence[Turn]) -> Tracks:
    spans: dict[int, list[Span]] = defaultdict(list)
    for turn in turns:
        spans[turn.speaker].append((turn.start_s, turn.end_s))
    return {speaker: _Track(found) for speaker, found in spans.items()}


def _crowded(turns: Sequence[Turn]) -> _Track:
    """When two or more talk at once."""
    edges = sorted([(turn.start_s, 1) for turn in turns] + [(turn.end_s, -1) for turn in turns])
    spans: list[Span] = []
    talking, since_s = 0, 0.0
    for at_s, step in edges:
        if talking >= 2 and at_s > since_s:
            spans.append((since_s, at_s))
        talking, since_s = talking + step, at_s
    return _Track(spans)


Groups = list[tuple[int, list[Word]]]


def _groups(segment: Segment, tracks: Tracks, last: int) -> Groups:
    """Words in a row that are one speaker's."""
    groups: Groups = []
    if not segment.words:
        return [(_speaker_of(segment.start_s, segment.end_s, tracks, last), [])]
    for word in segment.words:
        speaker = _speaker_of(word.start_s, word.end_s, tracks, groups[-1][0] if groups else last)
        if not groups or groups[-1][0] != speaker:
            groups.append((speaker, []))
        groups[-1][1].append(word)
    return groups


def _speaker_of(start_s: float, end_s: float, tracks: Tracks, last: int) -> int:
    """The one who talks most; of equals, the one who spoke last."""
    return max(tracks, key=lambda speaker: (round(tracks[speaker].shared_s(start_s, end_s), 3), speaker == last))


def _steady(groups: Groups, tracks: Tracks) -> Groups:
    """A lone word inside another's sentence is a turn where it alone covers most of it, else an error at an edge."""
    steady: Groups = []
    for at, (speaker, words) in enumerate(groups):
        who = speaker
        if len(words) == 1 and 0 < at < len(groups) - 1 and groups[at - 1][0] == groups[at + 1][0]:
            around = tracks[groups[at - 1][0]].shared_s(words[0].start_s, words[0].end_s)
            covered = tracks[speaker].shared_s(words[0].start_s, words[0].end_s)
            who = speaker if covered > 2 * max(around, 0.0) else groups[at - 1][0]
        if steady and steady[-1][0] == who:
            steady[-1][1].extend(words)
        else:
            steady.append((who, list(words)))
    return steady


def _cut(segment: Segment, speaker: int, words: list[Word]) -> Segment:
    whole = len(words) == len(segment.words)
    return segment.model_copy(
        update={
            "segment_id": segment.segment_id if whole else new_id("seg"),
            "speaker": label_of(speaker),
            "words": words,
            "start_s": words[0].start_s if words else segment.start_s,
            "end_s": words[-1].end_s if words else segment.end_s,
            "text": segment.text if whole else " ".join(word.word for word in words),
        }
    )


def _marked(segment: Segment, crowded: _Track) -> Segment:
    both_s = crowded.shared_s(segment.start_s, segment.end_s)
    overlap = both_s >= min(OVERLAP_S, OVERLAP_SHARE * (segment.end_s - segment.start_s)) and both_s > 0
    return segment.model_copy(update={"overlap": overlap}) if overlap != segment.overlap else segment


def speakers_of(segments: Sequence[Segment], names: dict[str, str] | None = None) -> list[Speaker]:
    """Everybody heard, in the order of first words, with their time of speech. `names` are labels of channels."""
    seconds: dict[str, float] = defaultdict(float)
    for segment in segments:
        seconds[segment.speaker] += segment.end_s - segment.start_s
    return [
        Speaker(
            label=label,
            name=(names or {}).get(label),
            method="channel" if names and label in names else "unknown",
            talk_s=round(talk_s, 2),
        )
        for label, talk_s in seconds.items()
    ]
