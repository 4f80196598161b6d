"""One target under atheris: ``python -m tests.fuzz.guided TARGET [option of libFuzzer…] FOLDER``.

What it finds that reaches other code goes into a folder for the time of the run: what is kept is
kept by people.
"""

import importlib
import sys
import tempfile
from typing import Any


def main(name: str, options: list[str]) -> None:
    """Run until the options say so, or something was found; does not return."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["common", "cloudcore", "edgecore", "jwt"]):
        targets = importlib.import_module("tests.fuzz.targets")
    with tempfile.TemporaryDirectory() as folder:
        *flags, seeds = options
        atheris.Setup([sys.argv[0], *flags, folder, seeds], targets.TARGETS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
