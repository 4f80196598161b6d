"""``cloudcore init``, from its arguments to what it prints.

Real: the manifests, an API server of its own. No controllers run: tests/e2e/test_installation.py
has them.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from cloudcore import cli
from cloudcore.install import preflight
from cloudcore.kube import kinds
from cloudcore.kube.client import MERGE_PATCH, KubeClient
from cloudcore.trust.keptsecrets import NAMESPACE
from deploy.devcluster.controlplane import ControlPlane
from tests.cloudcore.cluster import body, eventually, load
from tests.cloudcore.commands.running import Run, runner

pytestmark = pytest.mark.e2e

ADDRESS = "--advertise-address=cloud.example"


@pytest.fixture
def init(
    own_api: ControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs ``cloudcore init …`` and returns exit code, output and errors."""
    return runner("init", own_api.kubeconfig, monkeypatch, capsys)


@pytest.fixture
async def api(own_api: ControlPlane) -> AsyncIterator[KubeClient]:
    """A cluster without a Deployment of cloudcore."""
    async with KubeClient(own_api.kubeconfig) as client:
        if await client.find(preflight.DEPLOYMENT) is not None:
            await client.delete(preflight.DEPLOYMENT, b'{"propagationPolicy":"Orphan"}')
            await client.patch(
                preflight.DEPLOYMENT, b'{"metadata":{"finalizers":null}}', content_type=MERGE_PATCH
            )

            async def is_gone() -> bool:
                return await client.find(preflight.DEPLOYMENT) is None

            await eventually(is_gone)
        yield client


def test_a_dry_run_prints_what_kubectl_takes_and_asks_no_cluster(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["init", "--dry-run", ADDRESS, f"--kubeconfig={tmp_path / 'none'}", "--replicas=5"]
    monkeypatch.setattr(sys, "argv", ["cloudcore", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output, errors = capsys.readouterr()
    assert (ended.value.code, errors) == (0, "")
    objects = list(yaml.safe_load_all(output))
    assert objects[0]["kind"] == "Namespace"
    (deployment,) = [one for one in objects if one["kind"] == "Deployment"]
    assert deployment["spec"]["replicas"] == 5


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["--no-wait"], "--advertise-address: must be given"),
        ([ADDRESS, "--components=helm"], "'helm' is none of cloud-daemonsets"),
        ([ADDRESS, "--replicas=0"], "--replicas"),
        ([ADDRESS, "--service-type=Ingress"], "--service-type"),
    ],
)
async def test_faulty_options_are_told_with_exit_code_2(
    init: Run, arguments: list[str], wrong: str
) -> None:
    code, output, errors = await init(*arguments)
    assert (code, output) == (2, "")
    assert wrong in errors


async def test_a_second_run_changes_nothing_and_a_changed_option_what_it_is_about(
    init: Run, api: KubeClient
) -> None:
    components = "--components=networkpolicy,node-protection,cloud-daemonsets"
    code, output, errors = await init(ADDRESS, "--no-wait", components)
    assert code == 0
    lines = output.splitlines()
    assert "Deployment kubeedge/cloudcore created" in lines
    assert "edgecore join cloud.example --token-file token" in errors
    assert await api.find(kinds.SERVICES.path(NAMESPACE, "cloudcore")) is not None

    code, output, _ = await init(ADDRESS, "--no-wait", components)
    assert (code, {line.split()[-1] for line in output.splitlines()}) == (0, {"unchanged"})
    assert len(output.splitlines()) == len(lines)

    code, output, errors = await init(
        ADDRESS, "--no-wait", components, "--replicas=3", "--service-type=NodePort"
    )
    changed = [line for line in output.splitlines() if not line.endswith(" unchanged")]
    assert changed == [
        "Deployment kubeedge/cloudcore changed",
        "Service kubeedge/cloudcore changed",
    ]
    assert "--set websocket_port=30000 --set https_port=30002" in errors


async def test_what_an_administrator_has_changed_since_is_not_taken_back_unasked(
    init: Run, api: KubeClient
) -> None:
    await init(ADDRESS, "--no-wait")
    await api.patch(preflight.DEPLOYMENT, b'{"spec":{"replicas":7}}', content_type=MERGE_PATCH)
    code, _, errors = await init(ADDRESS, "--no-wait")
    assert code == 1
    assert ".spec.replicas" in errors
    assert "--take-over" in errors
    assert (await init(ADDRESS, "--no-wait", "--replicas=7"))[0] == 0
    assert (await init(ADDRESS, "--no-wait", "--take-over"))[0] == 0
    assert load(await api.get(preflight.DEPLOYMENT))["spec"]["replicas"] == 2


async def test_the_cloudcore_of_kubeedge_is_left_alone_unasked(init: Run, api: KubeClient) -> None:
    labels = {"kubeedge": "cloudcore"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "cloudcore", "image": "kubeedge/cloudcore"}]},
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    if await api.find(kinds.NAMESPACES.path(name=NAMESPACE)) is None:
        await api.create(kinds.NAMESPACES.path(), body({"metadata": {"name": NAMESPACE}}))
    await api.create(
        preflight.DEPLOYMENTS.path(NAMESPACE),
        body({"metadata": {"name": "cloudcore"}, "spec": spec}),
    )
    code, output, errors = await init(ADDRESS)
    assert (code, output) == (1, "")
    assert "KubeEdge's it seems. --take-over deletes it" in errors
    assert load(await api.get(preflight.DEPLOYMENT))["spec"]["selector"] == {"matchLabels": labels}


async def test_who_waits_in_vain_is_told_why(init: Run, api: KubeClient) -> None:
    await init(ADDRESS, "--no-wait")
    pods = kinds.PODS.path(NAMESPACE)
    made = load(await api.get(preflight.DEPLOYMENT))["spec"]["template"]
    made["metadata"]["name"] = "cloudcore-1"
    del made["spec"]["priorityClassName"]
    made["spec"].pop("serviceAccount", None)
    await api.create(pods, body(made))
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    statuses = [
        {
            "name": "cloudcore",
            "state": {"waiting": waiting},
            "image": "",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
        }
    ]
    await api.patch(
        f"{pods}/cloudcore-1/status",
        body({"status": {"containerStatuses": statuses}}),
        content_type=MERGE_PATCH,
    )
    code, _, errors = await init(ADDRESS, "--wait-s=1")
    assert code == 1
    assert "not available after 1 s: 0 of 2 replicas are available" in errors
    assert "ImagePullBackOff: no such image" in errors
    await api.delete(f"{pods}/cloudcore-1", b'{"gracePeriodSeconds":0}')


async def test_what_the_cluster_lacks_for_a_component_is_told(init: Run) -> None:
    code, output, errors = await init(ADDRESS, "--components=servicemonitor")
    assert (code, output) == (1, "")
    assert "the CRDs of the Prometheus operator: install it first" in errors
