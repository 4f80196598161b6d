"""A store and a bus for tests of MetaManager."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from common.beehive.context import MessageContext
from common.names import GroupName, ModuleName
from edgecore.edgestore.store import EdgeStore
from edgecore.metrics import EdgeMetrics


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EdgeStore]:
    async with EdgeStore(tmp_path) as opened:
        yield opened


@pytest.fixture
def context() -> MessageContext:
    made = MessageContext()
    made.add_module(ModuleName.META_MANAGER, GroupName.META)
    made.add_module(ModuleName.EDGE_HUB, GroupName.HUB)
    made.add_module(ModuleName.EDGED, GroupName.EDGED)
    return made


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> EdgeMetrics:
    return EdgeMetrics(registry)
