"""What an annotation asks for, and the patch that makes it so.

Real: the module. What the API server allows and what its node controller does with tolerations is
written down here as two functions; that the real ones agree is told in ``test_autonomykeeper`` and
``tests/e2e/test_autonomy``.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudcore.edgecontroller.autonomy import (
    AUTONOMY,
    DEFAULT_S,
    MAX_S,
    RECORD,
    Stay,
    Toleration,
    may_concern,
    parse,
    parse_pod,
    patch_for,
)

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
FOREVER = Stay(None)
HOUR = Stay(3600)


def plain(key: str, seconds: int | None = DEFAULT_S) -> Toleration:
    made: Toleration = {"key": key, "operator": "Exists", "effect": "NoExecute"}
    return made if seconds is None else made | {"tolerationSeconds": seconds}


def by_default(*own: Toleration) -> list[Toleration]:
    """Tolerations as the API server's admission leaves them."""
    added = [
        plain(key)
        for key in (NOT_READY, UNREACHABLE)
        if not any(
            one.get("key", "") in ("", key) and one.get("effect", "") in ("", "NoExecute")
            for one in own
        )
    ]
    return [*own, *added]


def pod(
    tolerations: list[Toleration], annotations: dict[str, str] | None = None, **metadata: str
) -> dict[str, Any]:
    said = {"annotations": annotations} if annotations else {}
    return {
        "metadata": {"uid": "u1", "resourceVersion": "7", **said, **metadata},
        "spec": {"nodeName": "n1", "tolerations": tolerations},
    }


def decided(
    one: dict[str, Any], stay: Stay | None, default_s: int = DEFAULT_S
) -> dict[str, Any] | None:
    patch = patch_for(parse_pod(msgspec.json.encode(one)), stay, default_s)
    found: dict[str, Any] | None = None if patch is None else msgspec.json.decode(patch)
    return found


def patched(one: dict[str, Any], stay: Stay | None) -> dict[str, Any]:
    """The pod after the patch, if there is one, as a merge patch does it."""
    patch = decided(one, stay)
    if patch is None:
        return one
    assert patch["metadata"]["uid"] == one["metadata"]["uid"]
    assert patch["metadata"]["resourceVersion"] == one["metadata"]["resourceVersion"]
    annotations = {**one["metadata"].get("annotations", {}), **patch["metadata"]["annotations"]}
    kept = {name: value for name, value in annotations.items() if value is not None}
    return pod(patch["spec"]["tolerations"], kept)


def tolerates(toleration: Toleration, key: str) -> bool:
    return (
        toleration.get("effect", "") in ("", "NoExecute")
        and toleration.get("key", "") in ("", key)
        and (
            toleration.get("operator") == "Exists"
            or (toleration.get("operator", "Equal") == "Equal" and not toleration.get("value"))
        )
    )


def evicted_after(one: dict[str, Any], key: str) -> int | None:
    """When the node controller evicts a pod of a node with that taint; None for never."""
    for toleration in one["spec"]["tolerations"]:
        if tolerates(toleration, key):
            seconds: int | None = toleration.get("tolerationSeconds")
            return seconds
    return 0


def is_allowed(old: list[Toleration], new: list[Toleration]) -> bool:
    """Whether the API server lets tolerations of a pod change so."""

    def rest(one: Toleration) -> Toleration:
        return {name: value for name, value in one.items() if name != "tolerationSeconds"}

    return all(any(rest(one) == rest(other) for other in new) for one in old)


keys = st.sampled_from([NOT_READY, UNREACHABLE, "dedicated", ""])
tolerations = st.lists(
    st.builds(
        lambda key, operator, effect, seconds: {
            **({"key": key} if key else {}),
            "operator": operator if key else "Exists",
            **({"effect": effect} if effect else {}),
            **(
                {"tolerationSeconds": seconds}
                if seconds is not None and effect == "NoExecute"
                else {}
            ),
        },
        keys,
        st.sampled_from(["Exists", "Equal"]),
        st.sampled_from(["NoExecute", "NoSchedule", ""]),
        st.sampled_from([None, 0, 60, DEFAULT_S, 3600]),
    ),
    max_size=4,
)
stays = st.one_of(st.none(), st.just(FOREVER), st.builds(Stay, st.integers(1, MAX_S)))


@pytest.mark.parametrize(
    ("text", "stay"),
    [
        (None, None),
        ("off", None),
        ("forever", FOREVER),
        ("90s", Stay(90)),
        ("30m", Stay(1800)),
        ("12h", Stay(43200)),
        ("7d", Stay(604800)),
        ("36500d", Stay(MAX_S)),
    ],
)
def test_what_can_be_said(text: str | None, stay: Stay | None) -> None:
    assert parse(text) == stay


@pytest.mark.parametrize(
    "text",
    ["", "0s", "0d", "-1h", "1.5h", "12", "h", "1w", "Forever", "12h ", "36501d", "9" * 11 + "s"],
)
def test_everything_else_is_a_fault_that_says_what_is_possible(text: str) -> None:
    with pytest.raises(ValueError, match="has to be forever, off, or a duration"):
        parse(text)


def test_both_default_tolerations_get_the_time_and_a_record() -> None:
    assert decided(pod(by_default()), HOUR) == {
        "metadata": {
            "uid": "u1",
            "resourceVersion": "7",
            "annotations": {RECORD: "not-ready=3600s,unreachable=3600s"},
        },
        "spec": {"tolerations": [plain(NOT_READY, 3600), plain(UNREACHABLE, 3600)]},
    }


def test_for_ever_takes_the_seconds_away() -> None:
    done = patched(pod(by_default()), FOREVER)
    assert done["spec"]["tolerations"] == [plain(NOT_READY, None), plain(UNREACHABLE, None)]


def test_other_tolerations_stay_where_they_are() -> None:
    gpu = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    done = patched(pod([gpu, *by_default()]), FOREVER)
    assert done["spec"]["tolerations"][0] == gpu


def test_what_a_pod_says_itself_stays() -> None:
    own = plain(UNREACHABLE, 60)
    done = patched(pod(by_default(own)), FOREVER)
    assert done["spec"]["tolerations"] == [own, plain(NOT_READY, None)]
    assert decided(pod(by_default({"operator": "Exists"})), HOUR) is None
    assert decided(pod([plain(NOT_READY, None), plain(UNREACHABLE, None)]), HOUR) is None


def test_what_somebody_has_changed_since_is_his() -> None:
    done = patched(pod(by_default()), FOREVER)
    done["spec"]["tolerations"][1]["tolerationSeconds"] = 60
    after = patched(done, HOUR)
    assert after["spec"]["tolerations"] == [plain(NOT_READY, 3600), plain(UNREACHABLE, 60)]
    assert after["metadata"]["annotations"] == {RECORD: "not-ready=3600s"}


def test_a_toleration_that_comes_first_decides_and_another_one_behind_it_is_left_alone() -> None:
    everything = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    assert decided(pod([everything, *by_default()]), FOREVER) is None


def test_what_matches_no_such_taint_decides_nothing() -> None:
    valued = {"key": UNREACHABLE, "value": "long", "effect": "NoExecute", "tolerationSeconds": 60}
    done = patched(pod([valued, plain(UNREACHABLE)]), HOUR)
    assert done["spec"]["tolerations"] == [valued, plain(UNREACHABLE, 3600)]
    assert decided(pod([]), HOUR) is None


def test_a_cluster_may_have_another_default() -> None:
    one = pod([plain(NOT_READY, 30), plain(UNREACHABLE, 30)])
    assert decided(one, HOUR) is None
    assert decided(one, HOUR, default_s=30) is not None


def test_pods_that_end_and_mirrors_are_left_alone() -> None:
    assert decided(pod(by_default(), deletionTimestamp="2026-11-26T20:00:00Z"), FOREVER) is None
    assert decided(pod(by_default(), {"kubernetes.io/config.mirror": "x"}), FOREVER) is None


def test_a_record_that_cannot_be_read_makes_nothing_ours() -> None:
    one = pod(
        [plain(NOT_READY, None), plain(UNREACHABLE, 60)], {RECORD: "not-ready=off,x,unreachable=1w"}
    )
    done = patched(one, HOUR)
    assert done["spec"] == one["spec"]
    assert "annotations" not in done["metadata"]


def test_only_pods_with_an_annotation_around_are_parsed() -> None:
    raw = msgspec.json.encode(pod(by_default()))
    assert not may_concern(raw, None)
    assert may_concern(raw, "forever")
    for name in (AUTONOMY, RECORD):
        assert may_concern(msgspec.json.encode(pod([], {name: "x"})), None)


def test_a_pods_own_word_is_known() -> None:
    assert parse_pod(msgspec.json.encode(pod([], {AUTONOMY: "off"}))).says == "off"
    assert parse_pod(msgspec.json.encode(pod([]))).says is None


@given(own=tolerations, stay=stays)
def test_the_api_server_takes_every_patch(own: list[Toleration], stay: Stay | None) -> None:
    one = pod(by_default(*own))
    done = patched(one, stay)
    assert is_allowed(one["spec"]["tolerations"], done["spec"]["tolerations"])
    assert len(done["spec"]["tolerations"]) == len(one["spec"]["tolerations"])


@given(own=tolerations, stay=stays)
def test_once_done_there_is_nothing_to_do(own: list[Toleration], stay: Stay | None) -> None:
    assert decided(patched(pod(by_default(*own)), stay), stay) is None


@given(own=tolerations, steps=st.lists(stays, max_size=3))
def test_without_the_annotation_all_is_as_it_was(
    own: list[Toleration], steps: list[Stay | None]
) -> None:
    one = pod(by_default(*own), {"kept": "too"})
    done = one
    for stay in (*steps, None):
        done = patched(done, stay)
    assert done == one


@given(steps=st.lists(stays, min_size=1, max_size=3))
def test_pods_that_say_nothing_are_evicted_when_the_last_annotation_says(
    steps: list[Stay | None],
) -> None:
    done = pod(by_default())
    for stay in steps:
        done = patched(done, stay)
    last = steps[-1]
    expected = DEFAULT_S if last is None else last.seconds
    assert {evicted_after(done, key) for key in (NOT_READY, UNREACHABLE)} == {expected}


@given(own=tolerations, stay=stays)
def test_pods_that_say_something_themselves_are_evicted_when_they_say(
    own: list[Toleration], stay: Stay | None
) -> None:
    before = pod(by_default(*own))
    after = patched(before, stay)
    for key in (NOT_READY, UNREACHABLE):
        said = evicted_after(before, key)
        if said != DEFAULT_S:
            assert evicted_after(after, key) == said
