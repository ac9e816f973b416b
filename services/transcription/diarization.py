"""Who said which words: turns of speakers laid over words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from services.transcription.engines import Turn
from shared.schemas.ids import new_id
from shared.schemas.transcription import Segment, Speaker, Word


def label_of(speaker: int) -> str:
    return f"SPEAKER_{speaker:02d}"


def assign(segments: Sequence[Segment], turns: Sequence[Turn]) -> list[Segment]:
    """Segments cut where the speaker changes; each word goes to the turn that it overlaps most, else to the nearest."""
    if not turns:
        return list(segments)
    found: list[Segment] = []
    for segment in segments:
        groups: list[tuple[int, list[Word]]] = []
        for word in segment.words:
            speaker = _speaker_of(word, turns)
            if not groups or groups[-1][0] != speaker:
                groups.append((speaker, []))
            groups[-1][1].append(word)
        found += [_cut(segment, speaker, words) for speaker, words in _steady(groups)]
    return found


def _speaker_of(word: Word, turns: Sequence[Turn]) -> int:
    def overlap(turn: Turn) -> float:
        return min(word.end_s, turn.end_s) - max(word.start_s, turn.start_s)

    return max(turns, key=overlap).speaker


def _steady(groups: list[tuple[int, list[Word]]]) -> list[tuple[int, list[Word]]]:
    """One word between two stretches of the same speaker is more likely an error at the edge than a turn."""
    steady: list[tuple[int, list[Word]]] = []
    for at, (speaker, words) in enumerate(groups):
        lone = len(words) == 1 and 0 < at < len(groups) - 1 and groups[at - 1][0] == groups[at + 1][0]
        who = groups[at - 1][0] if lone else speaker
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
            "start_s": words[0].start_s,
            "end_s": words[-1].end_s,
            "text": segment.text if whole else " ".join(word.word for word in words),
        }
    )


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
