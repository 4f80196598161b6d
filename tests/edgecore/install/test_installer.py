"""Installing a bundle: real tars and virtual environments; the pip and edgecore in it are stubs.

``tests/deploy/test_bundle.py`` has a whole one.
"""

import errno
import io
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from edgecore.install import installer, slots
from edgecore.install.installer import BundleError, install
from tests.edgecore.install.bundles import make_bundle, manifest


def tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.size = 1 if kind == tarfile.REGTYPE else 0
    return made


def test_a_bundle_becomes_a_slot_and_the_first_one_runs(tmp_path: Path) -> None:
    home = tmp_path / "home"
    packed = tmp_path / "b.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(make_bundle(tmp_path), "bundle-1.0")
    said = list(install(packed, home))
    assert [line.partition(":")[0] for line in said] == ["installed", "written", "chosen"]
    launcher = [str(slots.launcher_of(home)), "--version"]
    assert subprocess.run(launcher, capture_output=True, check=True).stdout == b"edgecore 1.0\n"
    assert list(install(packed, home)) == ["unchanged: version 1.0 is installed"]
    assert installer.version_of(packed) == "1.0"
    # Another one is installed beside it, and runs once somebody says so.
    assert list(install(make_bundle(tmp_path, "2.0"), home)) == [
        f"installed: version 2.0 in {home}/slots/2.0"
    ]
    assert slots.read_state(home).current == "1.0"


def test_what_was_interrupted_is_made_anew(tmp_path: Path) -> None:
    home = tmp_path / "home"
    half = slots.slot_of(home, "1.0") / "lib"
    half.mkdir(parents=True)
    list(install(make_bundle(tmp_path), home))
    assert not (half / "half").exists()
    assert slots.program_of(home, "1.0").exists()


def test_nothing_is_run_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "venv.py").write_text("import sys; sys.exit('of somebody else')")
    monkeypatch.chdir(elsewhere)
    list(install(bundle, tmp_path / "home"))
    assert slots.program_of(tmp_path / "home", "1.0").exists()


def test_what_pip_cannot_install_is_told_and_nothing_is_chosen(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    digest = "0" * 64
    (bundle / installer.REQUIREMENTS).write_text(f"absent==1 --hash=sha256:{digest}\n")
    installer.write_sums(bundle)
    with pytest.raises(BundleError, match="absent"):
        list(install(bundle, tmp_path / "home"))
    assert slots.read_state(tmp_path / "home").current == ""
    assert list((tmp_path / "home" / "slots").iterdir()) == []  # no half of it fills the disk


def test_a_slot_counts_as_complete_once_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    mark = slots.slot_of(home, "1.0") / ".complete"
    marked: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: marked.append(mark.exists()))
    list(install(make_bundle(tmp_path), home))
    assert marked == [False, True]


def test_the_launcher_is_on_the_disk_before_it_takes_the_place_of_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    target = slots.launcher_of(tmp_path)

    def note(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append(("launcher" if name.startswith(".edgecore.") else name, target.exists()))

    monkeypatch.setattr(os, "fsync", note)
    installer.make_launcher(tmp_path)
    assert synced == [("launcher", False), (tmp_path.name, True)]


def test_what_the_disk_refuses_is_told_in_words_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, home = make_bundle(tmp_path), tmp_path / "home"
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="Not a directory"):
        list(install(bundle, tmp_path / "file" / "home"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("zipapp.create_archive", full)
    with pytest.raises(BundleError, match="No space left"):
        installer.make_launcher(home)
    assert list(home.iterdir()) == []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(BundleError, match="absent"):
        list(install(bundle, home))
    with pytest.raises(BundleError, match="absent"):
        installer.version_of(bundle)


@pytest.mark.parametrize(
    "odd",
    [
        member("../evil"),
        member("b/../../evil"),
        member("/etc/evil"),
        member("b\\..\\evil"),
        member("b/link", tarfile.SYMTYPE, "/etc"),
        member("b/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("b/device", tarfile.CHRTYPE),
        member("b/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda odd: odd.name,
)
def test_a_bundle_that_reaches_elsewhere_is_refused(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    target = tmp_path / "in" / "there"
    target.mkdir(parents=True)
    with pytest.raises(BundleError, match="do not trust it"):
        installer.unpack(tar(tmp_path / "b.tar", member("b/a"), odd), target)
    assert not (tmp_path / "in" / "evil").exists()
    assert not (tmp_path / "evil").exists()


def test_what_is_no_bundle_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.tar").write_text("this is no tar")
    with pytest.raises(BundleError, match="cannot be unpacked"):
        installer.unpack(tmp_path / "b.tar", tmp_path)
    with pytest.raises(BundleError, match="not one folder"):
        installer.unpack(tar(tmp_path / "c.tar", member("a/x"), member("b/x")), tmp_path / "c")
    twice = tar(tmp_path / "d.tar", member("a/x"), member("a/x"))
    with pytest.raises(BundleError, match="cannot be unpacked"):
        installer.unpack(twice, tmp_path / "d")
    monkeypatch.setattr(installer, "MAX_MEMBERS", 1)
    with pytest.raises(BundleError, match="too large"):
        installer.unpack(twice, tmp_path / "e")


def test_a_bundle_is_believed_only_if_its_checksums_hold(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path)
    wheel = next((bundle / installer.WHEELS).glob("cloudedge-*.whl"))
    content = wheel.read_bytes()
    wheel.write_bytes(content + b"x")
    with pytest.raises(BundleError, match="is damaged: copy the bundle again"):
        installer.check(bundle)
    wheel.write_bytes(content)
    (bundle / "more").write_text("")
    with pytest.raises(BundleError, match="others than it says: more"):
        installer.check(bundle)
    (bundle / "more").unlink()
    assert installer.check(bundle) == manifest()
    wheel.rename(tmp_path / "elsewhere.whl")
    wheel.symlink_to(tmp_path / "elsewhere.whl")
    with pytest.raises(BundleError, match="is damaged"):
        installer.check(bundle)
    (bundle / installer.SUMS).unlink()
    with pytest.raises(BundleError, match="SHA256SUMS cannot be read"):
        installer.check(bundle)


def test_a_bundle_for_another_machine_is_refused(tmp_path: Path) -> None:
    other = make_bundle(tmp_path, told=replace(manifest(), python="2.7"))
    with pytest.raises(BundleError, match=r"is for Python 2\.7 on"):
        installer.check(other)
    evil = make_bundle(tmp_path / "evil", told=replace(manifest(), version="../up"))
    with pytest.raises(BundleError, match="no version"):
        installer.check(evil)
    (other / installer.MANIFEST).write_text("[]")
    installer.write_sums(other)
    with pytest.raises(BundleError, match="cannot be used"):
        installer.check(other)
    next((other / installer.WHEELS).glob("pip-*.whl")).unlink()
    (other / installer.MANIFEST).write_text((evil / installer.MANIFEST).read_text())


def test_the_launcher_is_written_when_it_changes_only(tmp_path: Path) -> None:
    assert installer.make_launcher(tmp_path)
    before = slots.launcher_of(tmp_path).stat().st_ino
    assert not installer.make_launcher(tmp_path)
    assert slots.launcher_of(tmp_path).stat().st_ino == before
    assert [path.name for path in tmp_path.iterdir()] == ["edgecore"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot be written"):
        installer.make_launcher(tmp_path / "file" / "home")


def test_the_program_beside_a_bundle_says_what_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path)
    monkeypatch.setattr("sys.argv", [str(bundle / "install.pyz")])
    home = tmp_path / "home"
    assert installer.main([str(home)]) == 0
    assert f"next: {home}/edgecore join HOST" in capsys.readouterr().out
    (bundle / "more").write_text("")
    assert installer.main([str(home)]) == 1
    assert "install: the bundle lacks files" in capsys.readouterr().err
