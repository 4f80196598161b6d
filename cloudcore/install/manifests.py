"""The files of deploy/kubernetes, which are a part of the installed package."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable


def read_manifests() -> dict[str, str]:
    """Return the text of each file by its path below deploy/kubernetes, such as ``base/rbac.yaml``.

    Raises:
        OSError: they cannot be read, so that the package is damaged.
    """
    return dict(_walk(files("cloudcore").joinpath("manifests"), ""))


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for one in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if one.is_dir():
            yield from _walk(one, f"{path}{one.name}/")
        elif one.name.endswith(".yaml"):
            yield f"{path}{one.name}", one.read_text(encoding="utf-8")
