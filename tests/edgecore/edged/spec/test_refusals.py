"""What is refused: pure, nothing faked."""

from typing import Any

import pytest

from edgecore.edged.objects import MissingError
from edgecore.edged.spec.refusals import (
    Notice,
    SpecError,
    check_container,
    check_pod,
    described,
    is_sidecar_of,
)
from tests.edgecore.edged.world import container, pod_object


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"hostUsers": False}, "user namespaces"),
        ({"runtimeClassName": "gvisor"}, r'runtime classes \("gvisor"\) are not supported'),
        ({"resourceClaims": [{"name": "gpu"}]}, "resource claims"),
    ],
)
def test_a_pod_that_asks_for_what_is_not_there_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_pod(pod_object("web", **spec))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"volumeDevices": [{"name": "d", "devicePath": "/dev/x"}]}, "raw block volumes"),
        ({"restartPolicyRules": [{"action": "Restart"}]}, "restartPolicyRules"),
        ({"lifecycle": {"stopSignal": "SIGUSR1"}}, "stopSignal"),
        ({"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, r"huge pages \(hugepages-2Mi\)"),
        ({"restartPolicy": "Never"}, r"restartPolicy of its own \(Never\)"),
    ],
)
def test_a_container_that_asks_for_what_is_not_there_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    made = container("c", **fields)
    with pytest.raises(MissingError, match=words) as caught:
        check_container(pod_object("web", containers=[made]), made)
    assert "(container: c)" in str(caught.value)


def test_ordinary_pods_containers_and_sidecars_are_taken() -> None:
    app = container("c", restartPolicy="Always", lifecycle={"preStop": {}})
    sidecar, init = container("s", restartPolicy="Always"), container("i")
    pod = pod_object("web", containers=[app], initContainers=[init, sidecar], hostUsers=True)
    pod["spec"]["restartPolicy"] = "Always"
    assert check_pod(pod) == ()
    for each in (app, sidecar, init):
        check_container(pod, each)
    pod["spec"]["restartPolicy"] = "Never"
    check_container(pod, sidecar)
    assert [is_sidecar_of(pod, each) for each in (app, sidecar, init)] == [False, True, False]


def test_debuggers_are_left_out_and_that_is_said() -> None:
    pod = pod_object("web", ephemeralContainers=[{"name": "debug"}])
    message = "ephemeral containers are not started by this node: debug"
    assert check_pod(pod) == (Notice("EphemeralContainersIgnored", message),)


def test_a_pod_is_named_as_in_kubelets_messages() -> None:
    assert described(pod_object("web")) == "web_default(uid-web)"
