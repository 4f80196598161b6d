"""Which pod goes when a node is short of something: pure, nothing faked."""

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.names import UID
from edgecore.edged.node.eviction import (
    Eviction,
    PodUsage,
    Step,
    Usages,
    choose,
    next_step,
    refuse,
)
from edgecore.edged.node.facts import Amount
from edgecore.edged.node.pressure import Pressure, Shortage, Signal, Threshold
from edgecore.edged.runtime.base import ContainerStats

MIB = 2**20
NOW = datetime(2026, 11, 26, tzinfo=UTC)
MEMORY = Shortage(Threshold(Signal.MEMORY, "100Mi", amount=100 * MIB), Amount(88 * MIB, 8192 * MIB))
TENTH = Fraction(1, 10)


def shortage(signal: Signal, grace_s: float = 0.0) -> Shortage:
    return Shortage(Threshold(signal, "10%", part=TENTH, grace_s=grace_s), Amount(5000, 102400))


def pod(name: str, priority: int = 0, **requests: str) -> dict[str, Any]:
    resources = {"requests": {key.replace("_", "-"): value for key, value in requests.items()}}
    return {
        "metadata": {"name": name, "uid": name},
        "spec": {
            "priority": priority,
            "containers": [{"name": "c", "resources": resources if requests else {}}],
            "terminationGracePeriodSeconds": 60,
        },
    }


def stats(memory: int = 0, rootfs: int = 0, inodes: int = 0, name: str = "c") -> ContainerStats:
    return ContainerStats(name, NOW, 0, memory, rootfs, inodes)


def using(memory: int = 0, rootfs: int = 0, inodes: int = 0, **others: Any) -> PodUsage:
    return PodUsage((stats(memory, rootfs, inodes),), **others)


def order(
    short: Shortage, pods: list[dict[str, Any]], usages: Usages, *, dedicated: bool = False
) -> list[str]:
    """Return the names of ``pods`` in the order in which they would go."""
    names, left = [], list(pods)
    while evicted := choose(short, left, usages, dedicated_image_disk=dedicated):
        left = [p for p in left if p is not evicted.pod]
        names.append(evicted.pod["metadata"]["name"])
    return names


def test_who_uses_more_memory_than_asked_for_goes_first_then_priority_then_by_how_much() -> None:
    pods = [
        pod("within", -5, memory="1Gi"),
        pod("much-over", 10, memory="100Mi"),
        pod("little-over", 10, memory="400Mi"),
        pod("important", 20),
        pod("unknown", 100),
    ]
    usages: dict[UID, PodUsage] = {
        UID("within"): using(900 * MIB),
        UID("much-over"): using(500 * MIB),
        UID("little-over"): using(500 * MIB),
        UID("important"): using(3000 * MIB),
    }
    expected = ["unknown", "much-over", "little-over", "important", "within"]
    assert order(MEMORY, pods, usages) == expected
    assert order(MEMORY, pods[::-1], usages) == expected


def test_process_ids_go_by_priority_and_then_by_number() -> None:
    pods = [pod("important", 5), pod("few"), pod("many"), pod("unknown")]
    usages = {
        UID("important"): using(processes=900),
        UID("few"): using(processes=1),
        UID("many"): using(processes=9),
    }
    expected = ["unknown", "many", "few", "important"]
    assert order(shortage(Signal.PIDS), pods, usages) == expected


@pytest.mark.parametrize(
    ("signal", "dedicated", "expected"),
    [
        (Signal.DISK, False, ["layers", "logs", "volumes"]),
        (Signal.IMAGE_DISK, False, ["layers", "logs", "volumes"]),
        (Signal.DISK, True, ["logs", "volumes", "layers"]),
        (Signal.IMAGE_DISK, True, ["layers", "logs", "volumes"]),
        (Signal.INODES, False, ["volumes", "layers", "logs"]),
        (Signal.INODES, True, ["volumes", "layers", "logs"]),
        (Signal.IMAGE_INODES, True, ["layers", "logs", "volumes"]),
    ],
)
def test_what_counts_is_what_is_on_the_disk_that_is_full(
    signal: Signal, expected: list[str], *, dedicated: bool
) -> None:
    usages = {
        UID("layers"): using(rootfs=90, inodes=5),
        UID("logs"): using(logs={"c": 70}),
        UID("volumes"): using(volumes=40, volumes_inodes=7),
    }
    pods = [pod(name) for name in ("layers", "logs", "volumes")]
    assert order(shortage(signal), pods, usages, dedicated=dedicated) == expected


def test_disk_that_was_asked_for_is_not_held_against_a_pod() -> None:
    pods = [pod("asked", ephemeral_storage="1Gi"), pod("took")]
    usages = {UID("asked"): using(rootfs=900 * MIB), UID("took"): using(rootfs=1)}
    assert order(shortage(Signal.DISK), pods, usages) == ["took", "asked"]


def changed(made: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {**made, "metadata": made["metadata"] | metadata}


SPARED = [
    pod("critical", 2_000_000_000),
    changed(pod("static"), annotations={"kubernetes.io/config.source": "file"}),
    changed(pod("mirror"), annotations={"kubernetes.io/config.mirror": "x"}),
]


def test_critical_and_static_pods_stay_and_those_that_end_anyway_are_left_to_it() -> None:
    ending = changed(pod("ending"), deletionTimestamp="2026-11-26T00:00:00Z")
    over = {**pod("over"), "status": {"phase": "Failed"}}
    assert order(MEMORY, [*SPARED, ending, over], {}) == []
    assert order(MEMORY, [*SPARED, pod("p")], {}) == ["p"]


def chosen(short: Shortage, made: dict[str, Any], usage: PodUsage | None) -> Eviction:
    usages = {} if usage is None else {UID(made["metadata"]["uid"]): usage}
    evicted = choose(short, [made], usages, dedicated_image_disk=False)
    assert evicted is not None
    return evicted


def test_the_message_is_kubelets() -> None:
    usage = PodUsage((stats(3072 * MIB), stats(1, name="small"), stats(9, name="gone")))
    made = pod("p", memory="64Mi")
    made["spec"]["containers"].append({"name": "small", "resources": {"requests": {"memory": "1"}}})
    assert chosen(MEMORY, made, usage).message == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 88Mi. "
        "Container c was using 3Gi, request is 64Mi, has larger consumption of memory. "
        "Container gone was using 9, request is 0, has larger consumption of memory."
    )


OVER = "Container c was using 2Ki, request is 0, has larger consumption of ephemeral-storage."


@pytest.mark.parametrize(
    ("signal", "words"),
    [
        (
            Signal.DISK,
            f"ephemeral-storage. Threshold quantity: 10Ki, available: 5000. {OVER}",
        ),
        (Signal.INODES, "inodes. Threshold quantity: 10Ki, available: 5k."),
        (Signal.PIDS, "pids. Threshold quantity: 10Ki, available: 5k."),
    ],
)
def test_every_resource_has_its_words(signal: Signal, words: str) -> None:
    usage = using(rootfs=2000, logs={"c": 48})
    message = chosen(shortage(signal), pod("p"), usage).message
    assert message == f"The node was low on resource: {words}"


def test_a_pod_of_which_nothing_is_known_is_told_as_much_as_is_known() -> None:
    message = chosen(MEMORY, pod("p"), None).message
    assert message.endswith("Threshold quantity: 100Mi, available: 88Mi.")
    assert chosen(shortage(Signal.DISK), pod("p"), None).message.endswith("available: 5000.")


def test_a_hard_threshold_leaves_a_second_and_a_soft_one_the_pods_own_grace() -> None:
    assert chosen(MEMORY, pod("p"), None).grace_s == 1
    assert chosen(shortage(Signal.DISK, grace_s=90), pod("p"), None).grace_s == 60


def test_quantities_that_are_none_stop_no_eviction() -> None:
    evicted = chosen(MEMORY, pod("p", memory="much"), using(5))
    assert "request is 0" in evicted.message


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9), st.integers(0, 9)), max_size=8),
    st.sampled_from(list(Signal)),
)
def test_all_that_may_go_goes_once_whatever_they_use(
    made: list[tuple[int, int, int]], signal: Signal
) -> None:
    pods = [
        pod(f"p{n}", priority, memory=f"{asked}") for n, (priority, asked, _) in enumerate(made)
    ]
    usages = {UID(f"p{n}"): using(used, used, used) for n, (_, _, used) in enumerate(made) if used}
    gone = order(shortage(signal), [*pods, *SPARED], usages)
    assert sorted(gone) == sorted(p["metadata"]["name"] for p in pods)


CONTAINERS, IMAGES, EVICT = Step.REMOVE_CONTAINERS, Step.REMOVE_IMAGES, Step.EVICT


@pytest.mark.parametrize(
    ("signal", "dedicated", "steps"),
    [
        (Signal.MEMORY, False, [EVICT]),
        (Signal.PIDS, False, [EVICT]),
        (Signal.DISK, False, [CONTAINERS, IMAGES, EVICT]),
        (Signal.INODES, False, [CONTAINERS, IMAGES, EVICT]),
        (Signal.IMAGE_DISK, False, [CONTAINERS, IMAGES, EVICT]),
        (Signal.DISK, True, [EVICT]),
        (Signal.INODES, True, [EVICT]),
        (Signal.IMAGE_DISK, True, [CONTAINERS, IMAGES, EVICT]),
        (Signal.IMAGE_INODES, True, [CONTAINERS, IMAGES, EVICT]),
    ],
)
def test_what_nobody_misses_goes_before_a_pod(
    signal: Signal, steps: list[Step], *, dedicated: bool
) -> None:
    done: list[Step] = []
    while EVICT not in done:
        tried = frozenset(done)
        due = [shortage(signal)]
        done.append(next_step(due, tried, is_ending=False, dedicated_image_disk=dedicated))
    assert done == steps


def test_a_pod_that_is_going_is_waited_for_and_without_a_shortage_nothing_is_done() -> None:
    waiting = next_step([MEMORY], frozenset(), is_ending=True, dedicated_image_disk=False)
    assert waiting is Step.WAIT
    assert next_step([], frozenset(), is_ending=True, dedicated_image_disk=False) is Step.NOTHING


ONLY_MEMORY = (Pressure.MEMORY,)
DISK = (Pressure.DISK,)


@pytest.mark.parametrize(
    ("made", "pressures", "words"),
    [
        (pod("p"), (), None),
        (pod("p"), ONLY_MEMORY, "[MemoryPressure]"),
        (pod("p", memory="1Mi"), ONLY_MEMORY, None),
        (pod("p", memory="much"), ONLY_MEMORY, None),
        (pod("p"), DISK, "[DiskPressure]"),
        (pod("p", memory="1Mi"), DISK, "[DiskPressure]"),
        (pod("p", memory="1Mi"), (Pressure.PID,), "[PIDPressure]"),
        (pod("p", memory="1Mi"), (*ONLY_MEMORY, *DISK), "[MemoryPressure DiskPressure]"),
        *((spared, DISK, None) for spared in SPARED),
        ({**pod("p"), "status": {"startTime": "2026-11-26T00:00:00Z"}}, DISK, None),
        ({**pod("p"), "status": {"phase": "Pending"}}, DISK, "[DiskPressure]"),
    ],
)
def test_a_node_under_pressure_lets_in_what_it_can_bear(
    made: dict[str, Any], pressures: tuple[Pressure, ...], words: str | None
) -> None:
    expected = None if words is None else f"The node had condition: {words}."
    assert refuse(made, pressures) == expected


@pytest.mark.parametrize(
    ("toleration", "pressures", "is_let_in"),
    [
        ({"operator": "Exists"}, ONLY_MEMORY, True),
        (
            {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"},
            ONLY_MEMORY,
            True,
        ),
        (
            {"key": "node.kubernetes.io/memory-pressure", "effect": "NoExecute"},
            ONLY_MEMORY,
            False,
        ),
        ({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists"}, ONLY_MEMORY, False),
        ({"operator": "Exists"}, DISK, False),
    ],
)
def test_a_pod_may_tolerate_that_memory_is_short_and_nothing_else(
    toleration: dict[str, str], pressures: tuple[Pressure, ...], *, is_let_in: bool
) -> None:
    made = pod("p")
    made["spec"]["tolerations"] = [toleration]
    assert (refuse(made, pressures) is None) == is_let_in
