"""Find the control plane's programs, or build them from the Go modules of Kubernetes and etcd.

One binary serves under four names (see main.go). It is kept outside the checkout, under a name that
holds the hash of all it is made from, so that it is built once per machine and never out of date.
"""

import fcntl
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.devcluster import toolchain
from deploy.devcluster.commands import Component

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
CACHE_VARIABLE: Final = "CLOUDEDGE_CACHE"

_SOURCE: Final = Path(__file__).parent
_INPUTS: Final = ("go.mod", "go.sum", "main.go")
_BINARY: Final = "controlplane"
_KUBERNETES_LINE: Final = re.compile(r"k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)")
# Measured: 10 minutes of processor time with the downloads, 2,516 packages.
_CPU_MINUTES: Final = 10
_DOWNLOAD_MINUTES: Final = 4
_PACKAGES: Final = 2500
_REPORT_EVERY_S: Final = 15.0
_OUTPUT_TAIL_LINES: Final = 20

Report = Callable[[str], None]


class BuildError(Exception):
    """The control plane is not here and cannot be built; the message says what to do."""


def to_stderr(line: str) -> None:
    """Show one line of progress."""
    sys.stderr.write(f"{line}\n")


def find_or_build(report: Report = to_stderr) -> Path:
    """The folder that holds etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

    Where ``KUBEBUILDER_ASSETS`` is set it is that folder, and nothing is built. Else the folder
    lies in the cache (``CLOUDEDGE_CACHE``, ``$XDG_CACHE_HOME/cloudedge``, ``~/.cache/cloudedge``);
    the first call on a machine builds it, which blocks for minutes and reports as it goes. Several
    processes may call this at once: one builds, the others wait.

    Raises:
        BuildError: where a program is missing or the build fails.
    """
    assets = os.environ.get(ASSETS_VARIABLE)
    if assets:
        return _checked_assets(Path(assets))
    folder = cache_folder() / f"controlplane-{_input_hash()}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock"), report):
            # Whoever held the lock may have built it.
            if not folder.exists():
                _build(folder, report)
    return folder


def cache_folder() -> Path:
    """Where built programs are kept, outside any checkout."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "cloudedge"


def kubernetes_version() -> str:
    """The version that is built, such as ``v1.36.3``: go.mod is the only place that says it."""
    return _kubernetes_match()[1]


def _kubernetes_match() -> re.Match[str]:
    match = _KUBERNETES_LINE.search((_SOURCE / "go.mod").read_text())
    if match is None:
        message = f"{_SOURCE / 'go.mod'} does not require k8s.io/kubernetes"
        raise BuildError(message)
    return match


def _checked_assets(folder: Path) -> Path:
    missing = [name for name in Component if not os.access(folder / name, os.X_OK)]
    if missing:
        message = (
            f"{ASSETS_VARIABLE} is {folder}, which has no program {', '.join(missing)}; "
            f"add what is missing, or unset {ASSETS_VARIABLE} to build the control plane"
        )
        raise BuildError(message)
    return folder.absolute()


def _flags() -> list[str]:
    version, major, minor = _kubernetes_match().groups()
    # Unstamped, it calls itself v0.0.0-master, which clients cannot parse.
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    linker = " ".join(f"-X k8s.io/component-base/version.{k}={v}" for k, v in stamps.items())
    return ["-trimpath", "-buildvcs=false", "-ldflags", f"-s -w {linker}"]


def _input_hash() -> str:
    digest = hashlib.sha256(" ".join([platform.machine(), *_flags()]).encode())
    for name in _INPUTS:
        digest.update((_SOURCE / name).read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the control plane: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, report: Report) -> None:
    cores = os.cpu_count() or 1
    minutes = _DOWNLOAD_MINUTES + round(_CPU_MINUTES / cores)
    report(
        f"building the control plane (Kubernetes {kubernetes_version()}): "
        f"about {minutes} minutes on {cores} cores, once per machine"
    )
    try:
        go = toolchain.find_or_install(_SOURCE / "go.mod", folder.parent, report)
    except toolchain.ToolchainError as error:
        raise BuildError(str(error)) from error
    started = time.monotonic()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as temporary:
        made = Path(temporary) / folder.name
        made.mkdir()
        _compile(go, made / _BINARY, report)
        for name in Component:
            (made / name).symlink_to(_BINARY)
        # Complete or not there: a build that was cut short leaves nothing that looks finished.
        made.rename(folder)
    report(f"built the control plane in {_duration(time.monotonic() - started)}: {folder}")


def _compile(go: Path, output: Path, report: Report) -> None:
    # -v names each package as it is compiled and each module as it is downloaded.
    process = subprocess.Popen(
        [str(go), "build", "-v", *_flags(), "-o", str(output), "."],
        cwd=_SOURCE,
        env=toolchain.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            tail = _follow(process, report)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        message = "\n  ".join(["the control plane does not build; go says:", *tail])
        raise BuildError(message)


def _follow(process: subprocess.Popen[str], report: Report) -> deque[str]:
    assert process.stderr is not None
    started = reported = time.monotonic()
    downloaded = compiled = 0
    tail: deque[str] = deque(maxlen=_OUTPUT_TAIL_LINES)
    for line in process.stderr:
        tail.append(line.rstrip())
        if line.startswith("go: downloading "):
            downloaded += 1
        else:
            compiled += 1
        now = time.monotonic()
        if now - reported >= _REPORT_EVERY_S:
            reported = now
            report(
                f"  {_duration(now - started)}: {downloaded} modules downloaded, "
                f"{compiled} of about {_PACKAGES} packages compiled"
            )
    return tail


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
