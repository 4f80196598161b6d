"""Whom the controller talks to. Pure."""

from cloudcore.edgecontroller.context import ControllerContext
from common.names import ModuleName


def test_a_cloudcore_talks_to_its_hub() -> None:
    context = ControllerContext()
    assert context.send_module is context.response_module is ModuleName.CLOUD_HUB
    assert context.receive_module is ModuleName.EDGE_CONTROLLER
    assert not context.edge_site
