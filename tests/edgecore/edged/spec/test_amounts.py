"""Requests and limits: pure, nothing faked. The sums were worked out by hand from the KEPs."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.spec.amounts import (
    Kind,
    beside_each,
    container_amounts,
    milli,
    pod_level_amounts,
    pod_limits,
    pod_requests,
    together,
    whole,
)
from edgecore.edged.spec.refusals import SpecError
from tests.edgecore.edged.world import container, pod_object


def asking(name: str, cpu: str, **fields: Any) -> dict[str, Any]:
    return container(name, resources={"requests": {"cpu": cpu}}, **fields)


def sidecar(name: str, cpu: str) -> dict[str, Any]:
    return asking(name, cpu, restartPolicy="Always")


@pytest.mark.parametrize(
    ("containers", "init", "cpu"),
    [
        (["1", "2"], [], "3"),
        (["1", "2"], [asking("i", "2")], "3"),
        (["1", "2"], [asking("i", "5")], "5"),
        (["1"], [sidecar("s", "2")], "3"),
        # the init container runs next to the sidecar before it, not next to the one behind it
        (["1"], [sidecar("s", "2"), asking("i", "5"), sidecar("t", "3")], "7"),
        (["1"], [asking("i", "5"), sidecar("s", "2")], "5"),
        (["4"], [sidecar("s", "2"), asking("i", "5"), sidecar("t", "3")], "9"),
    ],
)
def test_a_pod_needs_the_most_of_its_start_and_its_life(
    containers: list[str], init: list[dict[str, Any]], cpu: str
) -> None:
    made = [asking(f"c{i}", each) for i, each in enumerate(containers)]
    pod = pod_object("web", containers=made, initContainers=init)
    assert together(pod, Kind.REQUESTS) == {"cpu": Fraction(cpu)}
    assert pod_requests(pod) == {"cpu": Fraction(cpu)}


def test_what_only_an_init_container_asks_for_counts() -> None:
    init = container("i", resources={"requests": {"memory": "1Ki"}})
    pod = pod_object("web", containers=[asking("c", "1")], initContainers=[init])
    assert pod_requests(pod) == {"cpu": 1, "memory": 1024}


def test_each_step_is_seen_with_what_runs_beside_it() -> None:
    init = [sidecar("s", "2"), asking("i", "5")]
    pod = pod_object("web", containers=[asking("c", "1")], initContainers=init)
    assert beside_each(pod, Kind.REQUESTS) == [{"cpu": 1}, {"cpu": 2}, {"cpu": 7}]


def test_a_request_that_is_not_set_is_the_limit() -> None:
    resources = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    made = container("c", resources=resources)
    assert container_amounts(made, Kind.REQUESTS) == {"cpu": Fraction(1, 2), "memory": 2**30}
    assert container_amounts(made, Kind.LIMITS) == {"cpu": 2, "memory": 2**30}
    assert container_amounts(container("c"), Kind.LIMITS) == {}


@pytest.mark.parametrize(
    ("resources", "requests"),
    [
        (None, {}),
        ({"requests": {"cpu": "3"}}, {"cpu": 3}),
        ({"limits": {"cpu": "3"}}, {"cpu": 1}),  # what the containers ask for
        ({"limits": {"memory": "1Ki"}}, {"cpu": 1, "memory": 1024}),  # none of them says
        ({"limits": {"cpu": "3"}, "requests": {"cpu": "2"}}, {"cpu": 2}),
        (
            {"limits": {"example.com/gpu": "1", "hugepages-2Mi": "2Mi"}},
            {"cpu": 1, "hugepages-2Mi": 2 << 20},
        ),
    ],
)
def test_what_a_pod_says_as_a_whole_has_the_api_servers_defaults(
    resources: dict[str, Any] | None, requests: dict[str, int]
) -> None:
    pod = pod_object("web", containers=[asking("c", "1")], resources=resources)
    assert pod_level_amounts(pod, Kind.REQUESTS) == requests


def test_what_a_pod_says_as_a_whole_wins_and_overhead_comes_on_top() -> None:
    limited = container("c", resources={"limits": {"cpu": "1"}})
    pod = pod_object(
        "web",
        containers=[limited],
        resources={"limits": {"cpu": "4"}, "requests": {"cpu": "2"}},
        overhead={"cpu": "250m", "memory": "1Ki"},
    )
    assert pod_requests(pod) == {"cpu": Fraction("2.25"), "memory": 1024}
    assert pod_limits(pod) == {"cpu": Fraction("4.25")}  # none for memory, so no more than none


def test_what_is_no_quantity_is_an_error_of_the_spec() -> None:
    with pytest.raises(SpecError, match="invalid resources: not a quantity: 'much'"):
        pod_requests(pod_object("web", containers=[asking("c", "much")]))


def test_amounts_are_rounded_up() -> None:
    assert (milli(None), whole(None)) == (0, 0)
    assert (milli(Fraction(1, 3)), whole(Fraction(1, 3))) == (334, 1)


@given(
    st.lists(st.integers(0, 64), min_size=1), st.lists(st.tuples(st.integers(0, 64), st.booleans()))
)
def test_a_pod_never_needs_less_than_any_moment_of_it(
    cpus: list[int], init: list[tuple[int, bool]]
) -> None:
    pod = pod_object(
        "web",
        containers=[asking(f"c{i}", str(cpu)) for i, cpu in enumerate(cpus)],
        initContainers=[
            sidecar(f"i{i}", str(cpu)) if stays else asking(f"i{i}", str(cpu))
            for i, (cpu, stays) in enumerate(init)
        ],
    )
    need, beside = pod_requests(pod)["cpu"], 0
    for cpu, stays in init:
        assert need >= beside + cpu
        beside += cpu if stays else 0
    assert need >= beside + sum(cpus)
