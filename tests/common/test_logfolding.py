"""Lines are strings here, and the time is a number."""

from common.logfolding import MOST_ALIKE, MOST_KINDS, WINDOW_S, Folding


def say(folding: Folding[str], text: str, fields: str = "", now_s: float = 0.0) -> bool:
    return folding.admit((text,), fields, f"{text} {fields}", now_s)


def test_the_first_is_written_and_what_is_said_again_is_counted() -> None:
    folding: Folding[str] = Folding()
    assert [say(folding, "a", "n1") for _ in range(313)] == [True] + [False] * 312
    assert folding.over(WINDOW_S - 1) == []
    assert folding.over(WINDOW_S) == [("a n1", 312)]
    assert say(folding, "a", "n1", WINDOW_S)


def test_what_is_news_each_time_is_written_each_time() -> None:
    folding: Folding[str] = Folding()
    assert all(folding.admit(("a",), None, "a", 0.0) for _ in range(MOST_ALIKE))
    assert not folding.admit(("a",), None, "a", 0.0)


def test_what_is_said_of_others_is_written_too() -> None:
    folding: Folding[str] = Folding()
    assert all(say(folding, "connected", f"n{number}") for number in range(MOST_ALIKE))


def test_one_text_is_not_written_without_end_whatever_it_is_of() -> None:
    folding: Folding[str] = Folding()
    written = 0
    for number in range(3 * MOST_ALIKE):
        folding.over(1.0)
        written += say(folding, "refused", f"port {number}", 1.0)
    # What is forgotten to keep the memory small may be written again, which is little.
    assert MOST_ALIKE <= written <= 2 * MOST_ALIKE


def test_nothing_is_told_of_what_was_said_once() -> None:
    folding: Folding[str] = Folding()
    say(folding, "a")
    assert folding.over(WINDOW_S) == []
    assert folding.end() == []


def test_only_so_many_kinds_are_remembered() -> None:
    folding: Folding[str] = Folding()
    for number in range(2 * MOST_KINDS):
        say(folding, f"text {number}")
        folding.over(0.0)
    assert len(folding._kinds) <= MOST_KINDS
    say(folding, "once more")
    say(folding, "once more")
    assert ("once more ", 1) in folding.end()


def test_at_the_end_all_that_was_counted_is_told() -> None:
    folding: Folding[str] = Folding()
    for _ in range(3):
        say(folding, "a")
    assert folding.end() == [("a ", 2)]
    assert folding.end() == []
