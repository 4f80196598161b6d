"""Metrics for ``kubectl top``, read back by Prometheus' own parser."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from common.names import UID
from edgecore.edged.local.resourcemetrics import resource_metrics
from edgecore.edged.local.stats import Sample
from edgecore.edged.runtime.base import ContainerStats, PodStats
from tests.edgecore.edged.bus import START
from tests.edgecore.edged.local.test_stats import sample


def read(text: str) -> dict[tuple[str, ...], Any]:
    return {
        (one.name, *(one.labels[key] for key in sorted(one.labels))): one
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_all_figures_have_kubelets_names_labels_and_moments() -> None:
    found = read(resource_metrics(sample(10, 5.0, a=2 * 10**9, b=10**9)))
    values = {key: one.value for key, one in found.items()}
    assert values == {
        ("node_cpu_usage_seconds_total",): 5.0,
        ("node_memory_working_set_bytes",): 30,
        ("container_start_time_seconds", "a", "default", "web"): START.timestamp(),
        ("container_cpu_usage_seconds_total", "a", "default", "web"): 2.0,
        ("container_cpu_usage_seconds_total", "b", "default", "web"): 1.0,
        ("container_memory_working_set_bytes", "a", "default", "web"): 100,
        ("container_memory_working_set_bytes", "b", "default", "web"): 100,
        ("pod_cpu_usage_seconds_total", "default", "web"): 3.0,
        ("pod_memory_working_set_bytes", "default", "web"): 200,
        ("scrape_error",): 0,
        ("resource_scrape_error",): 0,
    }
    labels = found["pod_cpu_usage_seconds_total", "default", "web"].labels
    assert labels == {"namespace": "default", "pod": "web"}
    assert found["node_cpu_usage_seconds_total",].timestamp == START.timestamp() + 10
    assert found["container_start_time_seconds", "a", "default", "web"].timestamp is None


def test_each_family_stands_once_and_says_what_it_is() -> None:
    text = resource_metrics(sample(10, 5.0, a=1, b=2))
    assert text.count("# TYPE container_cpu_usage_seconds_total counter\n") == 1
    assert text.count("# HELP ") == text.count("# TYPE ") == 9


def test_an_error_is_a_metric_too() -> None:
    values = {key: one.value for key, one in read(resource_metrics(None)).items()}
    assert values == {("scrape_error",): 1, ("resource_scrape_error",): 1}


def test_no_name_breaks_a_line() -> None:
    containers = (ContainerStats('a"\\\n', START, 1, 2),)
    pods = (PodStats(UID("u"), "default", "web", containers), PodStats(UID("v"), "default", "no"))
    found = read(resource_metrics(Sample(sample().node, pods)))
    assert ("container_memory_working_set_bytes", 'a"\\\n', "default", "web") in found
    assert ("pod_memory_working_set_bytes", "default", "no") not in found
