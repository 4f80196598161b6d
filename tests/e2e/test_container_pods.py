"""What a pod's author may write, and what of it a process in a container finds.

Real: control plane, cloudcore, edgecore, containerd with runc and a bridge network, cgroups. The
containers run busybox. Nothing is faked.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from deploy.devcluster.api import Api, Object
from deploy.devcluster.containerd import ContainerEngine
from deploy.devcluster.daemons import process_with
from deploy.devcluster.ports import free_ports
from deploy.devcluster.site import until
from edgecore.edged.spec.cgroups import HIERARCHY
from tests.e2e.conftest import Join
from tests.e2e.podchecks import STAY, Place, conditions, once, pairs, state_of, status_of


@pytest.fixture
async def place(api: Api, join: Join, namespace: str, container_engine: ContainerEngine) -> Place:
    del container_engine  # `join` uses it
    return Place(api, await join(runtime="cri"), namespace)


async def objects_for_variables(place: Place) -> None:
    base = place.base
    await place.api.create(
        f"{base}/configmaps",
        {"metadata": {"name": "settings"}, "data": {"COLOUR": "blue", "key": "from the map"}},
    )
    await place.api.create(
        f"{base}/secrets", {"metadata": {"name": "login"}, "stringData": {"password": "s3cret"}}
    )
    port = {"name": "http", "port": 80, "protocol": "TCP"}
    await place.api.create(
        f"{base}/services",
        {"metadata": {"name": "front-door"}, "spec": {"ports": [port], "selector": {"a": "b"}}},
    )


def field(path: str) -> Object:
    return {"fieldRef": {"fieldPath": path}}


def amount(resource: str, divisor: str) -> Object:
    return {"resourceFieldRef": {"resource": resource, "divisor": divisor}}


VARIABLES: dict[str, str | Object] = {
    "PLAIN": "value",
    "MADE": "$(PLAIN) and $(COLOUR), not $$(PLAIN) or $(NOBODY)",
    "KEY": {"configMapKeyRef": {"name": "settings", "key": "key"}},
    "PASSWORD": {"secretKeyRef": {"name": "login", "key": "password"}},
    "NO_KEY": {"secretKeyRef": {"name": "login", "key": "none", "optional": True}},
    "NO_MAP": {"configMapKeyRef": {"name": "none", "key": "none", "optional": True}},
    "NAME": field("metadata.name"),
    "LABEL": field("metadata.labels['team']"),
    "NODE": field("spec.nodeName"),
    "ACCOUNT": field("spec.serviceAccountName"),
    "HOST_IP": field("status.hostIP"),
    "POD_IP": field("status.podIP"),
    "POD_IPS": field("status.podIPs"),
    "CPU": amount("limits.cpu", "1m"),
    "MEMORY": amount("requests.memory", "1Mi"),
}


async def test_command_arguments_and_environment_are_those_of_the_spec(place: Place) -> None:
    await objects_for_variables(place)
    env = [
        {"name": name, **({"value": said} if isinstance(said, str) else {"valueFrom": said})}
        for name, said in VARIABLES.items()
    ]
    container = {
        "command": ["/bin/sh", "-c", 'printf "%s\\n" "$0=$1" "at=$PWD"; env', "$(PLAIN)"],
        "args": ["$(MADE) for $(NAME)"],
        "workingDir": "/var",
        "env": env,
        "envFrom": [
            {"configMapRef": {"name": "settings"}},
            {"secretRef": {"name": "login"}, "prefix": "LOGIN_"},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        "resources": {"limits": {"cpu": "200m"}, "requests": {"memory": "32Mi"}},
    }
    asking = once("asking", "", place, container=container)
    asking["metadata"]["labels"] = {"team": "red"}
    shy = once("shy", "env", place, enableServiceLinks=False)
    # The services of a namespace come to an edge with its first pod there, or a little later.
    await place.run(once("herald", "true", place))
    known = f"{place.namespace}/front-door"
    await until(lambda: known in place.edge.daemon.stored("service"), "the edge knows the service")
    printed = pairs(await place.run(asking))
    found = await place.ended("asking")
    made = "value and blue, not $(PLAIN) or $(NOBODY)"
    address = found["status"]["hostIP"]
    own_address = printed.pop("POD_IP")
    assert own_address.startswith("10.123.")
    expected = {
        "value": f"{made} for asking",
        "at": "/var",
        "PLAIN": "value",
        "MADE": made,
        "KEY": "from the map",
        "PASSWORD": "s3cret",
        "NAME": "asking",
        "LABEL": "red",
        "NODE": place.node,
        "ACCOUNT": "default",
        "HOST_IP": address,
        "POD_IPS": own_address,
        "CPU": "200",
        "MEMORY": "32",
        "COLOUR": "blue",
        "LOGIN_password": "s3cret",
        "FRONT_DOOR_SERVICE_PORT": "80",
        "FRONT_DOOR_SERVICE_PORT_HTTP": "80",
        "HOSTNAME": "asking",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    assert {name: printed.get(name) for name in expected} == expected
    assert not {"NO_KEY", "NO_MAP"} & printed.keys()
    service = await place.api.get(f"{place.base}/services/front-door")
    assert service is not None
    assert printed["FRONT_DOOR_SERVICE_HOST"] == service["spec"]["clusterIP"]
    without_links = pairs(await place.run(shy))
    assert "KUBERNETES_SERVICE_HOST" in without_links
    assert not [name for name in without_links if name.startswith("FRONT_DOOR")]


async def test_an_image_brings_its_entry_point_arguments_user_and_folder(place: Place) -> None:
    bare = {"command": None, "image": "guest", "imagePullPolicy": "IfNotPresent"}
    await place.create(
        place.pod("bare", "", container=bare),
        place.pod(
            "told",
            "",
            container={
                **bare,
                "args": ["hello", "$(WHO)"],
                "env": [{"name": "WHO", "value": "you"}],
            },
        ),
        once("shell", "id -u; pwd", place, container={"image": "guest"}),
        once("named", "id -un", place, container={"image": "named"}),
    )
    for name, words in {"bare": "guest: welcome", "told": "guest: hello you"}.items():
        found = await place.ready(name)
        await until(lambda: words in place.output(found), f"{name} prints {words}")  # noqa: B023 - awaited here
    assert place.output(await place.ended("shell")).split() == ["1000", "/tmp"]
    assert place.output(await place.ended("named")).split() == ["nobody"]


async def test_init_containers_run_in_order_and_sidecars_are_there_first_and_last(
    place: Place, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    tell = "echo {0} >> /shared/order"
    obey = f"trap 'sleep 0.3; {tell.format('{0} ends')}; exit 0' TERM"

    def container(name: str, script: str, **more: object) -> Object:
        # Who has told that it is there can be asked to end.
        script = f"{obey}; {tell}; {script}".replace("{0}", name)
        command = ["/bin/sh", "-c", script]
        return {
            "name": name,
            "image": "busybox",
            "command": command,
            "volumeMounts": mounts,
            "imagePullPolicy": "IfNotPresent",
            **more,
        }

    # Nobody may go on before it says so.
    startup = {
        "exec": {"command": ["test", "-e", "/tmp/started"]},
        "periodSeconds": 1,
        "failureThreshold": 30,
    }
    sidecar = container(
        "proxy",
        f"sleep 0.5; {tell.format('proxy started')}; touch /tmp/started; {STAY}",
        restartPolicy="Always",
        startupProbe=startup,
    )
    made = place.pod(
        "ordered",
        "",
        initContainers=[
            container("first", "true"),
            sidecar,
            container("logger", STAY, restartPolicy="Always"),
            container("last", "true"),
        ],
        containers=[container("c", STAY), container("d", STAY)],
        volumes=[{"name": "shared", "hostPath": {"path": str(shared), "type": "Directory"}}],
        terminationGracePeriodSeconds=20,
    )
    await place.create(made)
    found = await place.ready("ordered")
    order = shared / "order"
    await until(lambda: {"c", "d"} <= set(order.read_text().splitlines()), "all have told")
    begun = order.read_text().splitlines()
    assert begun[:5] == ["first", "proxy", "proxy started", "logger", "last"]
    assert sorted(begun[5:]) == ["c", "d"]
    assert state_of(found, "terminated", "first")["reason"] == "Completed"
    assert status_of(found, "first")["ready"]
    assert status_of(found, "proxy")["started"]
    assert status_of(found, "proxy")["ready"]
    assert conditions(found)["Initialized"] == "True"

    await place.api.delete(f"{place.pods}/ordered")
    await place.gone("ordered")
    ended = order.read_text().splitlines()[7:]
    assert sorted(ended[:2]) == ["c ends", "d ends"]
    assert ended[2:] == ["logger ends", "proxy ends"]


async def test_a_pod_that_fails_to_initialise_says_which_container_it_waits_for(
    place: Place,
) -> None:
    broken = {"name": "broken", "image": "busybox", "command": ["/bin/sh", "-c", "exit 3"]}
    await place.create(
        once("stuck", STAY, place, initContainers=[{**broken, "imagePullPolicy": "IfNotPresent"}])
    )
    failed = await place.ended("stuck", "Failed")
    assert state_of(failed, "terminated", "broken")["exitCode"] == 3
    assert state_of(failed, "waiting")["reason"] == "PodInitializing"
    told = next(c for c in failed["status"]["conditions"] if c["type"] == "Initialized")
    assert (told["status"], told["reason"]) == ("False", "ContainersNotInitialized")
    assert "broken" in told["message"]


# --- network and other namespaces ------------------------------------------------------------


async def test_names_are_looked_up_as_the_pod_says(place: Place) -> None:
    show = "cat /etc/resolv.conf; echo ---; cat /etc/hosts; echo ---; hostname; hostname -f"
    own = once(
        "own",
        show,
        place,
        dnsPolicy="None",
        dnsConfig={
            "nameservers": ["192.0.2.53"],
            "searches": ["example.org"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
        },
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["seven", "sieben"]}],
        hostname="chosen",
        subdomain="family",
    )
    whole = once("whole", "hostname", place, subdomain="family", setHostnameAsFQDN=True)
    default = once("default", "cat /etc/resolv.conf", place, dnsPolicy="Default")
    await place.create(own, whole, default)
    resolv, hosts, names = place.output(await place.ended("own")).split("---\n")
    assert set(resolv.splitlines()) == {
        "nameserver 192.0.2.53",
        "search example.org",
        "options ndots:2 edns0",
    }
    domain = f"family.{place.namespace}.svc.cluster.local"
    address = next(line for line in hosts.splitlines() if "chosen" in line)
    assert address.split()[1:] == [f"chosen.{domain}", "chosen"]
    assert address.startswith("10.123.")
    assert "192.0.2.7\tseven\tsieben" in hosts.splitlines()
    assert "127.0.0.1\tlocalhost" in hosts.splitlines()
    assert names.split() == ["chosen", f"chosen.{domain}"]
    assert place.output(await place.ended("whole")).strip() == f"whole.{domain}"
    machine = Path("/etc/resolv.conf").read_text().splitlines()
    servers = [line for line in machine if line.startswith("nameserver")]
    printed = place.output(await place.ended("default")).splitlines()
    assert [line for line in printed if line.startswith("nameserver")] == servers[:3]


async def test_a_host_port_leads_from_the_node_to_the_container(place: Place) -> None:
    port = free_ports(1)[0]
    ports = [{"name": "web", "containerPort": 8080, "hostPort": port}]
    serve = "echo it is me > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"
    await place.create(place.pod("web", serve, container={"ports": ports}))
    found = await place.ready("web")

    def answers(address: str, port: int) -> bool:
        try:
            with socket.create_connection((address, port), timeout=5) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with connection.makefile("rb") as stream:
                    return b"it is me" in stream.read()
        except OSError:
            return False

    status = found["status"]
    await until(lambda: answers(status["podIP"], 8080), "the pod's address answers")
    await until(lambda: answers(status["hostIP"], port), "the node's port answers")
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    # A second pod that wants the same port does not fit beside it.
    await place.create(place.pod("late", STAY, container={"ports": ports}))
    late = await place.ended("late", "Failed")
    assert late["status"]["reason"] == "NodePorts"


async def test_a_pod_may_live_in_the_namespaces_of_the_node(place: Place) -> None:
    show = "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; cat /etc/hosts"
    ours = {n: f"{n}:[{Path(f'/proc/self/ns/{n}').stat().st_ino}]" for n in ("net", "pid", "ipc")}
    host = once("host", show, place, hostNetwork=True, hostPID=True, hostIPC=True)
    own = once("own", show, place)
    printed = (await place.run(host)).splitlines()
    assert set(ours.values()) <= set(printed[:4])
    printed = (await place.run(own)).splitlines()
    assert not set(ours.values()) & set(printed[:4])

    containers = [
        {
            "name": name,
            "image": "busybox",
            "imagePullPolicy": "IfNotPresent",
            "command": ["/bin/sh", "-c", f": {name}; while :; do ps -o pid,args; sleep 0.2; done"],
        }
        for name in ("c", "d")
    ]
    shared = place.pod("shared", "", shareProcessNamespace=True, containers=containers)
    await place.create(shared)
    found = await place.ready("shared")
    await until(
        lambda: ": c;" in place.output(found, "d") and ": d;" in place.output(found),
        "the containers see each other's processes",
    )
    first = next(line for line in place.output(found).splitlines() if line.split()[0] == "1")
    assert "sleep" in first  # what holds the sandbox


# --- rights ------------------------------------------------------------------------------------

SHOW_RIGHTS = """
id -u; id -g; id -G
grep -E '^(CapEff|Seccomp|NoNewPrivs):' /proc/self/status
(touch /written && echo writable) 2>/dev/null || echo read-only
stat -c '%g %a' /data
"""


async def test_a_container_has_the_rights_that_its_security_context_grants(place: Place) -> None:
    volume: Object = {
        "container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        "volumes": [{"name": "data", "emptyDir": {}}],
    }

    def with_rights(name: str, own: Object, **pod_wide: object) -> Object:
        container = {**volume["container"], "securityContext": own}
        return once(
            name,
            SHOW_RIGHTS,
            place,
            container=container,
            volumes=volume["volumes"],
            securityContext=pod_wide,
        )

    strict = {
        "runAsGroup": 3000,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    }
    await place.create(
        with_rights(
            "strict",
            {**strict, "runAsUser": 0},
            runAsUser=2000,
            fsGroup=4000,
            supplementalGroups=[5000],
            seccompProfile={"type": "RuntimeDefault"},
        ),
        with_rights("pod-wide", {}, runAsUser=2000, runAsNonRoot=True),
        with_rights("mighty", {"privileged": True}),
    )
    lines = place.output(await place.ended("strict")).splitlines()
    assert lines[:2] == ["0", "3000"]
    assert set(lines[2].split()) == {"3000", "4000", "5000"}
    facts = pairs("\n".join(lines), ":\t")
    assert int(facts["CapEff"], 16) == 1 << 10
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1")
    assert "read-only" in lines
    assert lines[-1].split()[0] == "4000"
    assert int(lines[-1].split()[1], 8) & 0o2070 == 0o2070

    lines = place.output(await place.ended("pod-wide")).splitlines()
    assert lines[:2] == ["2000", "0"]
    facts = pairs("\n".join(lines), ":\t")
    assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("0", "0")

    lines = place.output(await place.ended("mighty")).splitlines()
    facts = pairs("\n".join(lines), ":\t")
    ours = pairs(Path("/proc/self/status").read_text(), ":\t")
    assert facts["CapEff"] == ours["CapBnd"]
    assert "writable" in lines


async def test_what_must_not_run_as_root_is_refused_in_words(place: Place) -> None:
    await place.create(
        place.pod("rooted", STAY, securityContext={"runAsNonRoot": True}),
        place.pod(
            "nameless",
            STAY,
            container={"image": "named"},
            securityContext={"runAsNonRoot": True},
        ),
    )
    expected = {
        "rooted": "container has runAsNonRoot and image will run as root",
        "nameless": "container has runAsNonRoot and image has non-numeric user (nobody), "
        "cannot verify user is non-root",
    }
    for name, words in expected.items():
        found = await place.wait(
            name,
            lambda p: state_of(p, "waiting").get("reason") == "CreateContainerConfigError",
            "the container is refused",
        )
        assert words in state_of(found, "waiting")["message"]
        assert found["status"]["phase"] == "Pending"
        event = await place.event(found, "Failed", words)
        assert event["type"] == "Warning"


# --- resources ---------------------------------------------------------------------------------


def cgroup_of(pid: int, controller: str) -> Path:
    """The cgroup of a process, in whichever version this machine has."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            return HIERARCHY / controller / path.lstrip("/")
        if names == "" and (HIERARCHY / "cgroup.controllers").exists():
            return HIERARCHY / path.lstrip("/")
    raise LookupError(controller)


def limits_of(pid: int, *, of_pod: bool) -> dict[str, int]:
    """What a container's or its pod's cgroup is set to."""
    cpu, memory = cgroup_of(pid, "cpu"), cgroup_of(pid, "memory")
    if of_pod:
        cpu, memory = cpu.parent, memory.parent
    if (memory / "memory.max").exists():
        quota = (cpu / "cpu.max").read_text().split()[0]
        return {"quota": int(quota), "memory": int((memory / "memory.max").read_text())}
    return {
        "quota": int((cpu / "cpu.cfs_quota_us").read_text()),
        "memory": int((memory / "memory.limit_in_bytes").read_text()),
    }


async def process_of(pod: Object) -> int:
    """Return the process of a pod that knows who it is.

    It is Ready as soon as the engine has started it, which may be before it has its environment.
    """
    found: list[int] = []

    def is_there() -> bool:
        with suppress(LookupError):
            found.append(process_with("WHO_AM_I", pod["metadata"]["uid"]))
        return bool(found)

    await until(is_there, "the process is there")
    return found[0]


async def test_resources_become_limits_of_the_container_and_its_pod_and_are_enforced(
    place: Place,
) -> None:
    some = {"cpu": "100m", "memory": "64Mi"}
    variable = {"env": [{"name": "WHO_AM_I", "valueFrom": field("metadata.uid")}]}
    resources: dict[str, Object] = {
        "guaranteed": {"limits": some},
        "burstable": {"requests": {"memory": "64Mi"}, "limits": {"cpu": "200m"}},
        "besteffort": {},
    }
    await place.create(
        *(
            place.pod(name, STAY, container={**variable, "resources": wanted})
            for name, wanted in resources.items()
        )
    )
    limit = {"limits": {"memory": "16Mi"}}
    await place.create(once("greedy", "tail /dev/zero", place, container={"resources": limit}))
    found = {name: await place.ready(name) for name in resources}
    pids = {name: await process_of(each) for name, each in found.items()}
    assert {name: each["status"]["qosClass"] for name, each in found.items()} == {
        "guaranteed": "Guaranteed",
        "burstable": "Burstable",
        "besteffort": "BestEffort",
    }
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    scores = {
        name: int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for name, pid in pids.items()
    }
    assert scores["besteffort"] == 1000
    assert scores["burstable"] == min(999, 1000 - 1000 * (64 << 20) // memory_bytes)
    # Where the engine itself may not go so low, its own score is the lowest there is.
    own = int(Path("/proc/self/oom_score_adj").read_text())
    assert scores["guaranteed"] in {-997, own}
    limited = {"quota": 10_000, "memory": 64 << 20}
    assert limits_of(pids["guaranteed"], of_pod=False) == limited
    assert limits_of(pids["guaranteed"], of_pod=True) == limited
    assert limits_of(pids["burstable"], of_pod=False)["quota"] == 20_000
    parents = {name: cgroup_of(pid, "memory").parent.parent.name for name, pid in pids.items()}
    assert parents == {
        "guaranteed": "kubepods",
        "burstable": "burstable",
        "besteffort": "besteffort",
    }
    ended = state_of(await place.ended("greedy", "Failed"), "terminated")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


# --- what the node does not take ---------------------------------------------------------------


async def test_what_the_node_cannot_do_or_has_no_room_for_is_said_in_words(place: Place) -> None:
    classes = "/apis/node.k8s.io/v1/runtimeclasses"
    name = f"{place.namespace}-class"
    await place.api.create(classes, {"metadata": {"name": name}, "handler": "other"})
    try:
        await place.create(
            place.pod("special", STAY, runtimeClassName=name),
            place.pod("large", STAY, container={"resources": {"requests": {"cpu": "1000"}}}),
        )
        large = await place.ended("large", "Failed")
        assert large["status"]["reason"] == "OutOfcpu"
        assert large["status"]["message"].startswith(
            "Pod was rejected: Node didn't have enough resource: cpu, "
            "requested: 1000000, used: 0, capacity: "
        )
        assert (await place.event(large, "OutOfcpu"))["type"] == "Warning"
        words = f'runtime classes ("{name}") are not supported by this node'
        special = await place.api.get(f"{place.pods}/special")
        assert special is not None
        await place.event(special, "FailedCreatePodSandBox", words)
        special = await place.wait(
            "special",
            lambda p: conditions(p).get("PodReadyToStartContainers") == "False",
            "the condition says that there is no sandbox",
        )
        told = {c["type"]: c for c in special["status"]["conditions"]}
        assert words in told["PodReadyToStartContainers"]["message"]
        assert special["status"]["phase"] == "Pending"
    finally:
        await place.api.delete(f"{classes}/{name}")
