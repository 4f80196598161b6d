"""The control plane itself. Everything is real: etcd, the API server and the daemons beside it."""

import asyncio
import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.devcluster import build
from deploy.devcluster.commands import Component
from deploy.devcluster.controlplane import API_ONLY, STOP_GRACE_S, ControlPlane
from deploy.devcluster.program import ProgramError
from tests.deploy.devcluster.kubecall import Refused, call, connect

DEADLINE_S = 30.0
TOO_SHORT_S = 0.05
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE_PATCH = "application/merge-patch+json"

RUN_UNTIL_KILLED = """
import asyncio, pathlib, sys
from deploy.devcluster.controlplane import API_ONLY, ControlPlane

async def main():
    data = pathlib.Path(sys.argv[1])
    async with ControlPlane(data, components=API_ONLY) as control_plane:
        print(*control_plane.pids().values(), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def node(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


@contextlib.contextmanager
def watched(pids: list[int]) -> Iterator[list[int]]:
    """Handles on processes: readable once the process has ended, whoever has its number then."""
    handles = [os.pidfd_open(pid) for pid in pids]
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)


def assert_ended(handles: list[int], within_s: float) -> None:
    for handle in handles:
        assert select.select([handle], [], [], within_s)[0] == [handle]


def test_the_api_server_answers_with_the_version_that_is_built(control_plane: ControlPlane) -> None:
    assert call(control_plane, "/version")["gitVersion"] == build.kubernetes_version()


def test_all_four_components_run(control_plane: ControlPlane) -> None:
    assert set(control_plane.pids()) == set(Component)


def test_the_kubeconfig_leads_to_the_server_with_the_token(control_plane: ControlPlane) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    assert config["clusters"][0]["cluster"]["server"] == control_plane.server
    assert config["users"][0]["user"]["token"] == control_plane.token


def test_a_request_with_a_wrong_token_is_refused(control_plane: ControlPlane) -> None:
    with pytest.raises(Refused) as refused:
        call(control_plane, "/api/v1/nodes", headers={"Authorization": "Bearer wrong"})
    assert refused.value.code == 401


def test_a_node_may_label_itself_but_no_other_node(control_plane: ControlPlane) -> None:
    for name in ("restricted", "neighbour"):
        call(control_plane, "/api/v1/nodes", node(name))
    as_node = {
        "Impersonate-User": "system:node:restricted",
        "Impersonate-Group": "system:nodes",
        "Content-Type": MERGE_PATCH,
    }
    label = {"metadata": {"labels": {"example.org/colour": "green"}}}

    own = call(control_plane, "/api/v1/nodes/restricted", label, method="PATCH", headers=as_node)
    assert own["metadata"]["labels"]["example.org/colour"] == "green"
    with pytest.raises(Refused, match="is not allowed to modify node") as refused:
        call(control_plane, "/api/v1/nodes/neighbour", label, method="PATCH", headers=as_node)
    assert refused.value.code == 403


def test_the_service_account_that_pods_need_is_there_at_once(control_plane: ControlPlane) -> None:
    account = call(control_plane, "/api/v1/namespaces/default/serviceaccounts/default")
    assert account["metadata"]["name"] == "default"


@pytest.mark.e2e
async def test_nothing_is_left_after_the_context() -> None:
    async with ControlPlane(components=API_ONLY) as control_plane:
        data = control_plane.kubeconfig.parent
        pids = list(control_plane.pids().values())
        assert len(pids) == 2
        with watched(pids) as processes:
            await control_plane.stop()
            assert_ended(processes, within_s=0)
    assert not data.exists()


@pytest.mark.e2e
def test_nothing_is_left_running_after_the_parent_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", RUN_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        with watched([int(pid) for pid in parent.stdout.readline().split()]) as processes:
            assert len(processes) == len(API_ONLY)
            parent.kill()
            assert_ended(processes, DEADLINE_S)


@pytest.mark.e2e
@pytest.mark.both_loops
async def test_an_api_server_comes_back_where_it_was_with_what_it_knew(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path, components=API_ONLY) as control_plane:
        call(control_plane, CONFIG_MAPS, config_map("kept"))
        await control_plane.stop_component(Component.API_SERVER)
        assert set(control_plane.pids()) == {Component.ETCD}
        with pytest.raises(ConnectionRefusedError):
            connect(control_plane)
        await control_plane.start_component(Component.API_SERVER)
        control_plane.kill_component(Component.API_SERVER)
        with pytest.raises(ConnectionRefusedError):
            connect(control_plane)
        await control_plane.start_component(Component.API_SERVER)
        assert call(control_plane, f"{CONFIG_MAPS}/kept")["data"] == {"a": "b"}


@pytest.mark.e2e
async def test_etcd_that_was_killed_comes_back_under_the_same_api_server(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path, components=API_ONLY) as control_plane:
        call(control_plane, CONFIG_MAPS, config_map("kept"))
        control_plane.kill_component(Component.ETCD)
        await control_plane.start_component(Component.ETCD)
        assert call(control_plane, f"{CONFIG_MAPS}/kept")["data"] == {"a": "b"}


@pytest.mark.e2e
async def test_a_data_folder_used_before_has_its_objects_and_credentials(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path, components=API_ONLY) as first:
        call(first, CONFIG_MAPS, config_map("kept"))
    async with ControlPlane(tmp_path, components=API_ONLY) as second:
        assert second.token == first.token
        assert call(second, f"{CONFIG_MAPS}/kept")["data"] == {"a": "b"}


@pytest.mark.e2e
async def test_an_open_watch_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with ControlPlane(tmp_path, components=API_ONLY) as control_plane:
        connection = connect(control_plane)
        with contextlib.closing(connection):
            authorization = {"Authorization": f"Bearer {control_plane.token}"}
            connection.request("GET", f"{CONFIG_MAPS}?watch=true", headers=authorization)
            assert connection.getresponse().status == 200
            loop = asyncio.get_running_loop()
            started = loop.time()
            await control_plane.stop_component(Component.API_SERVER)
            assert loop.time() - started < STOP_GRACE_S


@pytest.mark.e2e
async def test_a_component_that_does_not_start_is_reported_and_the_others_end(
    tmp_path: Path,
) -> None:
    wrong = {Component.API_SERVER: ["--service-cluster-ip-range=nonsense"]}
    control_plane = ControlPlane(tmp_path, components=API_ONLY, extra_args=wrong)
    with pytest.raises(ProgramError, match=r"(?s)kube-apiserver ended \(1\).*not a valid cidr"):
        await control_plane.start()
    assert control_plane.pids() == {}


@pytest.mark.e2e
async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path) -> None:
    control_plane = ControlPlane(tmp_path, components=API_ONLY)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(TOO_SHORT_S):
            await control_plane.start()
    assert control_plane.pids() == {}
