"""How much a node may have under way. Nothing is faked."""

from cloudcore.cloudhub.credit import MAX_OUTSTANDING, MAX_OUTSTANDING_BYTES, Credit


def test_a_node_has_room_up_to_the_limit_and_not_beyond() -> None:
    credit = Credit()
    for number in range(MAX_OUTSTANDING):
        assert credit.has_room()
        assert credit.take(f"id-{number}", 10, is_answered=True)
    assert not credit.has_room()
    assert credit.settle("id-7") is True
    assert credit.has_room()


def test_an_answer_takes_its_place_until_it_is_written() -> None:
    credit = Credit()
    for _ in range(MAX_OUTSTANDING):
        credit.add_answer()
    assert not credit.has_room()
    credit.answer_written()
    assert credit.has_room()


def test_large_requests_take_more_room() -> None:
    credit = Credit()
    credit.take("large", MAX_OUTSTANDING_BYTES - 1, is_answered=True)
    assert credit.has_room()
    credit.take("small", 1, is_answered=False)
    assert not credit.has_room()
    assert credit.settle("small") is False
    assert credit.has_room()


def test_a_request_is_under_way_once() -> None:
    credit = Credit()
    assert credit.take("id", 5, is_answered=True)
    assert not credit.take("id", 5, is_answered=True)
    assert credit.settle("id") is True
    assert credit.settle("id") is None
