"""Credentials for registries, out of the Secrets that a pod names. Pure.

Source: Kubernetes pkg/credentialprovider (keyring.go, config.go, secrets/secrets.go).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from common.errors import WireError
from common.wire import loads
from edgecore.edged.images.imagerefs import DEFAULT_REGISTRY, LEGACY_REGISTRY, ImageName
from edgecore.edged.runtime.images import ImageAuth


@dataclass(frozen=True, slots=True)
class PullSecret:
    """A Secret that a pod names in ``imagePullSecrets``."""

    name: str
    type: str
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keyring:
    """The credentials of one pod."""

    entries: tuple[tuple[str, ImageAuth], ...] = field(default=(), repr=False)
    """By host and path, the more specific first."""
    faults: tuple[str, ...] = ()
    """Secrets that could not be used, and why; nothing of their content."""

    def auths(self, name: ImageName) -> tuple[ImageAuth, ...]:
        """Return the credentials to try for ``name``, in this order; none: ask without."""
        found = [auth for place, auth in self.entries if _matches(place, name.repository)]
        if not found and name.registry == DEFAULT_REGISTRY:
            found = [auth for place, auth in self.entries if place == LEGACY_REGISTRY]
        return tuple(dict.fromkeys(found))


def keyring_of(secrets: Iterable[PullSecret]) -> Keyring:
    """Return the credentials in ``secrets``; Secrets of other types are passed over.

    A Secret that cannot be read is a fault and not an error, other than in kubelet: the image may
    be had with another one, or without any.
    """
    entries: list[tuple[str, ImageAuth]] = []
    faults = []
    for secret in secrets:
        try:
            for place, entry in _config(secret).items():
                entries.append((_place(place), _auth(entry)))
        except (WireError, ValueError, TypeError, AttributeError):
            # The words of the error may hold a part of the content.
            faults.append(f'Secret "{secret.name}" holds no credentials that can be read')
    # In the order of their text, backwards: what begins with another comes before it, and a
    # wildcard after whatever it might stand for.
    entries.sort(key=lambda entry: entry[0], reverse=True)
    return Keyring(tuple(entries), tuple(faults))


def _config(secret: PullSecret) -> Mapping[str, Any]:
    match secret.type:
        case "kubernetes.io/dockerconfigjson":
            content = secret.data.get(".dockerconfigjson")
            return (loads(content).get("auths") or {}) if content else {}
        case "kubernetes.io/dockercfg":
            content = secret.data.get(".dockercfg")
            return loads(content) if content else {}
    return {}


def _place(location: str) -> str:
    """Return host and path of where credentials are for; ``/v1/`` and ``/v2/`` mean the host."""
    host, slash, path = re.sub(r"^https?://", "", location).partition("/")
    path = slash + path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host if path == "/" else host + path


def _auth(entry: Mapping[str, Any]) -> ImageAuth:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if encoded := entry.get("auth"):
        encoded = "".join(encoded.split())
        padded = encoded + "=" * (-len(encoded) % 4)
        text = base64.b64decode(padded, validate=True).decode()
        username, colon, password = text.partition(":")
        if not colon:
            raise ValueError("auth has no colon")
    if not isinstance(username, str) or not isinstance(password, str):
        raise TypeError("username and password must be texts")
    return ImageAuth(username, password)


def _matches(place: str, repository: str) -> bool:
    """Whether credentials for ``place``, whose host may have wildcards, are for ``repository``."""
    place_host, slash, place_path = place.partition("/")
    host, _, path = repository.partition("/")
    if not path.startswith(place_path if slash else ""):
        return False
    place_name, place_port = _host_and_port(place_host)
    name, port = _host_and_port(host)
    wanted, have = place_name.split("."), name.split(".")
    return (
        place_port == port
        and len(wanted) == len(have)
        and all(fnmatchcase(part, glob) for part, glob in zip(have, wanted, strict=True))
    )


def _host_and_port(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name, port = host, ""
    if ":" in name:  # an address in brackets, which are no wildcard
        name = name.strip("[]")
    return name, port
