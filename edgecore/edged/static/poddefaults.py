"""What the API server fills in where a Pod says nothing, for pods that it never sees. Pure.

A pod that comes from a file must look to the rest of edged like one that came through the cloud.

Source: Kubernetes pkg/apis/core/v1/defaults.go.
"""

from collections.abc import Mapping
from typing import Any, Final

from edgecore.edged.podview import DEFAULT_GRACE_S, Object

_FILE_MODE: Final = 0o644

_SPEC: Final[Mapping[str, Any]] = {
    "restartPolicy": "Always",
    "dnsPolicy": "ClusterFirst",
    "terminationGracePeriodSeconds": DEFAULT_GRACE_S,
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
}
_CONTAINER: Final = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE: Final = {
    "timeoutSeconds": 1,
    "periodSeconds": 10,
    "successThreshold": 1,
    "failureThreshold": 3,
}
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS: Final = ("postStart", "preStop")
_MODED: Final = ("configMap", "secret", "projected", "downwardAPI")


def defaulted(pod: Object) -> dict[str, Any]:
    """Return ``pod`` with all fields that the API server would have filled in.

    Numbers where quantities stand become text, as they come back from the API server.

    Args:
        pod: a Pod of the right shape; it is not changed.
    """
    spec = dict(pod["spec"])
    host_network = bool(spec.get("hostNetwork"))
    for name in ("containers", "initContainers"):
        if name in spec:
            spec[name] = [_container(one, host_network=host_network) for one in spec[name]]
    if "volumes" in spec:
        spec["volumes"] = [_volume(volume) for volume in spec["volumes"]]
    return {**pod, "spec": {**_SPEC, "securityContext": {}, **spec}}


def pull_policy(image: str) -> str:
    """Return when an image is pulled whose container does not say it.

    Source: https://kubernetes.io/docs/concepts/containers/images/#image-pull-policy
    """
    name, _, digest = image.partition("@")
    _, _, tag = name.rpartition("/")[2].partition(":")
    is_latest = tag == "latest" or not (tag or digest)
    return "Always" if is_latest else "IfNotPresent"


def _container(container: Object, *, host_network: bool) -> dict[str, Any]:
    made = {**_CONTAINER, "imagePullPolicy": pull_policy(container["image"]), **container}
    made["resources"] = _resources(container.get("resources") or {})
    if "ports" in container:
        made["ports"] = [_port(port, host_network=host_network) for port in container["ports"]]
    if "env" in container:
        made["env"] = [_variable(variable) for variable in container["env"]]
    for name in _PROBES:
        if name in container:
            made[name] = _probe(container[name])
    if "lifecycle" in container:
        hooks = container["lifecycle"]
        made["lifecycle"] = hooks | {name: _handler(hooks[name]) for name in _HOOKS & hooks.keys()}
    return made


def _probe(probe: Object) -> dict[str, Any]:
    made = _handler(probe)
    return made | {name: made.get(name) or value for name, value in _PROBE.items()}


def _resources(resources: Object) -> dict[str, Any]:
    """Return the resources with a request for each limit."""
    limits, requests = _quantities(resources, "limits"), _quantities(resources, "requests")
    requests = {**limits, **requests}
    changed = {name: value for name, value in (("limits", limits), ("requests", requests)) if value}
    return {**resources, **changed}


def _quantities(resources: Object, name: str) -> dict[str, str]:
    return {key: str(value) for key, value in (resources.get(name) or {}).items()}


def _port(port: Object, *, host_network: bool) -> dict[str, Any]:
    made = {"protocol": "TCP", **port}
    if host_network and not made.get("hostPort"):
        made["hostPort"] = port["containerPort"]
    return made


def _variable(variable: Object) -> dict[str, Any]:
    if "valueFrom" not in variable:
        return dict(variable)
    return {**variable, "valueFrom": _with_refs(variable["valueFrom"])}


def _with_refs(source: Object) -> dict[str, Any]:
    """Return what stands for a field of the pod, with what such a reference needs."""
    made = dict(source)
    if "fieldRef" in made:
        made["fieldRef"] = {"apiVersion": "v1", **made["fieldRef"]}
    if "resourceFieldRef" in made:
        ref = made["resourceFieldRef"]
        made["resourceFieldRef"] = {**ref, "divisor": str(ref.get("divisor", 0))}
    return made


def _handler(handler: Object) -> dict[str, Any]:
    made = dict(handler)
    if "httpGet" in made:
        made["httpGet"] = {"path": "/", "scheme": "HTTP", **made["httpGet"]}
    if "grpc" in made:
        made["grpc"] = {"service": "", **made["grpc"]}
    return made


def _volume(volume: Object) -> dict[str, Any]:
    made = dict(volume)
    if not made.keys() - {"name"}:
        made["emptyDir"] = {}
    if "sizeLimit" in (made.get("emptyDir") or {}):
        made["emptyDir"] = {**made["emptyDir"], "sizeLimit": str(made["emptyDir"]["sizeLimit"])}
    if "hostPath" in made:
        made["hostPath"] = {"type": "", **made["hostPath"]}
    for kind in _MODED:
        if kind in made:
            made[kind] = {"defaultMode": _FILE_MODE, **made[kind]}
    if "downwardAPI" in made:
        made["downwardAPI"]["items"] = _items(made["downwardAPI"])
    if "projected" in made:
        sources = made["projected"].get("sources") or ()
        made["projected"]["sources"] = [_source(one) for one in sources]
    return made


def _source(source: Object) -> dict[str, Any]:
    if "downwardAPI" not in source:
        return dict(source)
    return {**source, "downwardAPI": {"items": _items(source["downwardAPI"])}}


def _items(downward: Object) -> list[dict[str, Any]]:
    return [_with_refs(item) for item in downward.get("items") or ()]
