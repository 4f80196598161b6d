"""When the socket of a node is read. The connection is a double; nothing else is."""

from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, Outstanding
from cloudcore.cloudhub.reading import BYTES_AS_A_MESSAGE, MAX_MESSAGES_PER_S, Reading


class Link:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause_reading(self) -> None:
        self.told.append("pause")

    def resume_reading(self) -> None:
        self.told.append("resume")


def test_a_node_is_told_to_wait_once_and_to_go_on_once() -> None:
    link, outstanding = Link(), Outstanding()
    reading = Reading(link, outstanding)
    for number in range(MAX_OUTSTANDING):
        reading.adjust()
        outstanding.take(str(number), 1, is_answered=True)
    assert link.told == []
    reading.adjust()
    reading.adjust()
    assert (link.told, reading.is_on) == (["pause"], False)
    reading.begin_second()
    assert not reading.is_on, "time makes no room"
    outstanding.settle("0")
    reading.adjust()
    reading.adjust()
    assert (link.told, reading.is_on) == (["pause", "resume"], True)


def test_a_second_has_so_many_messages_and_large_answers_count_as_several() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.taken_in = MAX_MESSAGES_PER_S - 1
    reading.add_answer(BYTES_AS_A_MESSAGE - 1)
    reading.adjust()
    assert reading.is_on
    reading.add_answer(BYTES_AS_A_MESSAGE)
    reading.adjust()
    assert not reading.is_on
    reading.begin_second()
    assert (link.told, reading.taken_in) == (["pause", "resume"], 0)


def test_a_connection_that_closes_is_read_whatever_comes() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    reading.close()
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    assert link.told == ["pause", "resume"]


def test_a_connection_that_is_gone_is_left_alone() -> None:
    link = Link()
    reading = Reading(link, Outstanding())
    reading.lost()
    reading.taken_in = MAX_MESSAGES_PER_S
    reading.adjust()
    reading.begin_second()
    assert link.told == []
