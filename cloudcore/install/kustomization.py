"""The part of kustomize that the files of deploy/kubernetes keep to. Pure.

``cloudcore init`` needs no kubectl, and kubectl no ``cloudcore init``: both read the same files.
These may have a list of resources, of components and of JSON patches; anything else is refused, and
a test compares with kubectl.

Source: https://kubectl.docs.kubernetes.io/references/kustomize/kustomization
"""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
import yaml

from common.errors import EdgeError

FILE: Final = "kustomization.yaml"

Object = dict[str, Any]
"""A Kubernetes object, as decoded JSON."""


class KustomizationError(EdgeError):
    """A kustomization has something that is not understood here, or names what is not there."""


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which objects are patched."""

    kind: str
    name: str


class Operation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a JSON patch (RFC 6902)."""

    op: Literal["add", "replace"]
    path: str
    value: Any


class Patch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change of objects that are there."""

    target: Target
    patch: str
    """A list of ``Operation`` in YAML."""


class Kustomization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a kustomization.yaml may say."""

    api_version: str = ""
    kind: str = ""
    resources: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()


def build(files: Mapping[str, str], made: Kustomization, folder: str = "") -> list[Object]:
    """Return the objects of a kustomization, in the order in which they are to be made.

    Args:
        files: the text of each file by its path, with ``/`` between its parts.
        made: the kustomization.
        folder: in which it stands.

    Raises:
        KustomizationError: it cannot be built.
    """
    return _accumulate([], files, made, folder)


def to_yaml(objects: Sequence[Object]) -> str:
    """Return objects as people and kubectl read them."""
    return yaml.safe_dump_all(objects, sort_keys=False, width=100)


def _accumulate(
    found: list[Object], files: Mapping[str, str], made: Kustomization, folder: str
) -> list[Object]:
    """Return what is ``found`` with what a kustomization adds to it, and changes of it."""
    for name in made.resources:
        path = posixpath.normpath(posixpath.join(folder, name))
        if path in files:
            found = [*found, *yaml.safe_load_all(files[path])]
        else:
            found = [*found, *build(files, _read(files, path), path)]
    for name in made.components:
        path = posixpath.normpath(posixpath.join(folder, name))
        found = _accumulate(found, files, _read(files, path), path)
    for patch in made.patches:
        _change(found, patch)
    return found


def _read(files: Mapping[str, str], folder: str) -> Kustomization:
    path = posixpath.normpath(posixpath.join(folder, FILE))
    try:
        return msgspec.convert(yaml.safe_load(files[path]), Kustomization)
    except KeyError:
        raise KustomizationError(f"{path} is not there") from None
    except msgspec.ValidationError as error:
        raise KustomizationError(f"{path}: {error}") from error


def _change(objects: list[Object], patch: Patch) -> None:
    kind, name = patch.target.kind, patch.target.name
    targets = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    if not targets:
        raise KustomizationError(f"there is no {kind} {name} to patch")
    try:
        operations = msgspec.convert(yaml.safe_load(patch.patch), tuple[Operation, ...])
        for target in targets:
            for operation in operations:
                _carry_out(target, operation)
    except (msgspec.ValidationError, LookupError, ValueError, TypeError) as error:
        raise KustomizationError(f"a patch of {kind} {name} does not fit: {error!r}") from error


def _carry_out(target: Object, operation: Operation) -> None:
    *parents, last = (
        part.replace("~1", "/").replace("~0", "~") for part in operation.path.split("/")[1:]
    )
    place: Any = target
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    if isinstance(place, list):
        _carry_out_in_list(place, last, operation)
        return
    if operation.op == "replace" and last not in place:
        raise KeyError(operation.path)
    place[last] = operation.value


def _carry_out_in_list(place: list[Any], last: str, operation: Operation) -> None:
    if operation.op == "replace":
        place[int(last)] = operation.value
    else:
        place.insert(len(place) if last == "-" else int(last), operation.value)
