"""The environment and the command line of a container, as kubelet makes them. Pure.

Source: Kubernetes pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables) and
third_party/forked/golang/expansion.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from common.names import ResourceType
from edgecore.edged.objects import MissingError, Objects, Ref
from edgecore.edged.podview import Object
from edgecore.edged.spec.fields import FieldError, NodeView, field_value, resource_value
from edgecore.edged.spec.serviceenv import service_variables

_REFERENCE: Final = re.compile(r"\$(?:(\$)|\(([^)]*)\))")
_SOURCES: Final = (
    ("configMapKeyRef", "configMapRef", ResourceType.CONFIGMAP, "ConfigMap"),
    ("secretKeyRef", "secretRef", ResourceType.SECRET, "Secret"),
)


class Environment(Struct, frozen=True):
    """What a container's process is started with."""

    variables: dict[str, str]
    skipped: tuple[str, ...]
    """Keys that ``envFrom`` named and that cannot be a variable's name."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return ``text`` with each ``$(NAME)`` replaced.

    An unknown name stays as it is, and ``$$`` stands for one ``$`` that begins no reference.
    """

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] else variables.get(match[2], match[0])

    return _REFERENCE.sub(replacement, text)


def environment(
    pod: Object, container: Object, objects: Objects, node: NodeView, ips: Sequence[str] = ()
) -> Environment:
    """Return the environment of ``container``; what comes later wins.

    First come the variables for services, then ``envFrom``, then ``env``.

    Args:
        pod: whose fields may be referred to.
        container: one of the pod's.
        objects: what the pod names, and the services that there are.
        node: where it runs.
        ips: the pod's own addresses; none where they are the node's.

    Raises:
        MissingError: an object or a key that is not optional does not exist.
        UnavailableError: an object could not be asked for.
    """
    variables = service_variables(pod, objects.services)
    skipped: list[str] = []
    for name, value in _from_objects(container, objects):
        if _is_variable_name(name):
            variables[name] = value
        else:
            skipped.append(name)
    for entry in container.get("env") or ():
        value_from = entry.get("valueFrom")
        if value_from is None:
            variables[entry["name"]] = expand(entry.get("value", ""), variables)
            continue
        referred = _referred(pod, container, value_from, objects, node, ips)
        if referred is not None:
            variables[entry["name"]] = referred
    return Environment(variables, tuple(skipped))


def _from_objects(container: Object, objects: Objects) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for _, field, kind, _ in _SOURCES:
            ref = source.get(field)
            if ref is None:
                continue
            data = objects.data(Ref(kind, ref["name"]), optional=bool(ref.get("optional")))
            for key, value in sorted(data.items()):
                yield prefix + key, _text(value)


def _referred(
    pod: Object,
    container: Object,
    value_from: Object,
    objects: Objects,
    node: NodeView,
    ips: Sequence[str],
) -> str | None:
    """Return the value that one ``valueFrom`` names; None if it may be missing and is."""
    try:
        if "fieldRef" in value_from:
            return field_value(pod, node, value_from["fieldRef"].get("fieldPath", ""), ips)
        if "resourceFieldRef" in value_from:
            ref = value_from["resourceFieldRef"]
            return resource_value(pod, node, container.get("name", ""), ref)
    except FieldError as error:
        raise MissingError(str(error)) from error
    for field, _, kind, label in _SOURCES:
        if field not in value_from:
            continue
        ref = value_from[field]
        optional = bool(ref.get("optional"))
        data = objects.data(Ref(kind, ref["name"]), optional=optional)
        if ref["key"] in data:
            return _text(data[ref["key"]])
        if optional:
            return None
        raise MissingError(
            f"couldn't find key {ref['key']} in {label} {objects.namespace}/{ref['name']}"
        )
    raise MissingError(f"unsupported source of a variable: {', '.join(value_from)}")


def _is_variable_name(name: str) -> bool:
    """Whether Kubernetes 1.34 and later take ``name``: printable ASCII without ``=``."""
    return bool(name) and name.isascii() and name.isprintable() and "=" not in name


def _text(value: bytes) -> str:
    """Return a value as a process gets it: bytes that are not UTF-8 stay what they are."""
    return value.decode("utf-8", "surrogateescape")
