"""Names that are still held: the client and its socket are real, the engine is a fake."""

from pathlib import Path

import pytest
from grpclib.const import Status

from edgecore.edged.runtime.cri import cri_pb2 as cri
from edgecore.edged.runtime.cri import methods, reserved
from edgecore.edged.runtime.cri.client import CriClient
from edgecore.edged.runtime.cri.refusals import EngineError
from edgecore.edged.runtime.cri.reserved import with_name
from tests.edgecore.edged.runtime.cri.fakecri import FakeCri, fake_cri

HOLDER = "a" * 64
HELD = (Status.UNKNOWN, f'name "web_0" is reserved for "{HOLDER}"')
RUN = cri.RunPodSandboxRequest()


async def test_a_name_is_had_once_its_holder_has_let_go(tmp_path: Path) -> None:
    asked: list[str] = []
    async with fake_cri(tmp_path) as engine:
        client = CriClient(engine.endpoint)
        engine.faults.refusals[methods.RUN_SANDBOX] = HELD

        async def remove(holder: str) -> None:
            asked.append(holder)
            if len(asked) < 3:
                engine.faults.refusals[methods.RUN_SANDBOX] = HELD

        answer = await with_name(client, methods.RUN_SANDBOX, RUN, remove)
        assert answer.pod_sandbox_id in engine.sandboxes
        client.close()
    assert asked == [HOLDER] * 3


async def test_a_name_that_is_never_let_go_is_refused_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reserved, "_TRIES", 3)
    async with fake_cri(tmp_path) as engine:
        client = CriClient(engine.endpoint)
        engine.faults.refusals[methods.RUN_SANDBOX] = HELD

        async def remove(_: str) -> None:
            engine.faults.refusals[methods.RUN_SANDBOX] = HELD

        with pytest.raises(EngineError, match="is reserved for"):
            await with_name(client, methods.RUN_SANDBOX, RUN, remove)
        assert engine.count(methods.RUN_SANDBOX) == 4
        client.close()


async def test_another_refusal_is_passed_on_at_once(tmp_path: Path) -> None:
    async with fake_cri(tmp_path) as engine:
        client = CriClient(engine.endpoint)
        engine.faults.refusals[methods.RUN_SANDBOX] = (Status.UNKNOWN, "no address left")
        with pytest.raises(EngineError, match="no address left"):
            await with_name(client, methods.RUN_SANDBOX, RUN, _nothing)
        assert _calls(engine) == 1
        client.close()


async def _nothing(_: str) -> None:
    raise AssertionError("there is no holder")


def _calls(engine: FakeCri) -> int:
    return engine.count(methods.RUN_SANDBOX)
