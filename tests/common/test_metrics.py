"""Both daemons count the same things under their own names. Real prometheus_client shows them."""

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from common.metrics import (
    About,
    Figures,
    Level,
    LevelByLabel,
    MessageMetrics,
    Reading,
    Spread,
    SpreadByLabel,
    Tally,
    TallyByLabel,
    TallyByLabels,
)


def shown(figures: Figures) -> list[str]:
    text = generate_latest(figures).decode()
    assert list(text_string_to_metric_families(text))  # it is what Prometheus reads
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_each_daemon_counts_under_its_own_name() -> None:
    figures = Figures()
    metrics = MessageMetrics(figures, "edgecore")
    metrics.dropped.inc("late_reply")
    metrics.received_bytes.inc(10)
    assert 'edgecore_messages_dropped_total{reason="late_reply"} 1.0' in shown(figures)
    assert "edgecore_received_bytes_total 10.0" in shown(figures)


def test_two_daemons_in_one_process_do_not_share_counters() -> None:
    one, other = (MessageMetrics(Figures(), "edgecore") for _ in range(2))
    one.acknowledged.inc()
    assert other.acknowledged.value == 0


def test_what_is_counted_by_label_is_shown_by_label() -> None:
    figures = Figures()
    by_one = TallyByLabel("sent", "Sent.", "operation", figures)
    by_two = TallyByLabels("asked", "Asked.", ("verb", "code"), figures)
    for operation in ("query", "query", "insert"):
        by_one.inc(operation)
    by_two.inc("GET", "200")
    assert (by_one.value_of("query"), by_one.value_of("other")) == (2, 0)
    assert (by_two.value_of("GET", "200"), by_two.value_of("GET", "404")) == (1, 0)
    assert shown(figures) == [
        'sent_total{operation="query"} 2.0',
        'sent_total{operation="insert"} 1.0',
        'asked_total{code="200",verb="GET"} 1.0',
    ]


def test_what_is_counted_is_a_counter_for_prometheus() -> None:
    registry = CollectorRegistry()  # of the library itself
    Tally("acknowledged", "Acknowledged.", registry).inc(3)
    assert "# TYPE acknowledged_total counter" in generate_latest(registry).decode()
    assert registry.get_sample_value("acknowledged_total") == 3


def test_levels_rise_and_fall() -> None:
    figures = Figures()
    one, many = Level("l", "L.", figures), LevelByLabel("m", "M.", "phase", figures)
    one.set(5)
    one.inc()
    one.dec(2)
    many.set("Running", 3)
    assert shown(figures) == ["l 4.0", 'm{phase="Running"} 3.0']


def test_a_reading_is_taken_when_somebody_asks() -> None:
    figures, level, phases = Figures(), 1.0, {"Running": 2.0}
    Reading(About("one", "One.", "gauge"), figures, lambda: level)
    Reading(About("many", "Many.", "counter", ("phase",)), figures, lambda: phases)
    Reading(About("none", "Not known yet.", "gauge"), figures)
    level, phases["Failed"] = 3, 1
    assert shown(figures) == [
        "one 3.0",
        'many_total{phase="Running"} 2.0',
        'many_total{phase="Failed"} 1.0',
    ]


def test_a_histogram_counts_up_to_each_bound_with_the_bound_itself() -> None:
    figures = Figures()
    spread = Spread("s", "Seconds.", (0.1, 1.0), figures)
    for number in (0.1, 0.2, 5.0):
        spread.observe(number)
    assert spread.count == 3
    assert shown(figures) == [
        's_bucket{le="0.1"} 1.0',
        's_bucket{le="1.0"} 2.0',
        's_bucket{le="+Inf"} 3.0',
        "s_count 3.0",
        "s_sum 5.3",
    ]


def test_time_is_taken_by_label_also_of_what_fails() -> None:
    figures = Figures()
    spread = SpreadByLabel("s", "Seconds.", "type", (60.0,), figures)
    with spread.time("pod"):
        pass
    with pytest.raises(KeyError), spread.time("pod"):
        raise KeyError
    assert 's_count{type="pod"} 2.0' in shown(figures)


def test_nothing_of_the_library_is_imported_before_somebody_asks() -> None:
    program = (
        "import sys, common.metrics, common.monitor; print('prometheus_client' in sys.modules)"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    assert output == "False\n"
