"""How containers begin and end: hooks, graces, exit codes, restarts, deadlines, and what is told.

Real: control plane, cloudcore, edgecore, containerd with runc. The containers run busybox. Nothing
is faked.
"""

from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.site import until
from tests.e2e.conftest import Join
from tests.e2e.podchecks import (
    OBEY,
    STAY,
    Place,
    conditions,
    last_end,
    once,
    state_of,
    status_of,
)


@pytest.fixture
async def place(api: Api, join: Join, namespace: str, container_engine: ContainerEngine) -> Place:
    del container_engine  # `join` uses it
    return Place(api, await join(runtime="cri"), namespace)


def on_disk(folder: Path) -> Object:
    """The parts of a pod that let its container write to ``folder`` as /told."""
    folder.mkdir()
    return {
        "container": {"volumeMounts": [{"name": "told", "mountPath": "/told"}]},
        "volumes": [{"name": "told", "hostPath": {"path": str(folder)}}],
    }


def shell(script: str) -> Object:
    return {"exec": {"command": ["/bin/sh", "-c", script]}}


async def test_hooks_run_after_the_start_and_before_the_end(place: Place, tmp_path: Path) -> None:
    parts = on_disk(tmp_path / "told")
    hooks = {
        "postStart": shell("echo begun >> /told/story"),
        "preStop": shell("sleep 0.5; echo asked >> /told/story"),
    }
    script = f"trap 'echo ended >> /told/story; exit 0' TERM; echo listening; {STAY}"
    await place.create(
        place.pod(
            "hooked",
            script,
            container={**parts["container"], "lifecycle": hooks},
            volumes=parts["volumes"],
            terminationGracePeriodSeconds=20,
        ),
        place.pod("unlucky", OBEY, container={"lifecycle": {"postStart": shell("exit 7")}}),
    )
    story = tmp_path / "told" / "story"
    found = await place.ready("hooked")
    await until(story.exists, "the postStart hook has run")
    await until(lambda: "listening" in place.output(found), "it can be asked to end")
    await place.api.delete(f"{place.pods}/hooked")
    await place.gone("hooked")
    assert story.read_text().split() == ["begun", "asked", "ended"]
    killing = await place.event(found, "Killing")
    assert killing["message"] == "Stopping container c"
    # A container whose hook failed is ended and started again.
    unlucky = await place.wait(
        "unlucky", lambda p: status_of(p).get("restartCount", 0) >= 1, "it was started again"
    )
    told = await place.event(unlucky, "FailedPostStartHook")
    assert (told["type"], told["message"]) == ("Warning", "PostStartHook failed")


async def test_who_comes_after_a_container_waits_for_its_hook(place: Place, tmp_path: Path) -> None:
    parts = on_disk(tmp_path / "told")
    wait = "echo asked >> /told/story; until test -e /told/go; do sleep 0.1; done"
    proxy = {
        "name": "proxy",
        "image": "busybox",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", OBEY],
        "lifecycle": {"postStart": shell(f"{wait}; echo open >> /told/story")},
        **parts["container"],
    }
    made = place.pod("guarded", f"echo begun >> /told/story; {OBEY}", **parts)
    made["spec"]["containers"].insert(0, proxy)
    await place.create(made)
    story = tmp_path / "told" / "story"
    await until(story.exists, "the hook of the first container has begun")
    found = await place.wait(
        "guarded", lambda p: p["status"].get("containerStatuses"), "the pod is seen"
    )
    assert found["status"]["phase"] == "Pending"
    for name in ("proxy", "c"):
        assert state_of(found, "waiting", name)["reason"] == "ContainerCreating"
    (tmp_path / "told" / "go").touch()
    await place.ready("guarded")
    await until(lambda: "begun" in story.read_text(), "the second container has begun")
    assert story.read_text().split() == ["asked", "open", "begun"]


async def test_a_container_has_its_grace_and_no_more(place: Place) -> None:
    # From then on it does as it is asked: before, it would ignore that as well.
    slow = place.pod("slow", f"trap 'sleep 2; exit 5' TERM; echo listening; {STAY}")
    # As the first process of its namespace it ignores SIGTERM, and would not end for hours.
    stubborn = place.pod("stubborn", STAY)
    for made, grace_s in ((slow, 30), (stubborn, 2)):
        made["spec"]["terminationGracePeriodSeconds"] = grace_s
        # So that its end can still be read when all is over.
        made["metadata"]["finalizers"] = ["example.org/reader"]
    await place.create(slow, stubborn)
    for name, code in (("slow", 5), ("stubborn", 137)):
        path = f"{place.pods}/{name}"
        found = await place.ready(name)
        if name == "slow":
            await until(lambda: "listening" in place.output(found), "it can be asked to end")  # noqa: B023 - awaited here
        await place.api.delete(path)
        ended = await place.ended(name, "Failed")
        assert state_of(ended, "terminated")["exitCode"] == code
        await place.api.patch(path, {"metadata": {"finalizers": None}})
        await place.gone(name)


async def test_last_words_come_from_the_file_or_after_a_failure_from_the_log(place: Place) -> None:
    from_log = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    elsewhere = {"terminationMessagePath": "/tmp/last"}
    await place.create(
        once("file", "echo noise; printf 'all is well' > /dev/termination-log", place),
        once("elsewhere", "printf moved > /tmp/last; exit 4", place, container=elsewhere),
        once("log", "echo it broke; exit 5", place, container=from_log),
        once("silent", "echo it worked", place, container=from_log),
    )
    file = state_of(await place.ended("file"), "terminated")
    assert (file["message"], file["exitCode"], file["reason"]) == ("all is well", 0, "Completed")
    moved = state_of(await place.ended("elsewhere", "Failed"), "terminated")
    assert (moved["message"], moved["exitCode"], moved["reason"]) == ("moved", 4, "Error")
    log = state_of(await place.ended("log", "Failed"), "terminated")
    assert (log["message"].strip(), log["exitCode"]) == ("it broke", 5)
    assert "message" not in state_of(await place.ended("silent"), "terminated")


async def test_the_restart_policy_decides_what_an_end_means(place: Place) -> None:
    mounts = {"volumeMounts": [{"name": "kept", "mountPath": "/kept"}]}
    second_time = "test -e /kept/once && exit 0; touch /kept/once; exit 6"
    version = await place.api.version(place.pods)
    await place.create(
        place.pod("again", "sleep 0.2; exit 3"),
        place.pod(
            "until-it-works",
            second_time,
            restartPolicy="OnFailure",
            container=mounts,
            volumes=[{"name": "kept", "emptyDir": {}}],
        ),
        once("for-good", "exit 9", place),
    )
    done = await place.ended("until-it-works")
    assert status_of(done)["restartCount"] == 1
    assert last_end(done)["exitCode"] == 6
    assert state_of(done, "terminated")["exitCode"] == 0
    ready = next(c for c in done["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "PodCompleted")
    failed = await place.ended("for-good", "Failed")
    assert state_of(failed, "terminated")["exitCode"] == 9
    assert status_of(failed)["restartCount"] == 0
    # The first restart comes at once, the next one has to wait.
    crashing = await place.first(
        version,
        "again",
        lambda p: state_of(p, "waiting").get("reason") == "CrashLoopBackOff",
        "it is held back",
    )
    assert status_of(crashing)["restartCount"] == 1
    assert last_end(crashing)["exitCode"] == 3
    assert crashing["status"]["phase"] == "Running"
    assert (
        "back-off 10s restarting failed container=c pod=again_"
        in (state_of(crashing, "waiting")["message"])
    )
    back_off = await place.event(crashing, "BackOff")
    assert back_off["type"] == "Warning"
    assert back_off["message"].startswith("Back-off restarting failed container c in pod again_")


async def test_a_pod_that_takes_longer_than_it_may_has_failed(place: Place) -> None:
    await place.create(place.pod("late", OBEY, activeDeadlineSeconds=1))
    late = await place.ended("late", "Failed")
    assert late["status"]["reason"] == "DeadlineExceeded"
    assert late["status"]["message"] == (
        "Pod was active on the node longer than the specified deadline"
    )
    assert (await place.event(late, "DeadlineExceeded"))["type"] == "Normal"


async def test_status_and_events_tell_of_a_pod_what_a_kubelet_tells(place: Place) -> None:
    await place.create(place.pod("web", OBEY))
    found = await place.ready("web")
    status = found["status"]
    assert conditions(found) == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    assert (status["phase"], status["qosClass"]) == ("Running", "BestEffort")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]
    container = status_of(found)
    assert container["image"] == "docker.io/library/busybox:latest"
    assert "sha256:" in container["imageID"]
    assert container["containerID"].startswith("containerd://")
    assert (container["ready"], container["started"]) == (True, True)
    assert (container["restartCount"], container["lastState"]) == (0, {})
    assert container["state"]["running"]["startedAt"]

    for reason in ("Pulled", "Created", "Started"):
        event = await place.event(found, reason)
        assert event["type"] == "Normal"
        assert event["involvedObject"] == {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": place.namespace,
            "name": "web",
            "uid": found["metadata"]["uid"],
            "fieldPath": "spec.containers{c}",
        }
        assert event["source"]["host"] == place.node
