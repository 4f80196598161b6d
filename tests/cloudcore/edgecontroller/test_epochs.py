"""Who has versions of another history. Pure."""

from cloudcore.edgecontroller.epochs import Epochs
from common.names import NodeID

NODE, OTHER = NodeID("a"), NodeID("b")


def test_a_version_is_overtaken_until_it_has_passed_the_highest_that_the_node_has() -> None:
    epochs = Epochs()
    assert not epochs.is_overtaken(NODE, 0)
    epochs.note(NODE, 50)
    epochs.note(NODE, 40)
    assert epochs.is_overtaken(NODE, 50)
    assert not epochs.is_overtaken(NODE, 51)
    assert not epochs.is_overtaken(OTHER, 50)
