"""Inputs that are kept: such as a target reads, and such as it once could not bear.

``corpus/<target>/`` has one file for each. A new finding is put there, so that it stays found.
"""

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).with_name("corpus")


def corpus(target: str) -> list[bytes]:
    """Return what is kept for ``target``, in the order of the files' names."""
    return [path.read_bytes() for path in sorted((FOLDER / target).iterdir())]
