"""Names of images, and whether to pull them. Pure.

Source: Kubernetes pkg/kubelet/images/image_manager.go; the grammar of references:
https://pkg.go.dev/github.com/distribution/reference
"""

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from edgecore.edged.podview import Object

DEFAULT_REGISTRY: Final = "docker.io"
LEGACY_REGISTRY: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_DEFAULT_TAG: Final = "latest"
_MAX_PATH_CHARS: Final = 255

_HOST_PART: Final = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY: Final = rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH_PART: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    # A registry may also be what is no name of a host, with an underscore in it.
    rf"({_REGISTRY}|{_PATH_PART})/({_PATH_PART}(?:/{_PATH_PART})*)"
    r"(?::([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}))?"
    r"(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?"
)
_BARE_ID: Final = re.compile(r"[a-f0-9]{64}")
_DIGEST_CHARS: Final = {"sha256": 64, "sha384": 96, "sha512": 128}

# Parts of what runtimes say when a registry could not be asked, as opposed to: it refused. A
# certificate that is not valid yet or any more is among them: at the edge the clock may be wrong.
_UNREACHABLE: Final = (
    "certificate has expired or is not yet valid",
    "connection refused",
    "connection reset by peer",
    "context deadline exceeded",
    "host is down",
    "i/o timeout",
    "network is unreachable",
    "no route to host",
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "tls handshake timeout",
    "unexpected eof",
)
_SERVER_ERROR: Final = re.compile(r"unexpected status.*: 5\d\d\b")


class InvalidImageNameError(Exception):
    """A text is no reference to an image; the words are kubelet's."""


class ImageName(Struct, frozen=True):
    """The parts of a reference, with what its short form leaves out."""

    registry: str
    path: str
    tag: str
    """Empty where only the digest counts."""
    digest: str

    @property
    def repository(self) -> str:
        """Return ``docker.io/library/busybox``."""
        return f"{self.registry}/{self.path}"

    def __str__(self) -> str:
        """Return the name under which a runtime keeps the image: a digest outdoes a tag."""
        if self.digest:
            return f"{self.repository}@{self.digest}"
        return f"{self.repository}:{self.tag}"


class PullPolicy(StrEnum):
    """A container's ``imagePullPolicy``."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Decision(StrEnum):
    """What to do for an image."""

    USE = "use"
    PULL = "pull"
    REFUSE = "refuse"


def parse_image(reference: str) -> ImageName:
    """Return what ``reference`` names: ``busybox`` is ``docker.io/library/busybox:latest``.

    Raises:
        InvalidImageNameError: it names nothing.
    """
    if _BARE_ID.fullmatch(reference):
        problem = f"invalid repository name ({reference}), cannot specify 64-byte hexadecimal"
        raise _invalid(reference, f"{problem} strings")
    registry, rest = _split_registry(reference)
    path = rest.partition(":")[0]
    if path.lower() != path:
        problem = f"invalid reference format: repository name ({path}) must be lowercase"
        raise _invalid(reference, problem)
    match = _REFERENCE.fullmatch(f"{registry}/{rest}")
    if match is None:
        raise _invalid(reference, "invalid reference format")
    registry, path, tag, digest = (part or "" for part in match.groups())
    if len(path) > _MAX_PATH_CHARS:
        problem = f"repository name must not be more than {_MAX_PATH_CHARS} characters"
        raise _invalid(reference, problem)
    if digest and (problem := _digest_problem(digest)):
        raise _invalid(reference, problem)
    return ImageName(registry, path, tag or ("" if digest else _DEFAULT_TAG), digest)


def with_tag(reference: str) -> str:
    """Return what a runtime is asked for: as the pod has it, with a tag.

    The registry is not filled in: a runtime may have another default for it.

    Raises:
        InvalidImageNameError: it names nothing.
    """
    name = parse_image(reference)
    if name.digest or reference.endswith(f":{name.tag}"):
        return reference
    return f"{reference}:{name.tag}"


def pull_policy(container: Object) -> PullPolicy:
    """Return a container's policy; where it has none, the tag decides, as in the API server.

    Raises:
        ValueError: it has one that is none, which the API server lets nobody write.
    """
    if policy := container.get("imagePullPolicy"):
        return PullPolicy(policy)
    try:
        name = parse_image(container.get("image", ""))
    except InvalidImageNameError:
        return PullPolicy.IF_NOT_PRESENT
    return PullPolicy.ALWAYS if name.tag == _DEFAULT_TAG else PullPolicy.IF_NOT_PRESENT


def decide(policy: PullPolicy, *, present: bool, reachable: bool) -> Decision:
    """Return what to do for an image.

    Kubelet fails a container with ``Always`` whose registry cannot be asked. At the edge that
    would keep a pod from a cold boot without a network: here the image that is present is used.

    Args:
        policy: of the container.
        present: whether the image is on this machine.
        reachable: whether there is reason to hope that the registry answers.
    """
    if policy is PullPolicy.NEVER:
        return Decision.USE if present else Decision.REFUSE
    if present and (policy is PullPolicy.IF_NOT_PRESENT or not reachable):
        return Decision.USE
    return Decision.PULL


def is_unreachable(reason: str, message: str) -> bool:
    """Whether a pull failed because the registry could not be asked, by the runtime's words."""
    text = message.lower()
    if reason == "RegistryUnavailable" or _SERVER_ERROR.search(text):
        return True
    return any(words in text for words in _UNREACHABLE)


def _invalid(reference: str, problem: str) -> InvalidImageNameError:
    reference = reference[:256]
    return InvalidImageNameError(
        f'Failed to apply default image tag "{reference}": '
        f'couldn\'t parse image name "{reference}": {problem[:512]}'
    )


def _digest_problem(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    if algorithm not in _DIGEST_CHARS:
        return "unsupported digest algorithm"
    if len(value) != _DIGEST_CHARS[algorithm]:
        return "invalid checksum digest length"
    return "" if value.lower() == value else "invalid checksum digest format"


def _split_registry(reference: str) -> tuple[str, str]:
    """Return the registry and the rest of a reference that may have no registry."""
    first, slash, rest = reference.partition("/")
    if not slash:
        return DEFAULT_REGISTRY, _OFFICIAL + reference
    is_registry = first == "localhost" or not {".", ":"}.isdisjoint(first) or first.lower() != first
    registry, path = (first, rest) if is_registry else (DEFAULT_REGISTRY, reference)
    if registry == LEGACY_REGISTRY:
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = _OFFICIAL + path
    return registry, path
