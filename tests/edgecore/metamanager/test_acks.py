"""Acknowledgements. Everything is real; there is nothing to fake."""

from common import capabilities
from common.capabilities import Capability
from common.names import Operation
from common.wire import loads
from edgecore.metamanager.acks import acknowledgements, needs_acknowledgement
from tests.edgecore.metamanager.messages import POD, insert

ACKS = frozenset({Capability.ACKS})


def test_a_kubeedge_cloud_gets_one_for_each() -> None:
    sent = [insert(version=1), insert(POD, version=2)]
    acks = acknowledgements(sent, capabilities.NONE)
    for one, ack in zip(sent, acks, strict=True):
        assert ack.parent_id == one.msg_id
        assert (ack.operation, ack.resource) == (Operation.RESPONSE, one.resource)
        assert (ack.route.source, ack.route.group) == (one.route.source, one.route.group)
        assert bytes(ack.content) == b'"OK"'


def test_ours_gets_one_for_all() -> None:
    sent = [insert(version=1), insert(POD, version=2)]
    [ack] = acknowledgements(sent, ACKS)
    assert (ack.operation, ack.parent_id, ack.route.group) == (Operation.RESPONSE, "", "resource")
    assert loads(ack.content) == {"acked": [one.msg_id for one in sent]}


def test_only_a_cloud_that_sends_answers_again_wants_to_hear_of_them() -> None:
    assert needs_acknowledgement(capabilities.NONE)
    assert needs_acknowledgement(capabilities.ALL - ACKS)
    assert not needs_acknowledgement(capabilities.ALL)
