"""A configuration is filled from a file, the environment and flags. Real files."""

from pathlib import Path
from typing import Annotated, Any

import pytest

from common.config import MAX_FILE_BYTES, Loaded, Sources, load
from common.errors import ConfigError
from common.settings import Check, FromText, Port, Settings, configuration, option, with_commas


def judge_words(words: tuple[str, ...]) -> None:
    if "no" in words:
        raise ValueError("one of them is no")


@configuration
class Sample(Settings):
    """What the tests configure."""

    node_name: str = option(help="Name of the node.")
    port: Port = option(default=10000, help="Port of the hub.")
    quiet: bool = option(default=False, help="Say less.")
    words: Annotated[tuple[str, ...], FromText(with_commas), Check(judge_words)] = option(
        default=(), help="Words."
    )

    def __post_init__(self) -> None:
        if self.quiet and self.words:
            raise ValueError("quiet ones have no words")


def read(
    file: Path | None = None,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Loaded[Sample]:
    return load(Sample, Sources("SAMPLE_", file, environ or {}, flags or {}))


def loaded(*sources: Any, **more: Any) -> Sample:
    return read(*sources, **more).settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sample.yaml"
    path.write_text("node-name: from-file\nport: 1\n")
    return path


def faults(file: Path | None = None, **sources: dict[str, object]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, sources.get("environ"), sources.get("flags"))
    return caught.value.faults


def test_a_flag_wins_over_the_environment_which_wins_over_the_file(file: Path) -> None:
    environ = {"SAMPLE_PORT": "2", "OTHER_PORT": "9"}
    assert loaded(file).port == 1
    assert loaded(file, environ).port == 2
    assert loaded(file, environ, {"port": "3", "node_name": None}).port == 3
    assert loaded(file, environ, {"port": "3"}).node_name == "from-file"


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text("node_name: n1\nprot: 5\n")
    assert faults(path) == [f"{path}: prot: unknown option; did you mean port?"]
    assert faults(environ={"SAMPLE_NODE_NAM": "x", "SAMPLE_NODE_NAME": "n"}) == [
        "environment: SAMPLE_NODE_NAM: unknown option; did you mean node-name?"
    ]


def test_all_faults_are_told_at_once_with_where_they_stand(file: Path) -> None:
    told = faults(file, environ={"SAMPLE_PORT": "70000"}, flags={"quiet": "perhaps"})
    assert len(told) == 2
    assert told[0].startswith("environment: SAMPLE_PORT: ")
    assert told[1].startswith("--quiet: ")


def test_a_missing_option_is_told_with_what_it_is_for() -> None:
    assert faults() == ["--node-name: must be given: Name of the node."]


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("- a", "mapping"),
        ("a: [", "not YAML"),
        ("a: " + "[" * 5000, "not YAML: nested too deep"),
        ("a: 2026-99-99", "not YAML"),
        ("a: !!timestamp b", "not YAML"),
        ("a: !!int ''", "not YAML"),
        ("a: !!bool b", "not YAML"),
        ("x" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_no_configuration_is_told(tmp_path: Path, text: str, tells: str) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text(text)
    assert tells in faults(path)[0]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in faults(tmp_path / "none.yaml")[0]


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text("")
    assert loaded(path, flags={"node_name": "n1"}).port == 10000


def test_where_each_value_stands_is_known(file: Path) -> None:
    origins = read(file, {"SAMPLE_QUIET": "yes"}, {"port": "3"}).origins
    assert origins == {
        "node_name": f"{file}: node_name",
        "port": "--port",
        "quiet": "environment: SAMPLE_QUIET",
    }


def test_text_is_read_and_what_is_read_is_judged() -> None:
    assert loaded(flags={"node_name": "n", "words": "a,b"}).words == ("a", "b")
    assert loaded(flags={"node_name": "n", "words": ["a", "b"]}).words == ("a", "b")
    assert faults(flags={"node_name": "n", "words": "no"}) == ["--words: one of them is no"]


def test_what_does_not_go_together_is_told() -> None:
    told = faults(flags={"node_name": "n", "words": "a", "quiet": "true"})
    assert told == ["configuration: quiet ones have no words"]
