"""What images are made of: pure, with names as Debian's releases have them."""

import pytest

from deploy.images.recipe import RECIPES, closure, is_kept, is_left_out, python_of

LISTED = """python3
  Depends: python3.13
python3.13
python3.13-minimal
  PreDepends: libc6
libpython3.13-minimal
libpython3.13-stdlib
libc6
libssl3t64
libreadline8t64
debconf
<debconf-2.0>
"""


def test_of_what_python_depends_on_libraries_are_kept_and_terminals_are_not() -> None:
    assert closure(LISTED) == [
        "libc6",
        "libpython3.13-minimal",
        "libpython3.13-stdlib",
        "libssl3t64",
        "python3.13-minimal",
    ]


@pytest.mark.parametrize(
    "name", ["libc6", "libssl3", "libexpat1", "libffi8", "libgcc-s1", "zlib1g"]
)
def test_names_of_other_releases_are_known(name: str) -> None:
    assert is_kept(name)


def test_the_python_is_the_one_that_debian_has() -> None:
    assert python_of(closure(LISTED)) == "python3.13"
    with pytest.raises(ValueError, match="no Python"):
        python_of(["libc6"])


@pytest.mark.parametrize(
    ("path", "is_out"),
    [
        ("usr/share/doc/libc6/copyright", True),
        ("usr/lib/x86_64-linux-gnu/gconv/UTF-16.so", True),
        ("usr/lib/python3.11/lib2to3/main.py", True),
        ("usr/lib/python3.11/lib-dynload/readline.cpython-311-x86_64-linux-gnu.so", True),
        ("usr/lib/python3.11/lib-dynload/_ssl.cpython-311-x86_64-linux-gnu.so", False),
        ("usr/lib/x86_64-linux-gnu/libssl.so.3", False),
        ("usr/lib/python3.11/sqlite3/dbapi2.py", False),
        ("usr/local/lib/python3.11/dist-packages/uvloop/loop.pyx", True),
    ],
)
def test_what_nothing_asks_for_is_left_out(path: str, *, is_out: bool) -> None:
    assert is_left_out(path) == is_out


def test_cloudcore_is_nobody_in_particular_and_edgecore_is_root() -> None:
    users = {one.name: one.config("1.2.3", "abc")["User"] for one in RECIPES}
    assert users == {"cloudcore": "65532:65532", "edgecore": ""}


def test_an_image_says_what_it_is_and_of_which_sources() -> None:
    labels = RECIPES[0].config("1.2.3", "abc")["Labels"]
    assert labels["org.opencontainers.image.version"] == "1.2.3"
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert "org.opencontainers.image.revision" not in RECIPES[0].config("1.2.3", "")["Labels"]
