"""P1, P6: a power cut while an older edge-store is sealed loses nothing, and leaves nothing clear.

Real: the edge-store, SQLite and AES. Watched and worked out: as in ``test_power_cuts.py``.
"""

import random
from pathlib import Path
from typing import Final

import pytest

from edgecore.edgestore.database import Database
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.waltail import Loss
from tests.crashes.disk import Disk, Image
from tests.crashes.recorder import FILE, Recorder, lay_out, recorded
from tests.crashes.runs import look
from tests.crashes.sampling import sample
from tests.crashes.script import held
from tests.edgecore.edgestore.objects import stored
from tests.edgecore.edgestore.olden import open_clear, put_clear

PLAIN: Final = b"hunter2"
OBJECTS: Final = [
    stored("default/configmap/web", uid="c", version=1, value=b"{}" * 3000),
    stored("default/secret/large", uid="l", version=2, value=PLAIN * 3000),
    stored("default/secret/small", uid="s", version=3, value=b'{"password":"%b"}' % PLAIN),
]

pytestmark = pytest.mark.timeout(3600)


def left_by_a_kill(folder: Path) -> Image:
    """Return the files of an older store, with a log."""
    connection = open_clear(folder / FILE)
    put_clear(connection, OBJECTS)
    image = {name: (folder / name).read_bytes() for name in (FILE, f"{FILE}-wal")}
    connection.close()
    return image


def sealed(folder: Path, image: Image) -> list[StoredObject]:
    """Open what is in ``image``, close it, and return what it held; nothing clear is left."""
    path = lay_out(folder, image)
    database = Database(path)
    assert database.open() is not Loss.CERTAIN  # the last commit may be a part of one of sealing
    assert database.state("clear") is None
    holds = held(database)
    database.close()
    assert not any(PLAIN in file.read_bytes() for file in folder.iterdir())
    return list(holds.objects)


def test_a_power_cut_at_any_write_of_sealing_loses_nothing_and_the_next_start_seals(
    tmp_path: Path,
) -> None:
    image = left_by_a_kill(tmp_path / "old")
    there, recorder, chance = tmp_path / "there", Recorder(), random.Random(6)
    path = lay_out(there, image)
    with recorded(there, recorder):
        look(path)
    disk, cuts = Disk(image), set(sample(range(len(recorder.events)), 40))
    for number, event in enumerate(recorder.events):
        disk.do(event)
        if number in cuts:
            for cut in (disk.killed(), disk.unplugged(), disk.torn(chance)):
                assert sealed(tmp_path / "cut", cut) == OBJECTS
    assert not any(PLAIN in content for content in disk.unplugged().values())
