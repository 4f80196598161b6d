"""The reference says what the code says. All is real."""

from cloudcore.config import CloudCoreSettings
from common.settings import flag_name
from deploy.reference import FILE, document
from edgecore.config import EdgeCoreSettings, HollowSettings


def test_the_reference_is_what_the_code_makes_of_it() -> None:
    assert FILE.read_text(encoding="utf-8") == document(), "call `make reference`"


def test_every_option_is_in_it_with_what_it_is_for() -> None:
    text = document()
    for model in (CloudCoreSettings, EdgeCoreSettings, HollowSettings):
        for one in model.options().values():
            assert f"| `{flag_name(one.name)}` |" in text
            assert one.help.replace("|", "\\|") in text


def test_nothing_of_the_machine_that_makes_it_is_in_it() -> None:
    (line,) = (line for line in document().splitlines() if line.startswith("| `--node-name` |"))
    assert "| worked out |" in line
