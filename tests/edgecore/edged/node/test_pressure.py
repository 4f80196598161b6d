"""Thresholds and what is read against them: pure, nothing faked."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from edgecore.edged.node.facts import Amount, Readings
from edgecore.edged.node.pressure import (
    DEFAULT_THRESHOLDS,
    TRANSITION_S,
    Pressure,
    PressureWatch,
    Signal,
    Strain,
    Threshold,
    observe,
    parse_thresholds,
    shortages,
)

HALF = Amount(50, 100)
WELL = Readings(Amount(4 * 2**30, 8 * 2**30), HALF, HALF, HALF, HALF, HALF)
LOW = Amount(1, 100)


def test_thresholds_are_read_as_kubelet_reads_its_flags() -> None:
    assert parse_thresholds(" memory.available<100Mi, nodefs.inodesFree<5.5%,") == (
        Threshold(Signal.MEMORY, "100Mi", amount=100 * 2**20),
        Threshold(Signal.INODES, "5.5%", part=Fraction(55, 1000)),
    )


def test_soft_thresholds_come_with_a_grace() -> None:
    parsed = parse_thresholds(
        "", "memory.available<1Gi,pid.available<10%", "memory.available=1m30s,pid.available=500ms"
    )
    assert [(t.signal, t.grace_s) for t in parsed] == [(Signal.MEMORY, 90.0), (Signal.PIDS, 0.5)]


def test_none_and_all_of_it_switch_a_threshold_off() -> None:
    assert parse_thresholds("nodefs.available<0%,memory.available<100%") == ()


@pytest.mark.parametrize(
    ("hard", "soft", "grace", "word"),
    [
        ("memory<1Mi", "", "", "unsupported eviction signal 'memory'"),
        ("memory.available", "", "", "not of the form signal<value"),
        ("memory.available<much", "", "", "eviction threshold of memory.available: not a quantity"),
        ("memory.available<-1", "", "", "must be positive"),
        ("memory.available<0", "", "", "must be positive"),
        ("nodefs.available<101%", "", "", "from 0% to 100%"),
        ("pid.available<1,pid.available<2", "", "", "pid.available is given more than once"),
        ("", "pid.available<1", "", "a grace period must be given"),
        ("", "pid.available<1", "pid.available=soon", "not a duration"),
        ("", "", "pid.left=1s", "unsupported eviction signal"),
        ("", "", "pid.available:1s", "not of the form signal=value"),
    ],
)
def test_what_cannot_be_read_is_said(hard: str, soft: str, grace: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        parse_thresholds(hard, soft, grace)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"'a'.*; .*'b'"):
        parse_thresholds("a<1,b<1")


@given(st.text())
def test_any_text_is_thresholds_or_an_error(text: str) -> None:
    for hard, soft, grace in ((text, "", ""), ("", text, ""), ("", "", text)):
        try:
            parsed = parse_thresholds(hard, soft, grace)
        except ValueError:
            continue
        assert all(t.amount > 0 or 0 < t.part < 1 for t in parsed)


def test_the_defaults_are_kubelets_and_one_for_process_ids() -> None:
    assert {t.signal: t.text for t in DEFAULT_THRESHOLDS} == {
        Signal.MEMORY: "100Mi",
        Signal.DISK: "10%",
        Signal.INODES: "5%",
        Signal.IMAGE_DISK: "15%",
        Signal.IMAGE_INODES: "5%",
        Signal.PIDS: "5%",
    }


@pytest.mark.parametrize(
    ("readings", "signal", "pressure"),
    [
        (replace(WELL, memory=Amount(100 * 2**20 - 1, 8 * 2**30)), Signal.MEMORY, Pressure.MEMORY),
        (replace(WELL, disk=Amount(9, 100)), Signal.DISK, Pressure.DISK),
        (replace(WELL, inodes=Amount(4, 100)), Signal.INODES, Pressure.DISK),
        (replace(WELL, image_disk=Amount(14, 100)), Signal.IMAGE_DISK, Pressure.DISK),
        (replace(WELL, image_inodes=Amount(4, 100)), Signal.IMAGE_INODES, Pressure.DISK),
        (replace(WELL, pids=Amount(4, 100)), Signal.PIDS, Pressure.PID),
    ],
)
def test_less_than_the_threshold_is_a_shortage(
    readings: Readings, signal: Signal, pressure: Pressure
) -> None:
    strain = observe(Strain(), DEFAULT_THRESHOLDS, readings, 0)
    assert [short.threshold.signal for short in strain.due] == [signal]
    assert strain.pressures == (pressure,)


def test_exactly_the_threshold_is_enough() -> None:
    readings = replace(
        WELL, memory=Amount(100 * 2**20, 8 * 2**30), disk=Amount(10, 100), pids=Amount(5, 100)
    )
    assert shortages(DEFAULT_THRESHOLDS, readings) == ()


def test_what_cannot_be_read_or_has_no_bounds_is_no_shortage() -> None:
    readings = replace(WELL, image_disk=None, image_inodes=None, inodes=Amount(0, 0))
    thresholds = parse_thresholds("nodefs.inodesFree<1000,imagefs.available<15%")
    assert shortages(thresholds, readings) == ()


def test_memory_is_more_urgent_than_disk_and_disk_than_process_ids() -> None:
    readings = replace(WELL, memory=LOW, disk=LOW, pids=LOW)
    due = observe(Strain(), DEFAULT_THRESHOLDS[::-1], readings, 0).due
    assert [s.threshold.signal for s in due] == [Signal.MEMORY, Signal.DISK, Signal.PIDS]


def test_a_soft_threshold_makes_a_pressure_at_once_and_is_due_after_its_grace() -> None:
    watch = PressureWatch(parse_thresholds("", "nodefs.available<10%", "nodefs.available=90s"))
    short = replace(WELL, disk=LOW)
    assert (watch.look(short, 0).pressures, watch.strain.due) == ((Pressure.DISK,), ())
    assert watch.look(short, 89).due == ()
    assert len(watch.look(short, 90).due) == 1
    watch.look(WELL, 100)
    assert watch.look(short, 101).due == ()  # the grace begins anew


def test_a_pressure_stays_for_a_while_and_asks_for_nothing_then() -> None:
    watch = PressureWatch(DEFAULT_THRESHOLDS)
    watch.look(replace(WELL, pids=LOW), 0)
    late = watch.look(WELL, TRANSITION_S - 1)
    assert (late.pressures, late.due) == ((Pressure.PID,), ())
    assert watch.look(WELL, TRANSITION_S).pressures == ()


def test_without_a_transition_a_pressure_is_what_is_met_now() -> None:
    watch = PressureWatch(DEFAULT_THRESHOLDS, 0.0)
    assert watch.look(replace(WELL, pids=LOW), 5).pressures == (Pressure.PID,)
    assert watch.look(WELL, 5).pressures == ()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=20))
def test_a_pressure_holds_exactly_for_the_transition_after_the_last_shortage(
    looks: list[tuple[bool, int]],
) -> None:
    watch, now_s, last_s = PressureWatch(DEFAULT_THRESHOLDS), 0, float("-inf")
    for short, pause_s in looks:
        now_s += pause_s
        last_s = now_s if short else last_s
        strain = watch.look(replace(WELL, pids=LOW) if short else WELL, now_s)
        assert bool(strain.pressures) == (now_s - last_s < TRANSITION_S)
        assert bool(strain.due) == short
