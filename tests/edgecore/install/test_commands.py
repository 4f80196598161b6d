"""join and reset on the command line, in a folder instead of the machine; nothing is started."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from common.errors import ConfigError, EdgeError
from edgecore.commands.tree import commands
from edgecore.edged.runtime.base import Runtime
from edgecore.install import commands as commands_module
from edgecore.install import slots
from edgecore.install.commands import EXIT_REFUSED, command_of, install_bundle, options_of
from edgecore.install.machine import Machine
from edgecore.install.paperwork import configuration
from tests.edgecore.cloud import HOST, TestCloud
from tests.edgecore.install.bundles import make_bundle
from tests.edgecore.install.test_joining import CONFIG, DATA_DIR, silent


def call(arguments: Sequence[str], given: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(commands(), list(arguments), input=given)
    if isinstance(result.exception, ConfigError):
        raise result.exception
    return result.exit_code, result.output


def test_options_are_those_of_edgecore_run() -> None:
    found = options_of({"cloud": "c", "labels": None}, ["max-pods=7", "node_ip=a=b"], Path("/d"))
    assert found == {"cloud": "c", "max_pods": "7", "node_ip": "a=b", "data_dir": "/d"}


@pytest.mark.parametrize("one", ["max_pods", "token=x", "token-file=x", "data_dir=/x", "cloud=x"])
def test_an_option_that_is_none_or_has_a_flag_is_refused(one: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        options_of({"cloud": "c"}, [one], Path("/d"))


def test_an_unknown_option_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max-pots: unknown option; did you mean max-pods"):
        call(["join", "c", f"--root={tmp_path}", "--set", "max_pots=7"])
    assert list(tmp_path.iterdir()) == []


def test_what_runs_edgecore_is_this_program_or_the_launcher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [here] = command_of(is_bundled=False)
    assert here.endswith("/bin/edgecore")
    assert command_of(is_bundled=True) == ("/opt/cloudedge/edgecore",)
    monkeypatch.setattr("sys.prefix", "/opt/cloudedge/slots/1.0")
    assert command_of(is_bundled=False) == ("/opt/cloudedge/edgecore",)


async def test_a_machine_joins_by_a_token_on_standard_input_and_is_taken_away_again(
    tmp_path: Path,
) -> None:
    (tmp_path / "cloud").mkdir()
    cloud = TestCloud(tmp_path / "cloud")
    root = tmp_path / "root"
    async with cloud.listening(silent):
        arguments = [
            "join",
            HOST,
            "--token-file=-",
            "--node-name=n1",
            "--runtime=hollow",
            "--label=a=b",
            f"--set=websocket_port={cloud.websocket_port}",
            f"--set=https_port={cloud.https_port}",
            f"--root={root}",
        ]
        code, output = await asyncio.to_thread(call, arguments, cloud.token)
    assert code == 0, output
    assert "enrolled: node n1" in output
    assert cloud.token not in output
    machine = Machine(root)
    written = yaml.safe_load(machine.path(CONFIG).read_text())
    assert written == {
        "cloud": HOST,
        "node_name": "n1",
        "runtime": "hollow",
        "labels": {"a": "b"},
        "websocket_port": str(cloud.websocket_port),
        "https_port": str(cloud.https_port),
        "data_dir": str(DATA_DIR),
    }
    asked = await asyncio.to_thread(call, ["reset", f"--root={root}"], "n\n")
    assert asked[0] == EXIT_REFUSED
    assert "Take edgecore of node n1 from this machine?" in asked[1]
    assert machine.path(CONFIG).exists()
    assert (await asyncio.to_thread(call, ["reset", f"--root={root}"], ""))[0] == EXIT_REFUSED
    assert (await asyncio.to_thread(call, ["reset", f"--root={root}", "--yes"]))[0] == 0
    assert not machine.path(CONFIG).exists()
    assert not machine.path(DATA_DIR).exists()
    code, output = await asyncio.to_thread(call, ["reset", f"--root={root}", "--yes"])
    assert (code, "has not joined" in output) == (0, True)


async def test_a_second_join_keeps_what_is_not_said_anew_and_names_what_changes(
    tmp_path: Path,
) -> None:
    (tmp_path / "cloud").mkdir()
    cloud = TestCloud(tmp_path / "cloud")
    machine = Machine(tmp_path / "root")
    call_of = ["join", HOST, f"--root={machine.root}"]
    async with cloud.listening(silent):
        first = [
            "--token-file=-",
            "--node-name=n1",
            "--runtime=hollow",
            "--label=a=b",
            "--data-dir=/data/edge",
            "--set=max_pods=5",
            f"--set=websocket_port={cloud.websocket_port}",
            f"--set=https_port={cloud.https_port}",
        ]
        code, output = await asyncio.to_thread(call, [*call_of, *first], cloud.token)
        assert code == 0, output
        assert "changed: " not in output
        before = yaml.safe_load(machine.path(CONFIG).read_text())
        code, output = await asyncio.to_thread(call, call_of)
        assert (code, f"unchanged: {CONFIG}" in output) == (0, True), output
        with machine.path(CONFIG).open("a") as file:
            file.write("taints: [k=v:NoExecute]\n")
        planned = await asyncio.to_thread(call, [*call_of, "--set=max_pods=7", "--dry-run"])
        code, output = await asyncio.to_thread(call, [*call_of, "--set=max_pods=7"])
    assert "would be changed: max_pods: 7 (was 5)" in planned[1]
    assert code == 0, output
    assert [line for line in output.splitlines() if line.startswith("changed:")] == [
        "changed: max_pods: 7 (was 5)"
    ]
    after = yaml.safe_load(machine.path(CONFIG).read_text())
    assert after == {**before, "max_pods": "7", "taints": ["k=v:NoExecute"]}


def test_what_is_wrong_in_the_present_configuration_is_named_there(tmp_path: Path) -> None:
    file = Machine(tmp_path).path(CONFIG)
    file.parent.mkdir(parents=True)
    file.write_text("max_pods: many\n")
    with pytest.raises(ConfigError, match=r"edgecore\.yaml: max_pods: expected"):
        call(["join", "c", f"--root={tmp_path}"])


def test_a_configuration_of_kubeedges_is_not_begun_with(tmp_path: Path) -> None:
    file = Machine(tmp_path).path(CONFIG)
    file.parent.mkdir(parents=True)
    file.write_text("apiVersion: edgecore.config.kubeedge.io/v1alpha2\nmodules: 7\n")
    code, output = call(["join", "127.0.0.1", "--node-name=n1", f"--root={tmp_path}"])
    assert (code, "changed:" in output) == (1, False)  # there is no token


def test_a_bundle_is_installed_and_what_runs_is_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    said: list[str] = []
    install_bundle(make_bundle(tmp_path), home, said.append)
    assert said[0].startswith("installed: version 1.0")
    assert slots.read_state(home).current == "1.0"
    install_bundle(make_bundle(tmp_path, "2.0"), home, said.append)
    assert "`edgecore upgrade --to 2.0` tries it" in said[-1]
    (tmp_path / "rubbish").write_text("")
    with pytest.raises(EdgeError, match="cannot be unpacked"):
        install_bundle(tmp_path / "rubbish", home, said.append)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_bundle_is_not_installed_where_a_check_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.setattr(commands_module, "HOME", tmp_path / "home")
    arguments = ["join", "127.0.0.1", "--node-name=n1", f"--bundle={make_bundle(tmp_path)}"]
    folders = [f"--config-dir={tmp_path}/etc", f"--data-dir={tmp_path}/data"]
    code, output = call([*arguments, *folders, *more])
    assert (code, "installed" in output) == (1, False)  # there is no token
    assert not (tmp_path / "home").exists()


def test_an_image_gets_no_version_that_could_not_start_in_it(tmp_path: Path) -> None:
    root = tmp_path / "root"
    bundle = make_bundle(tmp_path)
    with pytest.raises(ConfigError, match="a version runs only where it was installed"):
        call(["join", "127.0.0.1", "--node-name=n1", f"--bundle={bundle}", f"--root={root}"])
    assert not root.exists()


def test_only_root_takes_edgecore_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "is_root", lambda _: False)
    with pytest.raises(ConfigError, match="sudo"):
        call(["reset"])


def joined(root: Path, **options: str) -> Machine:
    machine = Machine(root)
    machine.write(CONFIG, configuration({"cloud": "c", "node_name": "n1", **options}))
    return machine


def an_engine_that_must_not_be_asked(_: object) -> Runtime:
    raise AssertionError("the engine of this machine was asked")


def test_an_image_is_taken_away_without_the_engine_of_the_machine_it_is_typed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = joined(tmp_path, runtime="cri")
    monkeypatch.setattr("edgecore.app.runtime_of", an_engine_that_must_not_be_asked)
    monkeypatch.setattr(commands_module, "strangers", lambda _: ("kubelet",))  # nor of concern
    code, output = call(["reset", f"--root={tmp_path}"], "y\n")
    assert code == 0, output
    assert "these pods end" not in output
    assert not machine.path(CONFIG).exists()


def test_an_edge_is_not_taken_away_while_a_kubelet_has_pods_on_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = joined(tmp_path, runtime="cri", data_dir=str(tmp_path / "data")).path(CONFIG)
    monkeypatch.setattr("edgecore.app.runtime_of", an_engine_that_must_not_be_asked)
    monkeypatch.setattr(commands_module, "strangers", lambda _: ("kubelet",))
    monkeypatch.setattr(Machine, "is_root", lambda _: True)
    with pytest.raises(ConfigError, match="kubelet runs here, and its pods would end as well"):
        call(["reset", "--yes", f"--config-dir={file.parent}"])
    assert file.exists()
