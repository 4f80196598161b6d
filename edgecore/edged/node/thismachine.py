"""The machine that edged runs on: what a node says of itself is read from here."""

from pathlib import Path

from edgecore.edged.node.facts import Readings, read_facts, read_readings
from edgecore.edged.node.nodeagent import Machine
from edgecore.edged.runtime.images import Images


class ThisMachine:
    """Reads the kernel's files; knows where images are once the runtime has said so."""

    def __init__(self, root_dir: Path) -> None:
        """Args: root_dir: on the file system of volumes and logs."""
        self._root_dir = root_dir
        self._images_dir: Path | None = None

    def machine(self) -> Machine:
        """Return what the node agent looks at."""
        return Machine(read_facts(self._root_dir), self._read)

    async def find(self, images: Images) -> None:
        """Have readings tell of the disk with the images too.

        Raises:
            RuntimeServiceError: the runtime is away; ask again.
        """
        if self._images_dir is None:
            self._images_dir = (await images.filesystem()).mountpoint

    def _read(self) -> Readings:
        return read_readings(self._root_dir, self._images_dir)
