"""``edgecore import`` and then ``edgecore run``, offline, as processes of their own."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edgecore.kubeedge.certificate import read_certificate
from edgecore.kubeedge.command import words
from edgecore.kubeedge.importing import Report
from tests.edgecore.cloud import until
from tests.edgecore.kubeedge.kubeedge import (
    CONFIGMAP,
    NODE,
    OTHERS,
    SECRET,
    a_pod,
    make_certificate,
    make_database,
    row,
    state_of,
)
from tests.edgecore.test_cli import OFFLINE, edgecore, finished

NOW = datetime.now(UTC)


def imported(tmp_path: Path, *more: str) -> tuple[int, str, str]:
    files = make_certificate(tmp_path / "certs", NOW)
    return finished(
        "import",
        *("--from", str(tmp_path / "kubeedge" / "edgecore.db")),
        *("--data-dir", str(tmp_path / "edge")),
        *("--certificate", str(files.certificate)),
        *("--key", str(files.key)),
        *("--authority", str(files.authority)),
        *more,
    )


def pod_that_writes(file: Path) -> dict[str, object]:
    env = [
        {"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
        {"name": "G", "valueFrom": {"configMapKeyRef": {"name": "web", "key": "greeting"}}},
    ]
    command = ["/bin/sh", "-c", f'printf %s "$G $P" > {file}.new; mv {file}.new {file}']
    pod = a_pod(command=command, env=env)
    pod["spec"]["restartPolicy"] = "Never"
    return pod


@pytest.mark.timeout(120)
async def test_an_edge_that_starts_without_a_cloud_runs_the_pods_that_kubeedge_knew(
    tmp_path: Path,
) -> None:
    written = tmp_path / "written"
    source = tmp_path / "kubeedge" / "edgecore.db"
    make_database(source, [row(pod_that_writes(written)), row(CONFIGMAP), row(SECRET), *OTHERS])
    before = state_of(source.parent)
    code, output, errors = imported(tmp_path)
    assert (code, errors) == (0, "")
    assert output.splitlines() == [
        "taken over: configmap 1, pod 1, secret 1",
        "not taken, of other types: node 1, podpatch 1, serviceaccounttoken 1",
        f"the certificate of node {NODE}: run with this --node-name",
    ]
    assert state_of(source.parent) == before
    arguments = ("--node-name", NODE, "--data-dir", str(tmp_path / "edge"), "--runtime", "process")
    with edgecore("run", *arguments, *OFFLINE) as process:
        try:
            await until(written.exists)
        finally:
            process.terminate()
            _, log = process.communicate(timeout=30)
    assert written.read_text() == "hello hunter2"
    assert "hunter2" not in log
    code, output, errors = imported(tmp_path)
    assert code == 2
    assert "holds 3 stored objects" in errors
    assert imported(tmp_path, "--force")[0] == 0


def test_what_is_left_out_is_named_and_is_no_failure(tmp_path: Path) -> None:
    broken = ("default/secret/broken", "secret", '{"data": "aHVudGVyMg')
    make_database(tmp_path / "kubeedge" / "edgecore.db", [broken])
    code, output, errors = imported(tmp_path)
    assert code == 0
    assert output.startswith("taken over: configmap 0, pod 0, secret 0\n")
    assert errors.startswith("left out: default/secret/broken: ")
    assert "aHVudGVyMg" not in errors


def test_the_places_may_be_told_by_kubeedges_own_file(tmp_path: Path) -> None:
    make_database(tmp_path / "kubeedge" / "edgecore.db", [row(CONFIGMAP)])
    files = make_certificate(tmp_path / "certs", NOW)
    config = tmp_path / "edgecore.yaml"
    hub = f"tlsCertFile: {files.certificate}, tlsPrivateKeyFile: {files.key}"
    config.write_text(
        "apiVersion: edgecore.config.kubeedge.io/v1alpha2\n"
        f"database: {{dataSource: {tmp_path / 'kubeedge' / 'edgecore.db'}}}\n"
        f"modules: {{edgeHub: {{{hub}, tlsCaFile: {files.authority}}}}}\n"
    )
    arguments = ("import", "--config", str(config), "--data-dir", str(tmp_path / "edge"))
    code, output, errors = finished(*arguments)
    assert (code, errors) == (0, "")
    assert f"the certificate of node {NODE}" in output
    config.write_text("modules: {}\n")
    code, _, errors = finished(*arguments)
    assert code == 2
    assert errors.startswith(f"edgecore: {config}: apiVersion: expected edgecore.config")


def test_a_source_that_is_not_there_is_said(tmp_path: Path) -> None:
    code, _, errors = imported(tmp_path)
    assert code == 1
    assert errors.strip().endswith("edgecore.db: cannot be read: No such file or directory")


def test_what_was_known_better_and_a_certificate_that_has_expired_are_said(tmp_path: Path) -> None:
    found = read_certificate(make_certificate(tmp_path, NOW, lifetime=timedelta(days=1)))
    stale = ("default/pod/a", "default/pod/b")
    report = Report(Counter(pod=1), stale, (), Counter(), found)
    said = list(words(report, NOW + timedelta(days=9)))
    assert said[1] == "known here in newer versions: default/pod/a, default/pod/b"
    assert said[3].startswith("it has expired on ")
    without = Report(Counter(pod=1), (), (), Counter(), None)
    assert list(words(without, NOW))[1].startswith("no certificate was found")
