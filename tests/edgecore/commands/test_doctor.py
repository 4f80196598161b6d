"""``edgecore doctor`` as typed: a real folder, and a cloud that is not there."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from edgecore.commands.doctor import doctor_command


def run(*arguments: str) -> Result:
    commands = typer.Typer()
    commands.command()(doctor_command())
    return CliRunner().invoke(commands, ["--data-dir=/nowhere/edge", *arguments])


def verdicts(result: Result) -> dict[str, str]:
    return {one["name"]: one["verdict"] for one in json.loads(result.output)["findings"]}


def test_what_fails_makes_it_end_with_3_and_says_the_fix() -> None:
    result = run("--cloud=no-such-host.invalid", "--runtime=hollow")
    assert result.exit_code == 3
    assert "FAIL  name of the cloud: no-such-host.invalid is not resolved" in result.output
    assert "fix: mend --cloud" in result.output


def test_programs_get_json() -> None:
    result = run("--json", "--cloud=no-such-host.invalid", "--runtime=hollow")
    found = verdicts(result)
    assert found["configuration"] == "OK"
    assert found["name of the cloud"] == "FAIL"
    assert "container engine" not in found


def test_a_faulty_configuration_is_a_finding_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text("no-such-option: 1\n")
    result = run("--json", f"--config={file}")
    assert result.exit_code == 3
    found = json.loads(result.output)["findings"]
    faults = [one["found"] for one in found if one["name"] == "configuration"]
    assert any("no_such_option" in fault or "no-such-option" in fault for fault in faults)
    (folder,) = [one for one in found if one["name"] == "data folder"]
    assert "/nowhere/edge" in folder["found"]


def test_a_file_that_is_no_configuration_at_all_is_a_finding(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text("[")
    assert verdicts(run("--json", f"--config={file}"))["configuration"] == "FAIL"


def test_what_should_be_known_of_the_configuration_is_told(tmp_path: Path) -> None:
    file = tmp_path / "edgecore.yaml"
    file.write_text(
        "apiVersion: edgecore.config.kubeedge.io/v1alpha2\nkind: EdgeCore\n"
        "modules:\n  edgeHub: {websocket: {server: 'no-such-host.invalid:1'}}\n"
        "  edgeStream: {enable: true}\n"
    )
    result = run("--json", f"--config={file}", "--runtime=hollow")
    found = json.loads(result.output)["findings"]
    notes = [one for one in found if one["name"] == "configuration" and one["verdict"] == "WARN"]
    assert notes, found
