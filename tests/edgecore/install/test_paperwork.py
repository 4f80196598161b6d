"""What join writes, and what becomes of a file. YAML is read by the real library."""

from pathlib import Path

import yaml

from edgecore.install.paperwork import Deed, changes, configuration, deed, digest, unit

TEMPLATE = """\
[Service]
ExecStart=/opt/cloudedge/edgecore run --config=/etc/cloudedge/edgecore.yaml
StateDirectory=cloudedge/edgecore
StateDirectoryMode=0700
"""


def test_a_file_that_is_as_it_shall_be_is_left_alone() -> None:
    assert deed(b"a", b"a", None) is Deed.UNCHANGED


def test_a_file_that_nobody_else_wrote_is_written_over() -> None:
    assert deed(None, b"a", None) is Deed.WRITTEN
    assert deed(b"old", b"a", digest(b"old")) is Deed.WRITTEN


def test_what_somebody_else_wrote_is_kept() -> None:
    assert deed(b"mine", b"a", None) is Deed.REPLACED
    assert deed(b"mine", b"a", digest(b"old")) is Deed.REPLACED


def test_a_configuration_is_read_as_it_was_meant() -> None:
    options = {"cloud": "no", "labels": {"a": "yes", "b": "1: 2 # x"}, "node_name": "0x1", "n": 7}
    assert yaml.safe_load(configuration(options)) == options


def test_what_becomes_another_option_is_named_with_what_it_was() -> None:
    present = {"cloud": "c", "runtime": "process", "https_port": 7, "taints": ["a:NoExecute"]}
    wanted = {**present, "runtime": "cri", "https_port": "7", "max_pods": "5"}
    assert changes(present, wanted) == [
        "runtime: cri (was process)",
        "max_pods: 5 (was not said)",
    ]
    assert changes({}, wanted) == []


def test_the_unit_gets_the_command_and_the_data_folder() -> None:
    made = unit(TEMPLATE, ["/v 1/edgecore", "run", "--config=/e/100%.yaml"], Path("/var/lib/e"))
    assert 'ExecStart="/v 1/edgecore" run --config=/e/100%%.yaml\n' in made
    assert "StateDirectory=e\nStateDirectoryMode=0700\n" in made


def test_a_data_folder_elsewhere_is_not_systemds() -> None:
    assert "StateDirectory" not in unit(TEMPLATE, ["/e"], Path("/data/edgecore"))
