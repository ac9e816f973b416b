"""Whatever a user does to a transcript, times stay in order, words stay, and every state can be had again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.rag import edits
from services.rag.passages import passage_changes, passages_of
from shared.errors import Conflict, Invalid, NotFound
from shared.schemas.edits import ChangeSpeakers, EditSegment, MergeSegments, SplitSegment
from shared.schemas.transcription import Notice, Segment, SpanEmotion, Speaker, Transcript, Word
from shared.words import MOST_COMPARED, dense, laid, words_of


def segment(n: int, text: str, *, start_s: float = 0.0, speaker: str = "SPEAKER_00", words: Any = None) -> Segment:
    """A word every half second, spoken for 0.4 s."""
    tokens = text.split() if words is None else words
    return Segment(
        segment_id=f"seg_{n}",
        start_s=start_s,
        end_s=start_s + max(1, len(tokens)) * 0.5,
        speaker=speaker,
        text=text,
        confidence=0.8,
        words=[
            Word(word=token, start_s=start_s + at * 0.5, end_s=start_s + at * 0.5 + 0.4, confidence=0.7)
            for at, token in enumerate(tokens)
        ],
        emotion=SpanEmotion(label="joy", score=0.9),
    )


def transcript(*segments: Segment) -> Transcript:
    made = Transcript(
        transcript_id="rec_1", status="completed", title="Call", created_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    return edits.with_segments(made, segments)


def times(words: list[Word]) -> list[tuple[str, float, float, bool]]:
    return [(word.word, word.start_s, word.end_s, word.aligned) for word in words]


def reworded(before: Segment, text: str) -> Segment:
    found = edits.edit_segment(transcript(before), before.segment_id, EditSegment(text=text)).segments[0]
    assert dense("".join(word.word for word in found.words)) == dense(text)
    return found


def test_unchanged_words_keep_their_times_and_new_ones_share_the_gap() -> None:
    found = reworded(segment(1, "meet me at the old bank"), "meet me near that old river bank")
    assert times(found.words) == [
        ("meet", 0.0, 0.4, True),
        ("me", 0.5, 0.9, True),
        ("near", 0.9, 1.45, False),
        ("that", 1.45, 2.0, False),
        ("old", 2.0, 2.4, True),
        ("river", 2.4, 2.5, False),
        ("bank", 2.5, 2.9, True),
    ]
    assert [word.confidence for word in found.words] == [0.7, 0.7, 1.0, 1.0, 0.7, 1.0, 0.7]
    assert found.confidence == pytest.approx(5.8 / 7, abs=0.001) and found.emotion is not None


def test_case_and_marks_are_no_new_word() -> None:
    found = reworded(segment(1, "hello wor1d how are you"), "Hello, world! How are you?")
    assert [word.word for word in found.words] == ["Hello,", "world!", "How", "are", "you?"]
    assert [word.aligned for word in found.words] == [True, False, True, True, True]
    assert [word.start_s for word in found.words] == [0.0, 0.4, 1.0, 1.5, 2.0]


def test_words_that_a_model_cuts_inside_keep_their_times() -> None:
    before = segment(1, "a well-known man", words=["a", "well", "-known", "man"])
    assert times(reworded(before, "a well-known old man").words)[1:3] == times(before.words)[1:3]
    once = reworded(before, "A Well-Known man")
    assert times(once.words)[1] == ("Well-Known", 0.5, 1.4, True)


def test_writing_without_blanks_is_compared_by_characters() -> None:
    before = segment(1, "你好世界", words=["你好", "世", "界"])
    found = reworded(before, "你好新世界")
    assert times(found.words) == [
        ("你好", 0.0, 0.4, True),
        ("新", 0.4, 0.5, False),
        ("世", 0.5, 0.9, True),
        ("界", 1.0, 1.4, True),
    ]


def test_words_that_do_not_make_the_text_are_laid_over_it() -> None:
    before = segment(1, "twenty five people came", words=["25", "people", "came"])
    found = words_of(before)
    assert [(word.word, word.aligned) for word in found] == [
        ("twenty", False), ("five", False), ("people", True), ("came", True),
    ]  # fmt: skip
    assert found[2].start_s == 0.5 and found[0].confidence == before.confidence


def test_a_segment_without_words_gets_guessed_ones() -> None:
    before = segment(1, "no times here", words=[]).model_copy(update={"end_s": 3.0})
    found = words_of(before)
    assert [word.aligned for word in found] == [False] * 3
    assert found[0].start_s == 0.0 and found[-1].end_s == 3.0
    assert [each.text for each in edits.split(transcript(before), "seg_1", SplitSegment(at_word=1)).segments] == [
        "no",
        "times here",
    ]


def test_an_empty_text_deletes_the_words_and_keeps_the_time() -> None:
    found = reworded(segment(1, "Thank you."), "")
    assert (found.text, found.words, found.end_s) == ("", [], 1.0)
    back = reworded(found, "thank you")
    assert (back.words[0].start_s, back.words[-1].end_s) == (0.0, 1.0)


def test_a_change_too_long_to_compare_loses_no_word() -> None:
    many = MOST_COMPARED + 1
    text = " ".join(["x", *(f"a{n}" for n in range(many)), "y"])
    other = " ".join(["x", *(f"b{n}" for n in range(many)), "y"])
    found = reworded(segment(1, text), other)
    assert found.words[0].aligned and found.words[-1].aligned and len(found.words) == many + 2


def test_a_split_cuts_text_words_and_times() -> None:
    before = transcript(segment(1, "one two  three well-known", words=["one", "two", "three", "well", "-known"]))
    first, second = edits.split(before, "seg_1", SplitSegment(at_word=2)).segments
    assert (first.text, second.text) == ("one two", "three well-known")
    assert (first.segment_id, first.end_s, second.start_s, second.end_s) == ("seg_1", 0.9, 1.0, 2.5)
    assert second.segment_id.startswith("seg_") and second.emotion == before.segments[0].emotion
    inside = edits.split(before, "seg_1", SplitSegment(at_word=4)).segments
    assert [each.text for each in inside] == ["one two  three well", "-known"]
    by_time = edits.split(before, "seg_1", SplitSegment(at_s=0.95)).segments
    assert [each.text for each in by_time] == ["one two", "three well-known"]
    for where in (SplitSegment(at_word=5), SplitSegment(at_s=0.0), SplitSegment(at_s=99.0)):
        with pytest.raises(Invalid, match="5 words"):
            edits.split(before, "seg_1", where)


def test_who_spoke_meanwhile_stands_between_the_parts() -> None:
    other = segment(2, "yes", start_s=0.6, speaker="SPEAKER_01")
    found = edits.split(transcript(segment(1, "one two three"), other), "seg_1", SplitSegment(at_word=2))
    assert [each.text for each in found.segments] == ["one two", "yes", "three"]


def test_merging_takes_another_speaker_only_by_force() -> None:
    before = transcript(
        segment(1, "one"), segment(2, "two", start_s=1), segment(3, "three", start_s=2, speaker="SPEAKER_01")
    )
    once = edits.merge(before, "seg_1", MergeSegments())
    assert [each.text for each in once.segments] == ["one two", "three"] and once.segments[0].end_s == 1.5
    with pytest.raises(Conflict, match="force"):
        edits.merge(once, "seg_1", MergeSegments())
    whole = edits.merge(once, "seg_1", MergeSegments(force=True))
    assert (whole.text, [each.label for each in whole.speakers]) == ("one two three", ["SPEAKER_00"])
    with pytest.raises(Conflict, match="last"):
        edits.merge(whole, "seg_1", MergeSegments())


def test_merging_two_who_talked_at_once_keeps_the_words_in_order() -> None:
    other = segment(2, "x y", start_s=0.25)
    found = edits.merge(transcript(segment(1, "a b"), other), "seg_1", MergeSegments()).segments[0]
    assert found.text == "a x b y" and laid(found.text, found.words) is not None


def test_a_segment_is_given_to_another_or_a_new_speaker() -> None:
    before = transcript(segment(1, "one"), segment(2, "two", start_s=1, speaker="Guest"))
    moved = edits.edit_segment(before, "seg_1", EditSegment(speaker="Guest"))
    assert [(each.label, each.talk_s) for each in moved.speakers] == [("Guest", 1.0)]
    new = edits.edit_segment(before, "seg_1", EditSegment(speaker="SPEAKER_07"))
    assert [each.label for each in new.speakers] == ["Guest", "SPEAKER_07"]
    with pytest.raises(Invalid, match="SPEAKER_07"):
        edits.edit_segment(before, "seg_1", EditSegment(speaker="Nobody"))
    with pytest.raises(NotFound):
        edits.edit_segment(before, "seg_9", EditSegment(text="x"))
    assert edits.edit_segment(before, "seg_1", EditSegment(text="one", speaker="SPEAKER_00")) == before


def test_speakers_are_named_and_segments_given_to_them_at_once() -> None:
    before = transcript(
        segment(1, "one"), segment(2, "two", start_s=1, speaker="SPEAKER_01"), segment(3, "three", start_s=2)
    )
    john = Speaker(label="SPEAKER_00", speaker_id="john", name="John", confidence=0.9, method="voiceprint", talk_s=99)
    found = edits.change_speakers(before, ChangeSpeakers(speakers=[john], segments={"seg_2": "SPEAKER_00"}))
    assert found.speakers == [john.model_copy(update={"talk_s": 1.5})]
    assert {each.speaker for each in found.segments} == {"SPEAKER_00"}
    named = edits.change_speakers(before, ChangeSpeakers(speakers=[john]))
    assert [(each.label, each.name) for each in named.speakers] == [("SPEAKER_00", "John"), ("SPEAKER_01", None)]
    for wrong in (
        ChangeSpeakers(speakers=[Speaker(label="SPEAKER_09")]),
        ChangeSpeakers(speakers=[], segments={"seg_9": "SPEAKER_00"}),
        ChangeSpeakers(speakers=[], segments={"seg_1": "Nobody"}),
    ):
        with pytest.raises(Invalid):
            edits.change_speakers(before, wrong)


def test_the_pipeline_only_adds_to_what_a_user_edited() -> None:
    bare = transcript(
        *(s.model_copy(update={"emotion": None}) for s in (segment(1, "one"), segment(2, "two", start_s=1)))
    )
    edited = edits.edit_segment(bare, "seg_1", EditSegment(text="won", speaker="SPEAKER_05"))
    notice = Notice(code="late", detail="A late stage ran again.")
    made = transcript(segment(1, "one"), segment(2, "two", start_s=1), segment(3, "three", start_s=2))
    made = made.model_copy(update={"warnings": [notice], "status": "processing", "language": "en"})
    found = edits.keep_edits(edited, made)
    assert (found.text, found.speakers, found.status) == ("won two", edited.speakers, "completed")
    assert [each.emotion.label for each in found.segments if each.emotion] == ["joy", "joy"]
    assert (found.warnings, found.language) == ([notice], "en")


def test_only_passages_that_changed_are_made_anew() -> None:
    before = transcript(
        *(segment(n, f"sentence number {n}", start_s=2 * n, speaker=f"SPEAKER_0{n % 2}") for n in range(6))
    )
    after = edits.edit_segment(before, "seg_3", EditSegment(text="something else"))
    changes = passage_changes(passages_of(before, 700), passages_of(after, 700))
    assert (changes.gone, [each.text for each in changes.new], changes.moved) == (["seg_3"], ["something else"], [])
    named = edits.change_speakers(before, ChangeSpeakers(speakers=[Speaker(label="SPEAKER_01", name="Eve")]))
    renamed = passage_changes(passages_of(before, 700), passages_of(named, 700))
    assert (renamed.gone, renamed.new, {each.speaker for each in renamed.moved}) == ([], [], {"Eve"})


TEXT = st.text(alphabet=st.sampled_from("ab Ab,'-\n\t你好é\u202e🙂"), max_size=40)


@st.composite
def heard(draw: st.DrawFn) -> Transcript:
    """Segments as engines give them: starts rise, words may touch, overlap, or be missing."""
    found, at_s = [], 0.0
    for n in range(draw(st.integers(1, 5))):
        text = draw(TEXT).strip()
        tokens = draw(st.sampled_from([text.split(), list(dense(text)), []]))
        starts = sorted(draw(st.lists(st.floats(0, 8), min_size=len(tokens), max_size=len(tokens))))
        lengths = draw(st.lists(st.floats(0, 3), min_size=len(tokens), max_size=len(tokens)))
        words = [
            Word(word=token, start_s=at_s + start, end_s=at_s + min(10, start + length), confidence=0.5)
            for token, start, length in zip(tokens, starts, lengths, strict=True)
        ]
        made = segment(n, text, start_s=at_s, speaker=f"SPEAKER_{draw(st.integers(0, 2)):02d}")
        found.append(made.model_copy(update={"words": words, "end_s": at_s + 10}))
        at_s += draw(st.floats(0, 12))
    return transcript(*found)


CHANGES = st.tuples(
    st.integers(0, 9),
    st.one_of(
        TEXT.map(lambda text: EditSegment(text=text)),
        st.integers(0, 4).map(lambda n: EditSegment(speaker=f"SPEAKER_{n:02d}")),
        st.integers(1, 9).map(lambda n: SplitSegment(at_word=n)),
        st.floats(0, 40).map(lambda at_s: SplitSegment(at_s=at_s)),
        st.booleans().map(lambda force: MergeSegments(force=force)),
    ),
)


def changed(now: Transcript, which: int, change: Any) -> Transcript:
    segment_id = now.segments[which % len(now.segments)].segment_id
    by = {EditSegment: edits.edit_segment, SplitSegment: edits.split, MergeSegments: edits.merge}[type(change)]
    return by(now, segment_id, change)  # type: ignore[operator]


def require_sound(now: Transcript) -> None:
    ids = [each.segment_id for each in now.segments]
    assert len(set(ids)) == len(ids)
    for each in now.segments:
        starts = [word.start_s for word in each.words]
        assert starts == sorted(starts), "words in order"
        assert all(each.start_s <= word.start_s <= word.end_s <= each.end_s for word in each.words)
        assert all(word.word for word in each.words)
    assert {each.label for each in now.speakers} == {each.speaker for each in now.segments}
    assert now == Transcript.model_validate_json(now.model_dump_json())


@settings(max_examples=300, deadline=None)
@given(heard(), st.lists(CHANGES, max_size=8))
def test_any_sequence_of_edits_keeps_words_and_times(first: Transcript, changes: list[tuple[int, Any]]) -> None:
    now = first
    for which, change in changes:
        try:
            after = changed(now, which, change)
        except (Invalid, Conflict):
            continue
        require_sound(after)
        letters = sorted(dense(now.text))
        if isinstance(change, EditSegment) and change.text is not None:
            edited = now.segments[which % len(now.segments)]
            letters = sorted([*dense(" ".join(s.text for s in now.segments if s is not edited)), *dense(change.text)])
        assert sorted(dense(after.text)) == letters, "no word is lost unless deleted"
        now = after
