"""A cloud on loopback and what an edge needs to enrol there."""

from pathlib import Path

import pytest

from tests.edgecore.cloud import TestCloud


@pytest.fixture
def cloud(tmp_path: Path) -> TestCloud:
    folder = tmp_path / "cloud"
    folder.mkdir()
    return TestCloud(folder)
