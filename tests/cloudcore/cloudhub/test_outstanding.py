"""How much a node may have under way. Nothing is faked."""

from cloudcore.cloudhub.outstanding import MAX_OUTSTANDING, MAX_OUTSTANDING_BYTES, Outstanding


def test_a_node_has_room_up_to_the_limit_and_not_beyond() -> None:
    outstanding = Outstanding()
    for number in range(MAX_OUTSTANDING):
        assert outstanding.has_room()
        assert outstanding.take(f"id-{number}", 10, is_answered=True)
    assert not outstanding.has_room()
    assert outstanding.settle("id-7") is True
    assert outstanding.has_room()


def test_an_answer_takes_its_place_until_it_is_written() -> None:
    outstanding = Outstanding()
    for _ in range(MAX_OUTSTANDING):
        outstanding.add_answer()
    assert not outstanding.has_room()
    outstanding.answer_written()
    assert outstanding.has_room()


def test_large_requests_take_more_room() -> None:
    outstanding = Outstanding()
    outstanding.take("large", MAX_OUTSTANDING_BYTES - 1, is_answered=True)
    assert outstanding.has_room()
    outstanding.take("small", 1, is_answered=False)
    assert not outstanding.has_room()
    assert outstanding.settle("small") is False
    assert outstanding.has_room()


def test_a_request_is_under_way_once() -> None:
    outstanding = Outstanding()
    assert outstanding.take("id", 5, is_answered=True)
    assert not outstanding.take("id", 5, is_answered=True)
    assert outstanding.settle("id") is True
    assert outstanding.settle("id") is None
