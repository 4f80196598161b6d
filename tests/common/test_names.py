"""The words are the wire's. Pure: nothing is faked."""

from common.names import ModuleName, NodeID, Operation, ResourceType, node_user


def test_the_modules_speak_under_the_names_that_a_kubeedge_peer_expects() -> None:
    assert {m.value for m in ModuleName} == {
        "cloudhub",
        "edgecontroller",
        "websocket",
        "metamanager",
        "edged",
    }


def test_every_word_is_spelled_once() -> None:
    for words in (ModuleName, Operation, ResourceType):
        assert len({word.value for word in words}) == len(list(words))


def test_the_user_of_a_node_is_the_one_that_the_node_authorizer_knows() -> None:
    assert node_user(NodeID("n1")) == "system:node:n1"
