"""The list of metrics, the dashboard and the rules, against what both daemons really show.

Real: all instruments of both daemons, the files in deploy/monitoring. No Prometheus, no Grafana:
that an expression means what it should is for people to judge, that it names what there is is not.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from cloudcore.metrics import CloudMetrics
from deploy.monitoring import reference
from deploy.monitoring.reference import Entry

FOLDER = Path(reference.__file__).parent
OURS = re.compile(r"\b(?:cloudcore|edgecore|process|KubeEdge)_\w+")
SELECTED = re.compile(r"\b((?:cloudcore|edgecore|process|KubeEdge)_\w+)\{([^}]*)\}")
GROUPED = re.compile(r"\bby\s*\(([^)]*)\)")
OF_PROMETHEUS = {"job", "instance", "le"}


def entries() -> list[Entry]:
    return reference.of_cloudcore() + reference.of_edgecore()


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return found


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in panels():
        for target in panel.get("targets", ()):
            yield target["expr"]


def labels_of(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that is named, with the labels that are asked of it."""
    selected = dict(SELECTED.findall(expression))
    grouped = {label.strip() for group in GROUPED.findall(expression) for label in group.split(",")}
    for name in OURS.findall(expression):
        chosen = {part.partition("=")[0].strip("!~ ") for part in selected.get(name, "").split(",")}
        yield name, (chosen | grouped) - {""}


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.REFERENCE.read_text(encoding="utf-8") == reference.render(), (
        "run `make metrics`"
    )


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    for one in entries():
        assert re.fullmatch(r"(cloudcore|edgecore|process|KubeEdge)_\w+", one.name)
        assert not one.name.endswith(("_total", "_ms", "_milliseconds", "_mib")), one
        assert one.text.endswith("."), one


def test_there_are_enough_of_our_own_and_none_twice() -> None:
    for found in (reference.of_cloudcore(), reference.of_edgecore()):
        names = [one.name for one in found]
        assert len(names) == len(set(names))
        assert sum(not name.startswith("process_") for name in names) >= 15
    assert sum(not one.name.startswith("process_") for one in entries()) >= 50


def test_no_label_tells_nodes_apart() -> None:
    # A time series for each of ten thousand nodes is what brings a Prometheus down.
    assert {label for one in entries() for label in one.labels}.isdisjoint({"node", "pod", "name"})


@pytest.mark.parametrize("expression", sorted(set(expressions())))
def test_each_expression_names_what_there_is(expression: str) -> None:
    known = {sample: one for one in entries() for sample in one.samples}
    named = list(labels_of(expression))
    assert named or "up{" in expression
    labels: set[str] = set()
    for name, asked in named:
        assert name in known, f"{name} is no metric"
        labels |= set(known[name].labels)
        assert asked <= labels | OF_PROMETHEUS, f"{asked} of {name}"


def test_a_name_or_a_label_that_is_wrong_would_be_noticed() -> None:
    found = list(labels_of('sum by (le, code) (rate(cloudcore_x_total{verb!="GET"}[5m]))'))
    assert found == [("cloudcore_x_total", {"verb", "code", "le"})]


def test_what_the_library_shows_has_these_names() -> None:
    registry = CollectorRegistry()
    metrics = CloudMetrics(registry)
    metrics.refused.inc("revoked")
    metrics.ack_seconds.observe(0.1)
    shown = {
        line.partition(" ")[0].partition("{")[0]
        for line in generate_latest(registry).decode().splitlines()
        if not line.startswith("#")
    }
    assert shown <= {sample for one in entries() for sample in one.samples}


def test_each_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_each_alert_is_explained_to_people() -> None:
    page = (FOLDER.parents[1] / "docs" / "how-to" / "monitor.md").read_text()
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in page] == []


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + dx, place["y"] + dy)
            for dx in range(place["w"])
            for dy in range(place["h"])
        }
        assert not cells & taken
        taken |= cells
