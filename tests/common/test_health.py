"""What a daemon says of itself; only the clock is the test's."""

from common.health import STUCK_AFTER_S, Health


def test_it_is_ready_once_every_condition_is_met_and_says_why_not_before() -> None:
    health = Health()
    health.set_condition("caches", "pods are not listed yet")
    health.set_condition("hub")
    assert health.problems() == ["caches: pods are not listed yet"]
    health.set_condition("caches")
    assert health.problems() == []


def test_a_condition_can_be_judged_when_somebody_asks() -> None:
    health, problem = Health(), "is away"
    health.judge("engine", lambda: problem)
    assert health.problems() == ["engine: is away"]
    problem = ""
    assert health.problems() == []


def test_a_remark_is_shown_and_decides_nothing() -> None:
    health = Health()
    health.set_condition("store")
    health.set_condition("engine", "is away")
    health.remark("cloud", lambda: "offline")
    assert health.lines() == ["[+] store", "[-] engine: is away", "[ ] cloud: offline"]
    assert health.problems() == ["engine: is away"]


def test_modules_report_their_status_when_somebody_asks() -> None:
    health, objects = Health(), {"objects": 0}
    health.report("metamanager", lambda: objects)
    objects["objects"] = 3
    assert health.status() == {"metamanager": {"objects": 3}}


def test_a_loop_that_does_not_turn_is_not_alive() -> None:
    now_s = 0.0
    health = Health(lambda: now_s)
    assert health.is_alive()
    now_s = STUCK_AFTER_S
    assert not health.is_alive()
    health.beat()
    assert health.is_alive()
