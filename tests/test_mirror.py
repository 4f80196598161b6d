"""Each module has its test module at the mirrored path, and each such test module its module."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_TESTS = frozenset({"__init__.py", "__main__.py"})

both_daemons_and_common = pytest.mark.parametrize(
    "package", ["common", "cloudcore", "edgecore", "edgesite"]
)


def wanted_tests(package: str) -> set[Path]:
    modules = (path for path in (ROOT / package).rglob("*.py") if path.name not in WITHOUT_TESTS)
    return {path.with_name(f"test_{path.name}").relative_to(ROOT) for path in modules}


def present_tests(package: str) -> set[Path]:
    tests = ROOT / "tests"
    return {path.relative_to(tests) for path in (tests / package).rglob("test_*.py")}


@both_daemons_and_common
def test_every_module_has_its_test_module(package: str) -> None:
    assert wanted_tests(package) - present_tests(package) == set()


@both_daemons_and_common
def test_every_test_module_has_its_module(package: str) -> None:
    assert present_tests(package) - wanted_tests(package) == set()
