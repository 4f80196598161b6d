"""What changed between lists, and what events say. Everything is real; the messages are ours."""

import pytest

from common.names import UID
from edgecore.edged.runtime.cri import changes, names
from edgecore.edged.runtime.cri import containerd_pb2 as containerd
from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri.changes import Announcement, Entry, Pending, Snapshot

A, B = UID("a"), UID("b")
RUNNING = Entry(A, is_alive=True, state=cri.CONTAINER_RUNNING)
EXITED = Entry(A, is_alive=False, state=cri.CONTAINER_EXITED)
OTHER = Entry(B, is_alive=True, state=cri.CONTAINER_RUNNING)


def test_a_snapshot_has_sandboxes_and_containers() -> None:
    labels = {names.POD_UID: "a"}
    sandboxes = [cri.PodSandbox(id="s", state=cri.SANDBOX_NOTREADY, labels=labels)]
    containers = [
        cri.Container(id="r", state=cri.CONTAINER_RUNNING, labels=labels),
        cri.Container(id="e", state=cri.CONTAINER_EXITED, labels=labels),
        cri.Container(id="u", state=cri.CONTAINER_UNKNOWN, labels=labels),
    ]
    snapshot = changes.snapshot(sandboxes, containers)
    assert {id_: entry.is_alive for id_, entry in snapshot.items()} == {
        "s": False,
        "r": True,
        "e": False,
        "u": True,
    }
    assert {entry.uid for entry in snapshot.values()} == {A}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, set()),
        ({"x": RUNNING}, {"x": RUNNING}, set()),
        ({"x": RUNNING}, {"x": EXITED}, {A}),
        ({}, {"x": RUNNING, "y": OTHER}, {A, B}),
        ({"x": RUNNING, "y": OTHER}, {"x": RUNNING}, {B}),
    ],
)
def test_a_pod_changed_if_anything_of_it_did(
    before: Snapshot, after: Snapshot, expected: set[UID]
) -> None:
    assert changes.changed(before, after) == expected


def test_an_end_is_settled_when_the_list_shows_it() -> None:
    now = {"runs": RUNNING, "ended": EXITED}
    assert changes.settled({"runs", "ended", "gone"}, now) == {"ended", "gone"}


def envelope(topic: str, process: str) -> containerd.Envelope:
    event = containerd.TaskEvent(container_id="c", id=process)
    content = containerd.Content(type_url="containerd.events", value=event.SerializeToString())
    return containerd.Envelope(namespace="k8s.io", topic=topic, event=content)


def test_containerd_tells_of_ends() -> None:
    assert changes.announced_by_containerd(envelope("/tasks/exit", "c")) == Announcement("c")
    assert changes.announced_by_containerd(envelope("/tasks/oom", "")) == Announcement(
        "c", is_end=False
    )


def test_the_end_of_a_command_beside_a_container_is_none() -> None:
    assert changes.announced_by_containerd(envelope("/tasks/exit", "a-probe")) is None


def test_what_cannot_be_read_is_passed_over() -> None:
    content = containerd.Content(value=b"\xff")
    damaged = containerd.Envelope(topic="/tasks/exit", event=content)
    assert changes.announced_by_containerd(damaged) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (cri.CONTAINER_CREATED_EVENT, None),
        (cri.CONTAINER_STARTED_EVENT, None),
        (cri.CONTAINER_STOPPED_EVENT, Announcement("c")),
        (cri.CONTAINER_DELETED_EVENT, Announcement("c")),
    ],
)
def test_cri_tells_of_ends(kind: cri.ContainerEventType, expected: Announcement | None) -> None:
    event = cri.ContainerEventResponse(container_id="c", container_event_type=kind)
    assert changes.announced_by_cri(event) == expected


def test_a_pod_is_told_of_once_in_the_order_of_waiting() -> None:
    pending = Pending()
    pending.add([A, B])
    pending.add([A])
    assert [pending.take() for _ in range(3)] == [A, B, None]
