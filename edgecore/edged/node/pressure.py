"""When a node is short of something: thresholds, what is read against them, and for how long. Pure.

A threshold that is met makes a pressure at once, and the pressure stays for a while after its end,
so that the scheduler is not told one thing and the other. A hard threshold is acted on at once; a
soft one after its grace. Seconds are those of a monotonic clock.

Source: Kubernetes pkg/kubelet/eviction (helpers.go, eviction_manager.go, defaults_linux.go).
"""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fractions import Fraction
from typing import Final

from msgspec import Struct, field

from edgecore.edged.node.facts import Amount, Readings
from edgecore.edged.spec.quantity import parse_quantity

TRANSITION_S: Final = 300.0
"""How long a pressure stays after its threshold was met for the last time."""


class Signal(StrEnum):
    """What is watched, in the order in which it is acted on."""

    MEMORY = "memory.available"
    DISK = "nodefs.available"
    INODES = "nodefs.inodesFree"
    IMAGE_DISK = "imagefs.available"
    IMAGE_INODES = "imagefs.inodesFree"
    PIDS = "pid.available"


class Pressure(StrEnum):
    """The Node's conditions for a shortage, in the order in which they stand in its status."""

    MEMORY = "MemoryPressure"
    DISK = "DiskPressure"
    PID = "PIDPressure"


_PRESSURES: Final = {
    Signal.MEMORY: Pressure.MEMORY,
    Signal.DISK: Pressure.DISK,
    Signal.INODES: Pressure.DISK,
    Signal.IMAGE_DISK: Pressure.DISK,
    Signal.IMAGE_INODES: Pressure.DISK,
    Signal.PIDS: Pressure.PID,
}
_ORDER: Final = tuple(Signal)
_UNITS_S: Final = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class Threshold(Struct, frozen=True):
    """The least of something that shall be left."""

    signal: Signal
    text: str
    """``100Mi`` or ``10%``, as it was configured."""
    amount: int = 0
    """Bytes, inodes or process ids; 0 where ``part`` counts."""
    part: Fraction = Fraction(0)
    """Of the capacity, 0 to 1."""
    grace_s: float = 0.0
    """How long it must be met before anything is done about it; 0 for a hard threshold."""

    @property
    def pressure(self) -> Pressure:
        """The condition that it makes."""
        return _PRESSURES[self.signal]

    def least(self, capacity: int) -> int:
        """Return how much has to be left of ``capacity``."""
        return self.amount or int(capacity * self.part)


class Shortage(Struct, frozen=True):
    """A threshold that is met."""

    threshold: Threshold
    reading: Amount


class Strain(Struct, frozen=True):
    """What was seen of a node, and what follows from it."""

    pressures: tuple[Pressure, ...] = ()
    """Conditions that hold, also those that ended a short while ago."""
    due: tuple[Shortage, ...] = ()
    """What is to be done something about, the most urgent first."""
    met_since_s: Mapping[Threshold, float] = field(default_factory=dict)
    last_met_s: Mapping[Pressure, float] = field(default_factory=dict)


def parse_thresholds(hard: str, soft: str = "", grace: str = "") -> tuple[Threshold, ...]:
    """Return the thresholds that a configuration states.

    Args:
        hard: ``memory.available<100Mi,nodefs.available<10%``, as kubelet's ``--eviction-hard``.
        soft: in the same form; each needs a grace.
        grace: of the soft ones: ``memory.available=1m30s``.

    Raises:
        ValueError: part of it cannot be used; the text tells all that is wrong.
    """
    faults: list[str] = []
    graces = _graces(grace, faults)
    parsed = (*_statements(hard, None, faults), *_statements(soft, graces, faults))
    if faults:
        raise ValueError("; ".join(faults))
    return parsed


def shortages(thresholds: Iterable[Threshold], readings: Readings) -> tuple[Shortage, ...]:
    """Return the thresholds that are met, the most urgent first, whatever their grace."""
    read = _read(readings)
    met = []
    for threshold in thresholds:
        reading = read[threshold.signal]
        if reading is None or not reading.capacity:
            continue  # nothing of the kind is here, or it has no bounds
        if reading.available < threshold.least(reading.capacity):
            met.append(Shortage(threshold, reading))
    return tuple(sorted(met, key=lambda short: _ORDER.index(short.threshold.signal)))


def observe(
    before: Strain,
    thresholds: Iterable[Threshold],
    readings: Readings,
    now_s: float,
    transition_s: float = TRANSITION_S,
) -> Strain:
    """Return what is to be thought of a node, after what was thought ``before``."""
    met = shortages(thresholds, readings)
    since_s = {s.threshold: before.met_since_s.get(s.threshold, now_s) for s in met}
    met_now = {s.threshold.pressure: now_s for s in met}
    last_s = {**before.last_met_s, **met_now}
    return Strain(
        tuple(
            pressure
            for pressure in Pressure
            if pressure in met_now
            or (pressure in last_s and now_s - last_s[pressure] < transition_s)
        ),
        tuple(s for s in met if now_s - since_s[s.threshold] >= s.threshold.grace_s),
        since_s,
        last_s,
    )


class PressureWatch:
    """The strain of one node, shared by all who look at it or ask for it."""

    def __init__(
        self, thresholds: tuple[Threshold, ...], transition_s: float = TRANSITION_S
    ) -> None:
        self._thresholds, self._transition_s = thresholds, transition_s
        self.strain = Strain()
        """As of the last look."""

    def look(self, readings: Readings, now_s: float) -> Strain:
        """Take in ``readings`` and return what follows."""
        self.strain = observe(self.strain, self._thresholds, readings, now_s, self._transition_s)
        return self.strain


def _read(readings: Readings) -> dict[Signal, Amount | None]:
    return {
        Signal.MEMORY: readings.memory,
        Signal.DISK: readings.disk,
        Signal.INODES: readings.inodes,
        Signal.IMAGE_DISK: readings.image_disk,
        Signal.IMAGE_INODES: readings.image_inodes,
        Signal.PIDS: readings.pids,
    }


def _pairs(text: str, separator: str, faults: list[str]) -> list[tuple[str, str]]:
    pairs = []
    for statement in filter(None, (part.strip() for part in text.split(","))):
        name, found, value = statement.partition(separator)
        if found:
            pairs.append((name.strip(), value.strip()))
        else:
            faults.append(f"{statement[:64]!r} is not of the form signal{separator}value")
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    faults += [f"{name} is given more than once" for name in twice]
    return pairs


def _statements(
    text: str, graces: Mapping[str, float] | None, faults: list[str]
) -> list[Threshold]:
    """Return the thresholds of ``text``: soft ones, each with a grace, if there are ``graces``."""
    thresholds = []
    for name, value in _pairs(text, "<", faults):
        try:
            signal = _signal(name)
            grace_s = 0.0 if graces is None else _grace(signal, graces)
            if threshold := _threshold(signal, value, grace_s):
                thresholds.append(threshold)
        except ValueError as error:
            faults.append(str(error))
    return thresholds


def _grace(signal: Signal, graces: Mapping[str, float]) -> float:
    if signal not in graces:
        raise ValueError(f"a grace period must be given for the soft threshold of {signal}")
    return graces[signal]


def _threshold(signal: Signal, value: str, grace_s: float) -> Threshold | None:
    """Return one threshold; none for 0 % and 100 %, with which kubelet switches one off."""
    name = signal.value
    try:
        number = parse_quantity(value.removesuffix("%"))
    except ValueError as error:
        raise ValueError(f"eviction threshold of {name}: {error}") from error
    if not value.endswith("%"):
        if number <= 0:
            raise ValueError(f"eviction threshold of {name} must be positive: {value}")
        return Threshold(signal, value, amount=-int(-number // 1), grace_s=grace_s)
    if not 0 <= number <= 100:
        raise ValueError(f"eviction threshold of {name} must be from 0% to 100%: {value}")
    if number in {0, 100}:
        return None
    return Threshold(signal, value, part=number / 100, grace_s=grace_s)


def _graces(text: str, faults: list[str]) -> dict[str, float]:
    graces = {}
    for name, value in _pairs(text, "=", faults):
        try:
            graces[_signal(name).value] = _seconds(value)
        except ValueError as error:
            faults.append(str(error))
    return graces


def _signal(name: str) -> Signal:
    if name not in _ORDER:
        raise ValueError(
            f"unsupported eviction signal {name[:64]!r}; there are {', '.join(_ORDER)}"
        )
    return Signal(name)


def _seconds(text: str) -> float:
    """Return the duration that ``text`` names, in the form that Go has for it: ``1m30s``."""
    if _DURATION.fullmatch(text) is None:
        raise ValueError(f"not a duration: {text[:32]!r}")
    return float(sum(Fraction(n) * _UNITS_S[unit] for n, unit in _DURATION_PART.findall(text)))


DEFAULT_HARD: Final = (
    "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,"
    "imagefs.available<15%,imagefs.inodesFree<5%,pid.available<5%"
)
"""kubelet's defaults, and one for process ids, of which it has none."""

DEFAULT_THRESHOLDS: Final = parse_thresholds(DEFAULT_HARD)
