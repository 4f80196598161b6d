"""The command lines of the control plane's programs: pure functions, nothing runs."""

from pathlib import Path

import pytest

from deploy.devcluster.commands import Component, Layout, NodeMonitor, Ports, command
from deploy.devcluster.credentials import Credentials

EVERYTHING = tuple(Component)
API_ONLY = (Component.ETCD, Component.API_SERVER)


@pytest.fixture
def layout() -> Layout:
    return Layout(
        programs=Path("/programs"),
        data=Path("/data"),
        ports=Ports(1, 2, 3, 4, 5),
        credentials=Credentials(Path("/data/pki"), {}),
    )


def arguments(
    layout: Layout,
    component: Component,
    *,
    components: tuple[Component, ...] = EVERYTHING,
    extra_args: dict[Component, list[str]] | None = None,
    node_monitor: NodeMonitor | None = None,
) -> list[str]:
    return command(
        component,
        layout,
        components=components,
        node_monitor=node_monitor or NodeMonitor(),
        extra_args=extra_args or {},
    )


@pytest.mark.parametrize("component", EVERYTHING)
def test_each_component_is_called_by_its_own_name(layout: Layout, component: Component) -> None:
    assert arguments(layout, component)[0] == f"/programs/{component}"


@pytest.mark.parametrize("component", EVERYTHING)
def test_no_component_listens_beyond_loopback(layout: Layout, component: Component) -> None:
    listening = [
        argument.partition("=")[2]
        for argument in arguments(layout, component)
        if argument.startswith(("--bind-address=", "--listen-"))
    ]
    assert listening
    assert all("127.0.0.1" in address for address in listening)


def test_the_api_server_has_the_node_authorizer_and_node_restriction(layout: Layout) -> None:
    api_server = arguments(layout, Component.API_SERVER)
    assert "--authorization-mode=Node,RBAC" in api_server
    assert "--enable-admission-plugins=NodeRestriction" in api_server


def test_pods_need_no_service_account_only_where_nobody_makes_them(layout: Layout) -> None:
    switched_off = "--disable-admission-plugins=ServiceAccount"
    assert switched_off in arguments(layout, Component.API_SERVER, components=API_ONLY)
    assert switched_off not in arguments(layout, Component.API_SERVER)


def test_the_node_monitor_reaches_the_controller_manager(layout: Layout) -> None:
    quick = NodeMonitor(period_s=0.5, grace_period_s=3, startup_grace_period_s=4)
    manager = arguments(layout, Component.CONTROLLER_MANAGER, node_monitor=quick)
    assert {
        "--node-monitor-period=0.5s",
        "--node-monitor-grace-period=3s",
        "--node-startup-grace-period=4s",
    } <= set(manager)


def test_extra_arguments_come_last_and_only_where_they_belong(layout: Layout) -> None:
    extra = {Component.SCHEDULER: ["--v=4"]}
    assert arguments(layout, Component.SCHEDULER, extra_args=extra)[-1] == "--v=4"
    assert "--v=4" not in arguments(layout, Component.API_SERVER, extra_args=extra)
