"""Fixtures of the hub's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cloudcore.cloudhub.bare import Bare
from tests.cloudcore.cloudhub.stage import Stage, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A hub with the usual limits, but for four nodes only."""
    async with staged(tmp_path) as stage:
        yield stage


@pytest.fixture
def bare() -> Bare:
    """A session on a connection that is none, with a clock that is moved by hand."""
    return Bare()
