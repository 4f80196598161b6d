"""This machine, as it is."""

from pathlib import Path

from edgecore.edged.node.thismachine import ThisMachine
from edgecore.edged.runtime.images import FilesystemUsage
from tests.edgecore.edged.fakeimages import FakeImages


async def test_the_disk_with_the_images_is_read_once_the_runtime_has_said_where_it_is(
    tmp_path: Path,
) -> None:
    images = FakeImages()
    images.usage = FilesystemUsage(tmp_path, 1, 1)
    here = ThisMachine(tmp_path)
    machine = here.machine()
    assert machine.facts.memory_bytes > 0
    assert machine.readings().image_disk is None
    await here.find(images)
    await here.find(images)
    assert machine.readings().image_disk is not None
    assert not machine.readings().dedicated_image_disk
    assert images.asked == 1
