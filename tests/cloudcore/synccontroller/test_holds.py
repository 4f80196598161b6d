"""Holding comparisons and releasing them. Real: the guard. The API server is in memory."""

import logging

import pytest

from cloudcore.kube import kinds
from cloudcore.kube.views import NodeView, view_as
from cloudcore.synccontroller.guard import Plan
from cloudcore.synccontroller.holds import RELEASE, Holds
from tests.cloudcore.synccontroller.stage import NODE, Stage

MUCH = Plan(pods=8, ended_pods=8, deletions=8)
PATH = kinds.NODES.path(name=NODE)


def view(annotation: str | None = None) -> NodeView:
    annotations = "" if annotation is None else f'"annotations":{{"{RELEASE}":"{annotation}"}},'
    text = f'{{"metadata":{{{annotations}"name":"{NODE}","uid":"u","resourceVersion":"1"}}}}'
    return view_as(text.encode(), NodeView)


def holding(stage: Stage) -> Holds:
    return Holds(stage.client.typed, stage.state.locations, stage.metrics)


def shown(stage: Stage) -> float:
    return float(stage.metrics.held_resyncs.value)


async def test_who_is_held_is_told_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    holds = holding(stage)
    for _ in range(2):
        assert holds.admit({NODE: MUCH}) == {NODE}
    assert holds.is_held(NODE)
    assert shown(stage) == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "cloudedge.io/release-resync=true" in record.getMessage()


async def test_an_annotation_releases_it_until_it_is_in_step_and_is_then_taken_away() -> None:
    stage = Stage()
    holds = holding(stage)
    holds.admit({NODE: MUCH})
    assert not holds.note(view())
    assert not holds.note(view("false"))
    assert holds.note(view("true"))
    assert not holds.note(view("true"))  # the same again
    assert shown(stage) == 0
    assert holds.is_released(NODE)
    assert not holds.admit({NODE: MUCH})
    await holds.settled(NODE)
    assert stage.client.made("PATCH") == [PATH]
    assert holds.admit({NODE: MUCH})


async def test_what_another_cloudcore_has_brought_in_step_is_released_no_more() -> None:
    stage = Stage()
    holds = holding(stage)
    assert holds.note(view("true"))
    assert not holds.note(view())
    assert not holds.is_released(NODE)
    await holds.settled(NODE)
    assert stage.client.requests == []


async def test_an_annotation_that_cannot_be_taken_away_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    holds = holding(stage)
    holds.note(view("true"))
    stage.client.failures = {PATH: 503}
    await holds.settled(NODE)
    assert "cannot take away the annotation that releases the node" in caplog.messages
    assert not holds.is_released(NODE)


async def test_who_keeps_something_that_is_deleted_is_held_until_it_does_not() -> None:
    stage = Stage()
    holds = holding(stage)
    holds.admit({NODE: MUCH})
    holds.keep_back(frozenset({NODE}))
    await holds.settled(NODE)
    assert holds.is_held(NODE)
    holds.keep_back(frozenset())
    await holds.settled(NODE)
    assert not holds.is_held(NODE)
    assert shown(stage) == 0


def test_a_node_that_is_deleted_is_held_no_more() -> None:
    stage = Stage()
    holds = holding(stage)
    holds.keep_back(frozenset({NODE}))
    assert holds.is_held(NODE)
    holds.note(view("true"))
    holds.forget(NODE)
    assert not holds.is_held(NODE)
    assert not holds.is_released(NODE)


async def test_and_is_not_counted_as_held_for_ever() -> None:
    stage = Stage()
    holds = holding(stage)
    holds.admit({NODE: MUCH})
    assert shown(stage) == 1
    holds.forget(NODE)
    assert shown(stage) == 0
