"""How a program ends that cannot go on. All is real; the exit is caught."""

import pytest

from common.errors import ConfigError, LinkError
from common.failing import EXIT_CONFIG, EXIT_FAILURE, fail


@pytest.mark.parametrize(
    ("faults", "code", "lines"),
    [
        ([ConfigError(["--a: wrong", "--b: wrong"])], EXIT_CONFIG, ["--a: wrong", "--b: wrong"]),
        ([LinkError("nobody there")], EXIT_FAILURE, ["nobody there"]),
        ([LinkError("one"), ConfigError(["two"])], EXIT_CONFIG, ["one", "two"]),
        ([KeyboardInterrupt()], EXIT_FAILURE, ["stopped at once, as asked for by a second signal"]),
    ],
)
def test_each_fault_is_a_line_and_the_code_says_whose_it_is(
    faults: list[BaseException], code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fail("sample", faults)
    assert ended.value.code == code
    assert capsys.readouterr().err == "".join(f"sample: {line}\n" for line in lines)
