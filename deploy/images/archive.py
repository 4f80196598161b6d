"""The layers of an image, and the archive of it."""

import gzip
import tarfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from deploy.oci import Archive

_LEVEL: Final = 6


def write(file: Path, name: str, roots: Sequence[Path], config: Mapping[str, Any]) -> None:
    """Write an image to ``file``, which is replaced.

    Args:
        file: the archive.
        name: of the image, with its tag.
        roots: what is in each layer, the lowest first.
        config: what it is run with.

    Raises:
        OSError: a file cannot be read or written.
    """
    archive = Archive()
    layers = []
    for root in roots:
        unpacked = layer_of(root)
        layers.append(
            archive.add_layer(gzip.compress(unpacked, _LEVEL, mtime=0), unpacked=unpacked)
        )
    archive.add_image(name, layers, config)
    archive.write(file)


def layer_of(root: Path) -> bytes:
    """Return all that is below ``root`` as a tar file; each belongs to root, of the year 1970."""
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as layer:
        for one in sorted(root.rglob("*")):
            info = layer.gettarinfo(one, str(one.relative_to(root)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = 0
            if info.isreg():
                with one.open("rb") as stream:
                    layer.addfile(info, stream)
            else:
                layer.addfile(info)
    return content.getvalue()
