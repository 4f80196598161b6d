"""ConfigMaps and Secrets that never change while a pod lives. Pure.

Once a pod has seen an object with ``immutable: true`` it keeps that one, even if the object is
deleted and made again under its name.

Source: https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-immutable
"""

from collections.abc import Mapping

from msgspec.structs import replace

from edgecore.edged.objects import Objects, Ref
from edgecore.edged.podview import Object


def immutable_of(objects: Objects) -> dict[Ref, Object]:
    """Return those of a pod's objects that it keeps as they are."""
    return {
        ref: obj
        for ref, obj in objects.found.items()
        if obj is not None and obj.get("immutable") is True
    }


def with_immutable(objects: Objects, kept: Mapping[Ref, Object]) -> Objects:
    """Return ``objects`` with those in ``kept`` as the pod saw them first."""
    return replace(objects, found={**objects.found, **kept})
