"""Deciding what to do with a pod: pure. A model of a runtime does what the plans say."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from common.names import UID
from edgecore.edged.crashloop import History, observe
from edgecore.edged.podview import spec_hash
from edgecore.edged.probes.probes import BEGINS, RestartCause, Verdict
from edgecore.edged.reconcile import (
    NOTHING_KNOWN,
    Known,
    Plan,
    RemoveContainer,
    RemoveSandbox,
    RunSandbox,
    StartContainer,
    StopContainer,
    StopSandbox,
    Wish,
    reconcile,
    wish_of,
)
from edgecore.edged.runtime.base import ContainerState, ContainerStatus, PodObservation
from tests.edgecore.edged.world import container, pod_object

RUNNING, EXITED, CREATED = ContainerState.RUNNING, ContainerState.EXITED, ContainerState.CREATED


@dataclass
class Model:
    """A runtime that has one pod, and the time."""

    pod: dict[str, Any]
    observed: PodObservation | None = None
    history: History = field(default_factory=dict)
    now_s: float = 0.0
    starts: list[str] = field(default_factory=list)
    known: Known = NOTHING_KNOWN

    def plan(self, wish: Wish | None = None) -> Plan:
        containers = self.observed.containers if self.observed else ()
        self.history = observe(self.history, containers, self.now_s)
        wish = wish or wish_of(self.pod, vanished=False)
        return reconcile(self.pod, wish, self.observed, self.history, self.now_s, self.known)

    def carry_out(self, plan: Plan, limit: int = 100) -> None:
        for action in plan.actions[:limit]:
            self._do(action)

    def settle(self, wish: Wish | None = None) -> Plan:
        rounds = 0
        while (plan := self.plan(wish)).actions:
            self.carry_out(plan)
            rounds += 1
            assert rounds < 20, plan
        return plan

    def exit(self, name: str, code: int) -> None:
        self._change(lambda c: c.name == name and c.state is RUNNING, EXITED, code)

    def reboot(self) -> None:
        self._change(lambda c: c.state is RUNNING, EXITED, 137)
        if self.observed:
            self.observed = replace(self.observed, sandbox_ready=False)

    def states(self) -> dict[str, tuple[int, ContainerState]]:
        newest: dict[str, tuple[int, ContainerState]] = {}
        for c in sorted(self.observed.containers if self.observed else (), key=lambda c: c.attempt):
            newest[c.name] = (c.attempt, c.state)
        return newest

    def _change(self, which: Any, state: ContainerState, code: int) -> None:
        if self.observed:
            self.observed = replace(
                self.observed,
                containers=tuple(
                    replace(c, state=state, exit_code=code) if which(c) else c
                    for c in self.observed.containers
                ),
            )

    def _do(self, action: Any) -> None:
        match action:
            case RunSandbox(attempt):
                old = self.observed.containers if self.observed else ()
                self.observed = PodObservation(
                    UID("u"),
                    "default",
                    "web",
                    f"s{attempt}",
                    sandbox_ready=True,
                    sandbox_attempt=attempt,
                    containers=old,
                )
            case StartContainer(spec, attempt):
                assert self.observed is not None
                assert self.observed.sandbox_ready
                running = [c for c in self.observed.containers if c.state is RUNNING]
                assert spec["name"] not in {c.name for c in running}
                self.starts.append(f"{spec['name']}.{attempt}")
                new = ContainerStatus(
                    f"{spec['name']}.{attempt}",
                    spec["name"],
                    attempt,
                    RUNNING,
                    self.observed.sandbox_id,
                    spec_hash=spec_hash(spec),
                )
                self.observed = replace(self.observed, containers=(*self.observed.containers, new))
            case StopContainer():
                self._change(lambda c: c.id == action.id, EXITED, 143)
            case RemoveContainer(container_id):
                assert self.observed is not None
                kept = tuple(c for c in self.observed.containers if c.id != container_id)
                self.observed = replace(self.observed, containers=kept)
            case StopSandbox():
                assert self.observed is not None
                assert all(c.state is not RUNNING for c in self.observed.containers)
                self.observed = replace(self.observed, sandbox_ready=False)
            case RemoveSandbox():
                self.observed = None


def with_init(**spec: Any) -> Model:
    return Model(pod_object("web", initContainers=[container("i1"), container("i2")], **spec))


def test_a_new_pod_gets_its_sandbox_and_its_containers() -> None:
    model = Model(pod_object("web", containers=[container("a"), container("b")]))
    model.settle()
    assert model.states() == {"a": (0, RUNNING), "b": (0, RUNNING)}


def test_init_containers_run_one_after_the_other_and_before_the_rest() -> None:
    model = with_init()
    model.settle()
    assert model.starts == ["i1.0"]
    model.exit("i1", 0)
    model.settle()
    assert model.starts == ["i1.0", "i2.0"]
    model.exit("i2", 0)
    model.settle()
    assert model.starts == ["i1.0", "i2.0", "c.0"]
    model.exit("c", 1)
    model.settle()
    assert model.starts[-1] == "c.1"


def test_a_failed_init_container_is_run_again_unless_the_policy_forbids() -> None:
    model = with_init()
    model.settle()
    model.exit("i1", 1)
    model.settle()
    assert model.starts == ["i1.0", "i1.1"]
    never = with_init(restartPolicy="Never")
    never.settle()
    never.exit("i1", 1)
    assert never.settle().over
    assert never.starts == ["i1.0"]


def test_a_sidecar_need_only_run_and_is_restarted_by_itself() -> None:
    sidecar = container("side", restartPolicy="Always")
    model = Model(pod_object("web", initContainers=[sidecar, container("i")]))
    model.settle()
    assert model.starts == ["side.0", "i.0"]
    model.exit("i", 0)
    model.settle()
    model.exit("side", 1)
    model.settle()
    assert model.starts == ["side.0", "i.0", "c.0", "side.1"]


def test_what_follows_a_sidecar_waits_until_its_probe_says_that_it_has_started() -> None:
    sidecar = container("side", restartPolicy="Always")
    model = Model(pod_object("web", initContainers=[sidecar]))
    model.known = Known({"side.0": Verdict(started=False, ready=False)})
    model.settle()
    assert model.starts == ["side.0"]
    model.known = Known({"side.0": Verdict(started=True, ready=False)})
    model.settle()
    assert model.starts == ["side.0", "c.0"]


def test_sidecars_end_after_the_others_in_reverse_order_with_the_time_that_is_left() -> None:
    sidecars = [container(name, restartPolicy="Always") for name in ("s1", "s2")]
    model = Model(pod_object("web", initContainers=sidecars))
    model.settle()
    stops = []
    for ending_for_s in (0.0, 3.0, 9.0):
        model.known = Known(ending_for_s=ending_for_s)
        plan = model.plan(Wish.END)
        [stop] = plan.actions
        assert isinstance(stop, StopContainer)
        stops.append((stop.name, stop.grace_s))
        model.carry_out(plan)
    assert stops == [("c", 5.0), ("s2", 2.0), ("s1", 2.0)]


def test_a_pod_whose_containers_have_done_their_work_ends_its_sidecars() -> None:
    sidecar = container("side", restartPolicy="Always")
    model = Model(pod_object("web", initContainers=[sidecar], restartPolicy="Never"))
    model.settle()
    model.exit("c", 0)
    assert model.settle().over
    assert model.states() == {"c": (0, EXITED), "side": (0, EXITED)}


@pytest.mark.parametrize(("probe_grace_s", "grace_s"), [(None, 5.0), (17.0, 17.0), (0.0, 1.0)])
def test_a_container_that_fails_its_probe_is_started_anew(
    probe_grace_s: float | None, grace_s: float
) -> None:
    model = Model(pod_object("web"))
    model.settle()
    cause = RestartCause("it does not answer", probe_grace_s)
    model.known = Known({"c.0": Verdict(started=True, ready=False, restart=cause)})
    assert model.plan().actions == (StopContainer("c.0", "c", grace_s, "it does not answer"),)
    model.settle()
    assert model.states() == {"c": (1, RUNNING)}


def test_a_container_that_another_kubelet_made_is_left_alone() -> None:
    model = Model(pod_object("web"))
    model.settle()
    assert model.observed is not None
    foreign = replace(model.observed.containers[0], spec_hash="")
    model.observed = replace(model.observed, containers=(foreign,))
    assert model.plan().actions == ()


@pytest.mark.parametrize(
    ("policy", "code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_the_restart_policy_is_followed(policy: str, code: int, *, restarted: bool) -> None:
    model = Model(pod_object("web", restartPolicy=policy))
    model.settle()
    model.exit("c", code)
    assert model.settle().over is not restarted
    assert len(model.starts) == 1 + restarted


def test_a_container_that_keeps_crashing_waits_longer_each_time() -> None:
    model = Model(pod_object("web"))
    model.settle()
    model.exit("c", 1)
    model.settle()
    model.exit("c", 1)
    plan = model.settle()
    assert plan.backing_off == {"c": 10}
    assert plan.wake_at_s == 10
    model.now_s = 10
    model.settle()
    assert model.starts == ["c.0", "c.1", "c.2"]


def test_the_attempts_that_no_status_shows_are_removed() -> None:
    model = Model(pod_object("web"))
    for attempt in range(5):
        model.settle()
        model.exit("c", 1)
        model.now_s = 1000.0 * (attempt + 1)
    model.settle()
    assert model.observed is not None
    assert sorted(c.attempt for c in model.observed.containers) == [4, 5]


def test_another_image_means_a_restart_and_nothing_else_does() -> None:
    model = Model(pod_object("web"))
    model.settle()
    model.pod["metadata"]["labels"] = {"a": "b"}
    assert model.plan().actions == ()
    model.pod["spec"]["containers"][0]["image"] = "other"
    [stop] = model.plan().actions
    assert isinstance(stop, StopContainer)
    model.settle()
    assert model.states() == {"c": (1, RUNNING)}


def test_after_a_reboot_everything_is_started_in_a_new_sandbox_init_containers_too() -> None:
    model = with_init()
    for name in ("i1", "i2"):
        model.settle()
        model.exit(name, 0)
    model.settle()
    model.reboot()
    model.settle()
    assert model.starts[-1] == "i1.1"
    assert model.observed is not None
    assert model.observed.sandbox_attempt == 1


def test_what_still_runs_in_a_broken_sandbox_is_stopped_first() -> None:
    model = Model(pod_object("web"))
    model.settle()
    assert model.observed is not None
    model.observed = replace(model.observed, sandbox_ready=False)
    [stop] = model.plan().actions
    assert isinstance(stop, StopContainer)
    model.settle()
    assert model.states() == {"c": (1, RUNNING)}


def test_a_container_that_was_created_and_never_started_is_made_again() -> None:
    model = Model(pod_object("web"))
    model.settle()
    assert model.observed is not None
    created = replace(model.observed.containers[0], state=CREATED)
    model.observed = replace(model.observed, containers=(created,))
    assert model.plan().actions == (
        RemoveContainer("c.0"),
        StartContainer(model.pod["spec"]["containers"][0], 0),
    )


def test_a_deleted_pod_is_stopped_with_its_grace_and_its_containers_stay_to_be_seen() -> None:
    model = Model(pod_object("web"))
    model.settle()
    model.pod["metadata"] |= {"deletionTimestamp": "t", "deletionGracePeriodSeconds": 7}
    [stop] = model.plan().actions
    assert isinstance(stop, StopContainer)
    assert stop.grace_s == 7
    plan = model.settle()
    assert plan.over
    assert not plan.gone
    assert model.states() == {"c": (0, EXITED)}


def test_a_pod_that_vanished_is_stopped_at_once_and_removed() -> None:
    model = Model(pod_object("web"))
    model.settle()
    [stop] = model.plan(Wish.VANISH).actions
    assert isinstance(stop, StopContainer)
    assert stop.grace_s == 1
    assert model.settle(Wish.VANISH).gone
    assert model.observed is None


def test_a_pod_that_ended_for_good_never_runs_again_whatever_the_runtime_has_lost() -> None:
    pod = pod_object("web")
    pod["status"]["phase"] = "Succeeded"
    plan = Model(pod).settle()
    assert plan.over
    assert plan.actions == ()


def test_a_restart_is_counted_on_where_the_runtime_forgot_the_container() -> None:
    pod = pod_object("web")
    pod["status"]["containerStatuses"] = [{"name": "c", "restartCount": 4, "containerID": "x://y"}]
    model = Model(pod)
    model.settle()
    assert model.starts == ["c.5"]


events = st.lists(
    st.one_of(
        st.tuples(st.just("exit"), st.sampled_from(["i1", "i2", "a", "b"]), st.integers(0, 1)),
        st.tuples(st.just("pass"), st.floats(0, 700), st.none()),
        st.tuples(st.just("reboot"), st.none(), st.none()),
        st.tuples(st.just("part"), st.integers(0, 2), st.none()),
    ),
    max_size=12,
)


@given(events, st.sampled_from(["Always", "OnFailure", "Never"]), st.sampled_from(list(Wish)))
def test_it_converges_from_wherever_it_is_and_then_does_nothing(
    story: list[tuple[str, Any, Any]], policy: str, last_wish: Wish
) -> None:
    model = Model(
        pod_object(
            "web",
            restartPolicy=policy,
            initContainers=[container("i1"), container("i2")],
            containers=[container("a"), container("b")],
        )
    )
    for what, argument, code in story:
        match what:
            case "exit":
                model.exit(argument, code)
            case "pass":
                model.now_s += argument
            case "reboot":
                model.reboot()
            case "part":  # edgecore dies in the middle of a plan
                model.carry_out(model.plan(), limit=argument)
        model.settle()
    model.now_s += 1000
    plan = model.settle(last_wish)
    assert model.plan(last_wish) == plan  # idempotent
    running = [name for name, (_, state) in model.states().items() if state is RUNNING]
    if last_wish is not Wish.RUN:
        assert running == []
        assert plan.over
    if last_wish is Wish.VANISH:
        assert plan.gone
    if last_wish is Wish.RUN and not plan.over:
        # Something runs that brings the pod further.
        assert running
        assert not plan.backing_off


def test_a_container_that_has_not_begun_holds_up_those_after_it() -> None:
    pod = pod_object("web", containers=[container("a"), container("b"), container("c")])
    model = Model(pod)
    model.settle()
    model.exit("a", 1)
    model.exit("c", 1)
    model.known = Known({"b.0": BEGINS})
    model.carry_out(model.plan())
    assert model.states() == {"a": (1, RUNNING), "b": (0, RUNNING), "c": (0, EXITED)}
    failed = replace(BEGINS, restart=RestartCause("FailedPostStartHook", None))
    model.known = Known({"b.0": failed})
    [stop] = model.plan().actions
    assert isinstance(stop, StopContainer)
    assert (stop.id, stop.cause) == ("b.0", "FailedPostStartHook")
    model.known = NOTHING_KNOWN
    model.settle()
    assert model.states()["c"] == (1, RUNNING)
