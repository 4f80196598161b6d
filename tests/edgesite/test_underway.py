"""What is under way at an EdgeSite. Pure: nothing is faked."""

from edgesite.underway import MAX_ASKED, OVERDUE_S, Underway


def test_an_answer_is_missed_by_whoever_awaits_it_only() -> None:
    underway = Underway()
    assert underway.ask("query", is_awaited=True)
    assert underway.ask("event", is_awaited=False)
    assert underway.answer("query")
    assert not underway.answer("event")
    assert underway.answer("of a connection that is gone")


def test_so_many_messages_wait_and_no_more_until_one_is_answered() -> None:
    underway = Underway()
    assert all(underway.ask(str(number), is_awaited=True) for number in range(MAX_ASKED))
    assert not underway.ask("one more", is_awaited=True)
    underway.answer("0")
    assert underway.ask("one more", is_awaited=True)


def test_what_is_acknowledged_counts_once_and_only_if_it_was_sent() -> None:
    underway = Underway()
    underway.send("a", 1.0)
    underway.send("b", 2.0)
    assert underway.objects == 2
    assert underway.acknowledge(["a", "a", "never sent"]) == 1
    assert underway.objects == 1


def test_nothing_is_given_up_before_the_oldest_is_overdue() -> None:
    underway = Underway()
    assert underway.give_up(1_000.0) == 0
    underway.send("a", 0.0)
    underway.send("b", OVERDUE_S - 1)
    assert underway.give_up(OVERDUE_S - 1) == 0
    assert underway.give_up(OVERDUE_S) == 2
    assert underway.objects == 0
    assert underway.give_up(OVERDUE_S) == 0


def test_an_acknowledged_object_makes_none_of_the_others_overdue() -> None:
    underway = Underway()
    underway.send("a", 0.0)
    underway.send("b", 20.0)
    underway.acknowledge(["a"])
    assert underway.give_up(OVERDUE_S + 1) == 0
