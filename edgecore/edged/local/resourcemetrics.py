"""What node, pods and containers take, for Prometheus and for ``kubectl top``. Pure.

The text of ``/metrics/resource``. Each figure carries the moment when it was taken, in
milliseconds: whoever scrapes makes rates of them.

Source: Kubernetes pkg/kubelet/metrics/collectors/resource_metrics.go, for names and labels;
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from edgecore.edged.local.stats import Sample
from edgecore.edged.runtime.base import PodStats

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_COUNTER: Final = "counter"
_GAUGE: Final = "gauge"
_NS: Final = 10**9

_FAMILIES: Final = (
    ("node_cpu_usage_seconds_total", _COUNTER, "CPU time that the machine took, in seconds."),
    ("node_memory_working_set_bytes", _GAUGE, "Memory that the machine needs now."),
    ("container_start_time_seconds", _GAUGE, "When the container was started."),
    ("container_cpu_usage_seconds_total", _COUNTER, "CPU time that the container took."),
    ("container_memory_working_set_bytes", _GAUGE, "Memory that the container needs now."),
    ("pod_cpu_usage_seconds_total", _COUNTER, "CPU time that the pod's containers took."),
    ("pod_memory_working_set_bytes", _GAUGE, "Memory that the pod's containers need now."),
    ("scrape_error", _GAUGE, "1 if the runtime could not be asked."),
    ("resource_scrape_error", _GAUGE, "1 if the runtime could not be asked."),
)


def resource_metrics(sample: Sample | None) -> str:
    """Return the metrics of ``sample``; of None, that there was an error."""
    found: dict[str, list[str]] = {name: [] for name, _, _ in _FAMILIES}
    for name, line in _lines(sample) if sample is not None else ():
        found[name].append(line)
    error = 0 if sample is not None else 1
    for name in ("scrape_error", "resource_scrape_error"):
        found[name].append(f"{name} {error}")
    blocks = (
        "\n".join((f"# HELP {name} {text}", f"# TYPE {name} {kind}", *found[name], ""))
        for name, kind, text in _FAMILIES
        if found[name]
    )
    return "".join(blocks)


def _lines(sample: Sample) -> Iterator[tuple[str, str]]:
    node = sample.node
    yield _timed("node_cpu_usage_seconds_total", {}, node.cpu_core_ns / _NS, node.at)
    yield _timed("node_memory_working_set_bytes", {}, node.memory_working_set, node.at)
    for pod in sample.pods:
        yield from _pod_lines(pod, sample)


def _pod_lines(pod: PodStats, sample: Sample) -> Iterator[tuple[str, str]]:
    about = {"namespace": pod.namespace, "pod": pod.name}
    for one in pod.containers:
        labels = {"container": one.name, **about}
        cpu, memory = one.cpu_core_ns / _NS, one.memory_working_set
        if (started := sample.starts.get((pod.uid, one.name))) is not None:
            name = "container_start_time_seconds"
            yield name, f"{name}{_labels(labels)} {started.timestamp()!r}"
        yield _timed("container_cpu_usage_seconds_total", labels, cpu, one.at)
        yield _timed("container_memory_working_set_bytes", labels, memory, one.at)
    if pod.containers:
        at = max(one.at for one in pod.containers)
        cpu = sum(one.cpu_core_ns for one in pod.containers) / _NS
        memory = sum(one.memory_working_set for one in pod.containers)
        yield _timed("pod_cpu_usage_seconds_total", about, cpu, at)
        yield _timed("pod_memory_working_set_bytes", about, memory, at)


def _timed(name: str, labels: dict[str, str], value: float, at: datetime) -> tuple[str, str]:
    return name, f"{name}{_labels(labels)} {value!r} {round(at.timestamp() * 1000)}"


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
