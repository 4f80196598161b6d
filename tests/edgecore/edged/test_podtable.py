"""The table of pods: workers that are none, since only what they say of themselves counts."""

from dataclasses import dataclass, field
from typing import Any

from common.names import UID
from edgecore.edged.podtable import PodTable


@dataclass
class Worker:
    key: str
    has_ended: bool = False
    is_given_up: bool = False
    has_vanished: bool = False
    pod: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pod = {"metadata": {"name": self.key}}


def table(*workers: Worker) -> PodTable:
    made = PodTable()
    for number, worker in enumerate(workers):
        made.workers[UID(f"u{number}")] = worker  # type: ignore[assignment] # see the docstring
    return made


def test_which_pods_there_are_is_not_known_before_the_store_was_read_to_its_end() -> None:
    pods = table(Worker("default/a"))
    assert pods.assigned() is None
    pods.is_loaded = True
    assert pods.assigned() == [{"metadata": {"name": "default/a"}}]


def test_a_pod_that_ended_or_is_to_go_takes_nothing_of_the_node() -> None:
    pods = table(
        Worker("default/a"),
        Worker("default/b", has_ended=True),
        Worker("default/c", is_given_up=True),
        Worker("default/d", has_vanished=True),
    )
    assert [pod["metadata"]["name"] for pod in pods.taken()] == ["default/a"]


def test_two_pods_have_one_name_while_one_takes_over_from_the_other() -> None:
    first, second = Worker("default/a"), Worker("default/a")
    found = table(first, Worker("default/b"), second).named("default/a")
    assert [id(worker) for worker in found] == [id(first), id(second)]
