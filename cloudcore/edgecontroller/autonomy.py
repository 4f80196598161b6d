"""How long pods stay bound to a node that is not heard of, and the patch that makes it so. Pure.

The API server gives each pod two tolerations, of ``not-ready`` and ``unreachable``, which end after
300 s; then the pod is evicted and made anew elsewhere, while the old one runs on at an edge that is
only offline. The annotation ``cloudedge.io/autonomy`` on a Node says another time for the pods that
are bound to it, and on a pod for that pod alone:

- ``forever``: it is never evicted for that;
- a duration such as ``90s``, ``30m``, ``12h`` or ``7d``: after that time;
- ``off``: as Kubernetes does by default.

Only tolerations that say the default are changed, and those that this module has changed before, of
which a second annotation keeps a record. What somebody has put into a pod himself stays.

Of a pod that exists, the API server lets existing tolerations change in their seconds only. The
eviction takes the first toleration that matches a taint, so that to add one does nothing.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/;
kubernetes pkg/apis/core/validation (validateOnlyAddedTolerations), component-helpers
scheduling/corev1 (GetMatchingTolerations), plugin/pkg/admission/defaulttolerationseconds.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

AUTONOMY: Final = "cloudedge.io/autonomy"
"""The annotation, on a Node or a pod."""

RECORD: Final = "cloudedge.io/autonomy-set"
"""The annotation of a pod that says what was set: ``not-ready=forever,unreachable=forever``."""

DEFAULT_S: Final = 300
"""What the API server gives by default.

Source: kube-apiserver's ``--default-not-ready-toleration-seconds`` and
``--default-unreachable-toleration-seconds``.
"""

MAX_S: Final = 36500 * 86400
"""A hundred years; the node controller counts in nanoseconds and overflows after 292."""

Toleration = dict[str, Any]

_MARK: Final = AUTONOMY.encode()  # RECORD begins with it too
_MIRROR: Final = "kubernetes.io/config.mirror"
_DOMAIN: Final = "node.kubernetes.io/"
_TAINTS: Final = ("not-ready", "unreachable")
_FOREVER: Final = "forever"
_OFF: Final = "off"
_UNITS: Final[Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([0-9]{1,10})([smhd])")


class Stay(Struct, frozen=True):
    """How long pods stay."""

    seconds: int | None
    """None is for ever."""


class _Metadata(msgspec.Struct, frozen=True):
    uid: str
    resourceVersion: str  # noqa: N815 - the API's spelling
    annotations: dict[str, str] = {}
    deletionTimestamp: str | None = None  # noqa: N815 - the API's spelling


class _Spec(msgspec.Struct, frozen=True):
    tolerations: list[Toleration] = []


class TolerantPod(msgspec.Struct, frozen=True):
    """What this module looks at of a pod."""

    metadata: _Metadata
    spec: _Spec = _Spec()

    @property
    def says(self) -> str | None:
        """The pod's own annotation, which wins over its node's; None where it has none."""
        return self.metadata.annotations.get(AUTONOMY)


parse_pod: Final = msgspec.json.Decoder(TolerantPod).decode
"""Return the view of a pod that the API server has sent."""


def may_concern(raw: bytes | msgspec.Raw, node_says: str | None) -> bool:
    """Whether that pod has to be parsed: there is an annotation on its node or on itself."""
    return node_says is not None or _MARK in bytes(raw)


def parse(text: str | None) -> Stay | None:
    """Return what an annotation asks for; None where there is none, or it is ``off``.

    Raises:
        ValueError: it is none of what the module's docstring tells.
    """
    if text is None or text == _OFF:
        return None
    if text == _FOREVER:
        return Stay(None)
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= MAX_S:
        raise ValueError(
            f"{AUTONOMY} is {text[:64]!r}: it has to be forever, off, or a duration of up to 36500d"
            " such as 90s, 30m, 12h or 7d"
        )
    return Stay(seconds)


def patch_for(pod: TolerantPod, stay: Stay | None, default_s: int) -> bytes | None:
    """Return the merge patch by which ``pod`` stays so long; None where there is nothing to do.

    The patch holds for this version of the pod only.

    Args:
        pod: as it is.
        stay: how long it is to stay; None is as by default.
        default_s: seconds that the API server gives by default.
    """
    metadata = pod.metadata
    if metadata.deletionTimestamp is not None or _MIRROR in metadata.annotations:
        return None
    was_set = _parse_record(metadata.annotations.get(RECORD, ""))
    wanted = Stay(default_s) if stay is None else stay
    tolerations, is_set = list(pod.spec.tolerations), {}
    for taint in _TAINTS:
        index = _first_matching(tolerations, taint)
        if index is None or not _is_plain(tolerations[index], taint):
            continue
        found = Stay(tolerations[index].get("tolerationSeconds"))
        if found.seconds != default_s and was_set.get(taint) != found:
            continue  # somebody's own
        tolerations[index] = _with(tolerations[index], wanted)
        if wanted.seconds != default_s:
            is_set[taint] = wanted
    record = _record(is_set)
    if tolerations == pod.spec.tolerations and record == metadata.annotations.get(RECORD):
        return None
    return msgspec.json.encode(
        {
            "metadata": {
                "uid": metadata.uid,
                "resourceVersion": metadata.resourceVersion,
                "annotations": {RECORD: record},
            },
            "spec": {"tolerations": tolerations},
        }
    )


def _first_matching(tolerations: Sequence[Toleration], taint: str) -> int | None:
    """Return which toleration decides about that taint, as the node controller chooses it."""
    key = _DOMAIN + taint
    for index, one in enumerate(tolerations):
        if one.get("effect", "") not in ("", "NoExecute") or one.get("key", "") not in ("", key):
            continue
        if one.get("operator") == "Exists" or (
            one.get("operator", "Equal") == "Equal" and not one.get("value")
        ):
            return index
    return None


def _is_plain(toleration: Toleration, taint: str) -> bool:
    """Whether it is such as the API server puts into pods, whatever its seconds are."""
    rest = {name: value for name, value in toleration.items() if name != "tolerationSeconds"}
    return rest == {"key": _DOMAIN + taint, "operator": "Exists", "effect": "NoExecute"}


def _with(toleration: Toleration, stay: Stay) -> Toleration:
    if stay.seconds is not None:
        return toleration | {"tolerationSeconds": stay.seconds}
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def _record(is_set: Mapping[str, Stay]) -> str | None:
    """Return what goes into the annotation; None, which takes it away, where nothing is set."""
    told = {
        taint: _FOREVER if stay.seconds is None else f"{stay.seconds}s"
        for taint, stay in is_set.items()
    }
    return ",".join(f"{taint}={said}" for taint, said in told.items()) or None


def _parse_record(text: str) -> dict[str, Stay]:
    """Return what a record tells; what cannot be read tells nothing."""
    found: dict[str, Stay] = {}
    for part in text.split(","):
        taint, _, said = part.partition("=")
        try:
            stay = parse(said)
        except ValueError:
            continue
        if stay is not None:
            found[taint] = stay
    return found
