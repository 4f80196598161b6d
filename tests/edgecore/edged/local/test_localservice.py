"""Answers of the local endpoint: real log files and a real event loop; edged is made up."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import RuntimeServiceError
from edgecore.edged.local import localservice
from edgecore.edged.local.localroutes import (
    GetHealth,
    GetLogs,
    GetMetrics,
    GetPods,
    GetSummary,
    PostExec,
    Target,
    Wanted,
)
from edgecore.edged.local.localservice import LocalService, NotHereError, Reply
from edgecore.edged.local.logread import log_files
from edgecore.edged.local.stats import Sample
from edgecore.edged.podview import Object
from edgecore.edged.runtime.base import ExecResult
from tests.edgecore.edged.bus import START
from tests.edgecore.edged.local.test_logread import lines, text
from tests.edgecore.edged.local.test_stats import sample
from tests.edgecore.edged.world import pod_object

WEB = Target("default", "web", "c")


@dataclass
class View:
    """Edged as the endpoint sees it."""

    directory: Path
    samples: list[Sample] = field(default_factory=lambda: [sample(0, 1.0), sample(10, 2.0)])
    fault: Exception | None = None
    executed: list[tuple[Target, Sequence[str], float]] = field(default_factory=list)
    hangs: bool = False

    async def pods(self) -> Sequence[Object]:
        return [pod_object("web")]

    async def sample(self) -> Sample:
        if self.fault is not None:
            raise self.fault
        return self.samples.pop(0)

    async def log_files(self, target: Target, *, previous: bool) -> Sequence[Path]:
        if target != WEB:
            raise NotHereError(f"there is no container {target.container}")
        return log_files(self.directory / ("0.log" if previous else "1.log"))

    async def execute(self, target: Target, command: Sequence[str], timeout_s: float) -> ExecResult:
        if self.fault is not None:
            raise self.fault
        if self.hangs:
            await asyncio.Event().wait()
        self.executed.append((target, command, timeout_s))
        return ExecResult(3, b"out\xff")


@pytest.fixture
def view(tmp_path: Path) -> View:
    (tmp_path / "0.log").write_bytes(lines(0, 1))
    (tmp_path / "1.log.20261124-000000").write_bytes(lines(2, 3))
    (tmp_path / "1.log").write_bytes(lines(4, 5))
    return View(tmp_path)


def service(view: View) -> LocalService:
    return LocalService(view, "n1", lambda: START + timedelta(seconds=6))


async def ask(view: View, wanted: Wanted) -> tuple[int, str]:
    return await asyncio.to_thread(read, service(view), wanted)


def read(made: LocalService, wanted: Wanted) -> tuple[int, str]:
    reply = made.reply(wanted)
    return reply.code, body(reply).decode()


def body(reply: Reply) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)


async def test_pods_are_a_list_as_the_api_server_gives_it(view: View) -> None:
    code, found = await ask(view, GetPods())
    listed = json.loads(found)
    assert (code, listed["kind"], listed["apiVersion"]) == (200, "PodList", "v1")
    assert [pod["metadata"]["name"] for pod in listed["items"]] == ["web"]


async def test_the_second_summary_has_rates(view: View) -> None:
    made = service(view)
    _, first = await asyncio.to_thread(read, made, GetSummary())
    _, second = await asyncio.to_thread(read, made, GetSummary())
    assert "usageNanoCores" not in json.loads(first)["node"]["cpu"]
    assert json.loads(second)["node"]["cpu"]["usageNanoCores"] == 10**8


async def test_metrics_say_themselves_that_the_runtime_does_not_answer(view: View) -> None:
    code, found = await ask(view, GetMetrics())
    assert code == 200
    assert "node_cpu_usage_seconds_total 1.0 " in found
    view.fault = RuntimeServiceError("Unavailable", "no")
    code, found = await ask(view, GetMetrics())
    assert code == 200
    assert "\nresource_scrape_error 1\n" in found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (GetLogs(WEB), text(2, 3, 4, 5)),
        (GetLogs(WEB, previous=True), text(0, 1)),
        (GetLogs(WEB, tail_lines=1), text(5)),
        (GetLogs(WEB, since_s=2), text(4, 5)),
        (GetLogs(WEB, since_s=10**18), text(2, 3, 4, 5)),
        (GetLogs(WEB, limit_bytes=4), "line"),
        (GetLogs(WEB, limit_bytes=0), ""),
    ],
)
async def test_logs_are_what_was_asked_for(view: View, wanted: GetLogs, found: str) -> None:
    assert await ask(view, wanted) == (200, found)


async def test_a_long_log_comes_in_blocks(view: View) -> None:
    (view.directory / "1.log").write_bytes(lines(*range(20_000)))
    reply = await asyncio.to_thread(service(view).reply, GetLogs(WEB))
    blocks = list(reply.body)
    assert len(blocks) > 3
    assert all(isinstance(one, bytes) and len(one) < 70_000 for one in blocks)


async def test_a_log_that_cannot_be_read_is_an_error_before_anything_is_sent(view: View) -> None:
    (view.directory / "1.log").unlink()
    (view.directory / "1.log").mkdir()
    assert await ask(view, GetLogs(WEB)) == (500, "Is a directory\n")


async def test_what_is_not_here_is_said(view: View) -> None:
    code, words = await ask(view, GetLogs(Target("default", "web", "no")))
    assert (code, words) == (404, "there is no container no\n")


async def test_a_command_is_run_and_its_end_told(view: View) -> None:
    code, found = await ask(view, PostExec(WEB, ("a", "b"), 2.5))
    assert (code, json.loads(found)) == (200, {"exitCode": 3, "output": "out\ufffd"})
    assert view.executed == [(WEB, ("a", "b"), 2.5)]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (RuntimeServiceError("ExecFailed", "no such file"), 500, "no such file\n"),
        (TimeoutError(), 504, "it took too long\n"),
        (NotHereError("it does not run"), 404, "it does not run\n"),
    ],
)
async def test_a_command_that_fails_is_told_with_the_reason(
    view: View, fault: Exception, code: int, words: str
) -> None:
    view.fault = fault
    assert await ask(view, PostExec(WEB, ("a",))) == (code, words)


async def test_what_hangs_is_given_up(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localservice, "_LOOP_TIMEOUT_S", 0.0)
    view.hangs = True
    code, _ = await ask(view, PostExec(WEB, ("a",), 0.01))
    assert code == 504


async def test_a_loop_that_turns_is_healthy(view: View) -> None:
    assert await ask(view, GetHealth()) == (200, "ok\n")


async def test_a_loop_that_is_stuck_is_not(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    made = service(view)
    monkeypatch.setattr(localservice, "_HEALTH_TIMEOUT_S", 0.0)

    def stuck(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> Any:
        work.close()
        return run(asyncio.Event().wait(), loop)

    run = asyncio.run_coroutine_threadsafe
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "run_coroutine_threadsafe", stuck)
        found = await asyncio.to_thread(read, made, GetHealth())
    assert found == (503, "the event loop is stuck\n")


def test_edged_that_has_stopped_says_so(view: View) -> None:
    async def make() -> LocalService:
        return service(view)

    made = asyncio.run(make())
    assert read(made, GetPods()) == (503, "edgecore is stopping\n")
