"""Which sequence a prompt goes to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gemma.engines.slots import Place, Slots

SYSTEM = list(range(100, 110))


def placed(slots: Slots, prompt: list[int], answer: int = 5) -> Place:
    place = slots.place(prompt, len(prompt) + answer)
    assert place is not None
    return place


def finished(slots: Slots, place: Place, prompt: list[int], answer: list[int] | None = None) -> None:
    place.slot.tokens = prompt + (answer or [])
    place.slot.promised = 0


def test_a_conversation_goes_on_where_it_stands_even_when_two_alternate() -> None:
    slots = Slots(4, 1000)
    one, two = SYSTEM + [1] * 50, SYSTEM + [2] * 50
    first = placed(slots, one)
    finished(slots, first, one, [7, 8])
    second = placed(slots, two)
    assert second.slot is not first.slot and second.same == len(SYSTEM) and second.copied_from is first.slot
    finished(slots, second, two, [9])
    for _ in range(3):
        one += [7, 8] + [1] * 20
        again = placed(slots, one)
        assert again.slot is first.slot and again.copied_from is None and again.same >= 62
        finished(slots, again, one)
        two += [9] + [2] * 20
        again = placed(slots, two)
        assert again.slot is second.slot and again.same >= 61
        finished(slots, again, two)


def test_the_beginning_is_taken_from_one_that_is_being_written() -> None:
    slots = Slots(2, 1000)
    first = placed(slots, SYSTEM + [1] * 5)
    first.slot.tokens = [*SYSTEM, 1, 1]
    second = placed(slots, SYSTEM + [1] * 5)
    assert second.slot is not first.slot and second.copied_from is first.slot and second.same == 12


def test_the_last_token_is_always_read() -> None:
    slots = Slots(2, 1000)
    first = placed(slots, [1, 2, 3])
    finished(slots, first, [1, 2, 3])
    assert placed(slots, [1, 2, 3]).same == 2
    assert placed(Slots(1, 10), [1]).same == 0


def test_the_longest_unused_gives_way_and_only_when_it_must() -> None:
    slots = Slots(3, 100)
    for n in (1, 2, 3):
        place = placed(slots, [n] * 30)
        finished(slots, place, [n] * 30)
        assert slots.surplus() == []
    place = placed(slots, [9] * 30)
    assert place.slot.number == 0 and slots.surplus() == []
    finished(slots, place, [9] * 30)
    big = placed(slots, [8] * 60)
    assert [slot.number for slot in slots.surplus()] == [2] and big.slot.number == 1


def test_who_would_need_more_cells_than_are_left_waits() -> None:
    slots = Slots(4, 100)
    first = placed(slots, [1] * 50, 10)
    assert slots.place([2] * 30, 41) is None
    assert slots.place([2] * 30, 40) is not None
    first.slot.promised = 0
    assert slots.place([3] * 10, 60) is not None


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30), st.booleans()), max_size=60))
def test_promises_and_what_is_kept_never_exceed_the_cells(asked: list[tuple[int, int, bool]]) -> None:
    slots, running = Slots(6, 120), []
    for kind, size, ends in asked:
        prompt = SYSTEM[:kind] + [kind] * size
        place = slots.place(prompt, len(prompt) + 10)
        if place is not None:
            assert place.same < len(prompt) and place.slot.tokens == prompt[: place.same]
            assert all(place.slot is not other.slot for other, _ in running)
            slots.surplus()
            running.append((place, prompt))
        if running and (ends or place is None):
            done, told = running.pop(0)
            finished(slots, done, told, [5] * 10)
        held = sum(slot.promised or len(slot.tokens) for slot in slots._slots)
        assert held <= 120
