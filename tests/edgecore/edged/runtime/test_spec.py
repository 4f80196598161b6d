"""What a runtime is told. Pure."""

from pathlib import Path

from edgecore.edged.runtime.spec import ContainerConfig, LinuxResources, Namespace, Namespaces


def test_secrets_of_the_environment_do_not_show_when_a_container_is_printed() -> None:
    config = ContainerConfig("c", 0, "img", "hash", Path("/log"), env=(("PASSWORD", "s3cret"),))
    assert "s3cret" not in repr(config)


def test_a_container_that_asks_for_nothing_is_the_first_to_go() -> None:
    assert LinuxResources().oom_score_adj == 1000


def test_containers_of_a_pod_share_its_network_and_see_their_own_processes_only() -> None:
    namespaces = Namespaces()
    assert namespaces.network is namespaces.ipc is Namespace.POD
    assert namespaces.pid is Namespace.CONTAINER
