"""``edgecore join``: look first, enrol, write what is needed, start, and wait until it works.

Nothing is written before the cloud has given a certificate. What is as it should be is left alone,
so that a second run changes nothing.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from common.checks import Finding, Verdict
from common.errors import CertificateError, EdgeError, LinkError
from common.monitor import ask
from edgecore.config import EdgeCoreSettings
from edgecore.datadir import SOCKET
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, Task
from edgecore.edgehub.enrollprocess import CarryOut, in_process_of_its_own
from edgecore.install import joinchecks
from edgecore.install.machine import UNIT_FILE, Machine
from edgecore.install.paperwork import UNIT, Deed, changes, configuration, digest, unit

CONNECTED_WITHIN_S: Final = 120.0

_POLL_S: Final = 0.25

Say = Callable[[str], None]


class Wish(Struct, frozen=True):
    """What is to become of a machine."""

    settings: EdgeCoreSettings
    """As edgecore will be told, the token in them, and paths as they are for us."""
    options: Mapping[str, object]
    """What stands in the configuration, ``data_dir`` among it; all but the token."""
    config: Path
    """Where that is."""
    command: tuple[str, ...]
    """What runs edgecore, without ``run`` and what follows."""
    present: Mapping[str, object] = field(default_factory=dict)
    """What stood in the configuration before."""


class ChecksFailedError(EdgeError):
    """A check failed, so nothing was done; the text says which, and how to mend it."""


async def join(
    wish: Wish,
    machine: Machine,
    say: Say,
    *,
    enroll: CarryOut = in_process_of_its_own,
    install: Callable[[Say], None] | None = None,
) -> None:
    """Have ``machine`` join, and tell each step by ``say``.

    Args:
        wish: what is to become of it.
        machine: the one.
        say: is told each step.
        enroll: gets the certificate.
        install: puts there what is to run, once the checks say that it can; blocks.

    Raises:
        ChecksFailedError: the machine or its cloud is not ready; nothing was changed.
        CertificateError, LinkError: the cloud gave no certificate; nothing was written.
        EdgeError: nothing can be installed, a file cannot be written, or the service does not
            start or connect.
    """
    is_enrolled = await _is_enrolled(wish.settings, enroll)
    await asyncio.to_thread(check, wish, machine, say, is_enrolled=is_enrolled)
    if install is not None:
        await asyncio.to_thread(install, say)
    if is_enrolled:
        say(f"unchanged: the certificate of node {wish.settings.node_name}")
    else:
        await enroll(_task(wish.settings, Job.ENROLL, wish.settings.read_token()))
        say(f"enrolled: node {wish.settings.node_name}")
    for line in changes(wish.present, wish.options):
        say(f"changed: {line}")
    wanted = list(papers(wish))
    changed = [_put(machine, path, content, say) for path, content in wanted]
    if not machine.has_systemd:
        command = [*wish.command, "run", f"--config={wish.config}"]
        say(f"not started: there is no systemd here; start it with: {' '.join(command)}")
        return
    noted = digest("".join(content for _, content in wanted).encode())
    # An earlier join may have been cut off between the files and the start.
    is_new = any(changed) or not machine.is_started_with(noted)
    await asyncio.to_thread(_start, machine, say, is_new=is_new)
    if is_new:
        machine.note_start(noted)
    await until_connected(wish.settings.data_dir, CONNECTED_WITHIN_S)
    say(f"connected: {wish.settings.cloud}")


async def plan(
    wish: Wish, machine: Machine, say: Say, *, enroll: CarryOut = in_process_of_its_own
) -> None:
    """Tell what ``join`` would do, having looked as it does; nothing is changed.

    Raises:
        ChecksFailedError: ``join`` would do nothing.
    """
    is_enrolled = await _is_enrolled(wish.settings, enroll)
    await asyncio.to_thread(check, wish, machine, say, is_enrolled=is_enrolled)
    if not is_enrolled:
        say(f"would enrol: node {wish.settings.node_name} at {wish.settings.cloud}")
    for line in changes(wish.present, wish.options):
        say(f"would be changed: {line}")
    for path, content in papers(wish):
        found = machine.deed(path, content)
        say(f"{found}: {path}" if found is Deed.UNCHANGED else f"would be {found}: {path}")
    if machine.has_systemd:
        say(f"would start: {UNIT}")


def check(wish: Wish, machine: Machine, say: Say, *, is_enrolled: bool) -> None:
    """Look whether ``wish`` can come true; say what is doubtful. Blocks.

    Raises:
        ChecksFailedError: it cannot.
    """
    token = "" if is_enrolled else wish.settings.read_token()
    if not is_enrolled and not token:
        raise ChecksFailedError(
            "--token-file: a new node needs a token: `cloudcore token create` prints one"
        )
    found = list(
        joinchecks.findings(wish.settings, token, datetime.now(UTC), is_root=machine.is_root())
    )
    for finding in found:
        if finding.verdict is Verdict.WARN:
            say(f"warning: {_words(finding)}")
    faults = [_words(finding) for finding in found if finding.verdict is Verdict.FAIL]
    if faults:
        raise ChecksFailedError("\n".join([*faults, "nothing was changed"]))


def papers(wish: Wish) -> Iterator[tuple[Path, str]]:
    """Yield the files that an edge needs beside its data, with their contents."""
    yield wish.config, configuration(wish.options)
    template = resources.files("edgecore.install").joinpath(UNIT).read_text("utf-8")
    command = (*wish.command, "run", f"--config={wish.config}")
    yield UNIT_FILE, unit(template, command, Path(str(wish.options["data_dir"])))


async def until_connected(data_dir: Path, limit_s: float) -> None:
    """Return once the edgecore of ``data_dir`` is connected.

    Raises:
        EdgeError: it was not within ``limit_s`` seconds; the text has its reason.
    """
    deadline_s = time.monotonic() + limit_s
    while True:
        hub = await asyncio.to_thread(link_of, data_dir)
        if hub is not None and hub.get("connected") is True:
            return
        if time.monotonic() > deadline_s:
            why = "it does not run" if hub is None else hub.get("failure") or "it says no reason"
            raise EdgeError(
                f"edgecore is not connected after {limit_s:g} s: {why}; it goes on trying."
                f" `edgecore status` and `journalctl -u {UNIT}` say more"
            )
        await asyncio.sleep(_POLL_S)


def link_of(data_dir: Path) -> Mapping[str, object] | None:
    """Return what the edgecore of ``data_dir`` says of its link; None where it does not run."""
    try:
        found = json.loads(ask(data_dir / SOCKET)).get("edgehub")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) else None


async def _is_enrolled(settings: EdgeCoreSettings, enroll: CarryOut) -> bool:
    if not (settings.data_dir / "pki" / f"{settings.node_name}.pem").exists():
        return False
    try:
        return not await enroll(_task(settings, Job.EXAMINE, settings.read_token()))
    except (LinkError, CertificateError):
        return False


def _task(settings: EdgeCoreSettings, job: Job, token: str) -> Task:
    folder = str(settings.data_dir / "pki")
    config = EnrollConfig(settings.node_name, settings.cloud, settings.https_port, folder)
    return Task(job, config, token)


def _put(machine: Machine, path: Path, content: str, say: Say) -> bool:
    """Write a file; return whether it is another one now."""
    line = machine.write(path, content)
    say(line)
    return not line.startswith(f"{Deed.UNCHANGED}:")


def _start(machine: Machine, say: Say, *, is_new: bool) -> None:
    if is_new:
        machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--quiet", UNIT)
    # Of a service that runs already, this makes one that knows what has changed.
    machine.systemctl("restart" if is_new else "start", UNIT)
    say(f"{'started' if is_new else 'unchanged'}: {UNIT}")


def _words(finding: Finding) -> str:
    fix = f" ({finding.fix})" if finding.fix else ""
    return f"{finding.name}: {finding.found}{fix}"
