"""How an edge does, as people and programs read it. Pure.

The shape for programs is kept from version to version; what is not known in it is null.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, field

from common.clock import parse_rfc3339, rfc3339
from common.output import printable
from edgecore.install.slots import State

EXIT_OFFLINE: Final = 3
"""Exit code where edgecore does not run, or has no connection."""

_WIDTH: Final = 13
_UNITS: Final = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "min"),
    (timedelta(seconds=1), "s"),
)
_START: Final = (
    "start edgecore (systemctl start edgecore); its log says why it has stopped (journalctl -u"
    " edgecore)"
)
_CONNECT: Final = (
    "pods go on meanwhile; edgecore tries again by itself. `edgecore doctor` says what is in the"
    " way"
)


class StoreFacts(Struct, frozen=True):
    """What the edge-store says, read from outside."""

    objects: int | None = None
    pods: Mapping[str, int] = field(default_factory=dict)
    """By phase, as the cloud knew them last."""
    is_complete: bool = False
    time: str | None = None
    """The last time that the cloud has told and that was kept."""
    error: str = ""


class CertificateFacts(Struct, frozen=True):
    """What stands on the disk of the node's certificate."""

    until: datetime | None = None
    error: str = ""


class Facts(Struct, frozen=True):
    """All that was found out."""

    node: str
    now: datetime
    """By this machine's clock."""
    store: StoreFacts
    certificate: CertificateFacts
    told: Mapping[str, Mapping[str, Any]] | None = None
    """What a running edgecore says; None where none answers."""
    silence: str = ""
    """Why none does."""
    slot: State = field(default_factory=State)
    """Which version is to run, where versions are side by side."""


def shape(facts: Facts) -> dict[str, Any]:
    """Return all of it for programs."""
    told = facts.told or {}
    process, link = told.get("edgecore", {}), told.get("edgehub", {})
    held, pods = told.get("metamanager", {}), told.get("edged", {}).get("pods")
    until = facts.certificate.until
    shown: dict[str, Any] = {
        "node": process.get("node") or facts.node,
        "running": facts.told is not None,
        "connected": bool(link.get("connected")),
        "edgecore": {
            "version": process.get("version"),
            "pid": process.get("pid"),
            "since": process.get("since"),
            "installedIn": process.get("installedIn"),
            "silence": facts.silence or None,
        },
        "slot": _slot_shape(facts.slot),
        "cloud": {
            "address": link.get("cloud"),
            "since": link.get("since"),
            "failure": link.get("failure"),
            "version": link.get("version"),
            "waiting": link.get("waiting"),
            "time": link.get("time") or facts.store.time,
        },
        "store": {
            "objects": held.get("objects", facts.store.objects),
            "complete": held.get("complete", facts.store.is_complete),
            "inStepSince": held.get("inStepSince"),
            "error": facts.store.error or None,
        },
        "pods": dict(facts.store.pods if pods is None else pods),
        "certificate": {
            "until": rfc3339(until) if until else None,
            "error": facts.certificate.error or None,
        },
    }
    shown["advice"] = _advice(shown)
    return shown


def exit_code(shown: Mapping[str, Any]) -> int:
    """Return how the process ends: 0 for an edge that runs and is connected."""
    return 0 if shown["running"] and shown["connected"] else EXIT_OFFLINE


def as_table(shown: Mapping[str, Any], now: datetime) -> str:
    """Return what ``shape`` made for people: a line for each thing."""
    lines = [
        ("node", shown["node"]),
        ("edgecore", _edgecore(shown, now)),
        ("slot", _slot(shown["slot"])),
        ("cloud", _cloud(shown, now)),
        ("waiting", _waiting(shown["cloud"]["waiting"])),
        ("store", _store(shown["store"], now)),
        ("pods", ", ".join(f"{count} {phase}" for phase, count in shown["pods"].items()) or "none"),
        ("certificate", _certificate(shown["certificate"], shown["cloud"]["time"], now)),
        *(("to do", advice) for advice in shown["advice"]),
    ]
    return "\n".join(f"{name:{_WIDTH}}{printable(str(text))}" for name, text in lines if text)


def _advice(shown: Mapping[str, Any]) -> list[str]:
    if not shown["running"]:
        return [_START]
    return [] if shown["connected"] else [_CONNECT]


def _edgecore(shown: Mapping[str, Any], now: datetime) -> str:
    process = shown["edgecore"]
    if not shown["running"]:
        return f"does not run: {process['silence']}"
    words = f"runs {_since(process['since'], now)}, pid {process['pid']}"
    return f"{words}, version {process['version']} in {process['installedIn']}"


def _slot_shape(slot: State) -> dict[str, Any] | None:
    if not slot.current:
        return None
    return {
        "current": slot.current,
        "previous": slot.previous or None,
        "onTrial": slot.on_trial,
        "failed": slot.failed or None,
        "why": slot.why or None,
    }


def _slot(slot: Mapping[str, Any] | None) -> str:
    if slot is None:
        return ""
    words = str(slot["current"])
    if slot["onTrial"]:
        words += f", on trial: it goes back to {slot['previous']} unless it shows that it works"
    elif slot["previous"]:
        words += f"; before it {slot['previous']}"
    return f"{words}; {slot['failed']} was left: {slot['why']}" if slot["failed"] else words


def _cloud(shown: Mapping[str, Any], now: datetime) -> str:
    cloud = shown["cloud"]
    if not shown["running"]:
        return f"last heard of at {cloud['time']}" if cloud["time"] else "never heard of"
    if shown["connected"]:
        words = f"connected to {cloud['address']} {_since(cloud['since'], now)}"
        return f"{words}, version {cloud['version']}" if cloud["version"] else words
    if not cloud["since"]:
        return f"connecting to {cloud['address']}"
    words = f"not connected to {cloud['address']} {_since(cloud['since'], now)}"
    return f"{words}: {cloud['failure']}"


def _waiting(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count} messages for the cloud" if count else "nothing for the cloud"


def _store(store: Mapping[str, Any], now: datetime) -> str:
    if store["objects"] is None:
        return str(store["error"] or "not known")
    words = f"{store['objects']} objects"
    if store["inStepSince"]:
        return f"{words}, in step {_since(store['inStepSince'], now)}"
    return words if store["complete"] else f"{words}; there may be more that it was not told yet"


def _certificate(certificate: Mapping[str, Any], told: str | None, now: datetime) -> str:
    if certificate["until"] is None:
        return str(certificate["error"] or "none")
    until = parse_rfc3339(certificate["until"])
    # The cloud's time counts, as it does for edgecore; this machine's may be anything.
    time = parse_rfc3339(told) if told else now
    if until <= time:
        return f"has expired on {certificate['until']}: edgecore renews it when it connects"
    return f"good until {certificate['until']} ({_length(until - time)})"


def _since(text: str, now: datetime) -> str:
    return f"since {text} ({_length(now - parse_rfc3339(text))})"


def _length(span: timedelta) -> str:
    for unit, name in _UNITS:
        if span >= unit:
            return f"{span // unit} {name}"
    return "0 s"
