"""Run a command beside a process that runs already, with its files and its environment.

For probes and hooks of the process runtime. ``nsenter`` (util-linux) puts the command into the
mount namespace and the root directory of the process.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from common.errors import RuntimeServiceError
from edgecore.edged.runtime.base import ExecResult

MAX_OUTPUT_BYTES: Final = 16 * 1024
_CHUNK_BYTES: Final = 4096
_EXIT_SIGNAL: Final = 128
_LOOKS: Final = 10
_LOOK_AGAIN_S: Final = 0.01


async def run_beside(
    pid: int, command: Sequence[str], timeout_s: float, *, enter: bool
) -> ExecResult:
    """Run ``command`` beside the process ``pid``.

    Args:
        pid: the process.
        command: what to run, no shell.
        timeout_s: after which it is killed with all that it has started in its session.
        enter: whether the process has files of its own to be entered.

    Raises:
        TimeoutError: it did not end in time.
        RuntimeServiceError: it cannot be run.
    """
    prefix = ["nsenter", f"--target={pid}", "--mount", "--root", "--wd", "--"] if enter else []
    try:
        environment = _environment(await _shown(Path(f"/proc/{pid}/environ")))
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise RuntimeServiceError("ExecError", f"{command[0]}: {error.strerror}") from error
    try:
        async with asyncio.timeout(timeout_s):
            output = await _read(process)
            code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return ExecResult(code if code >= 0 else _EXIT_SIGNAL - code, output)


async def _shown(file: Path) -> bytes:
    """Return what ``file`` of the kernel shows of a process.

    That is nothing for a moment when a process becomes another program, as it does at its start.
    """
    for _ in range(_LOOKS):
        if content := file.read_bytes():  # noqa: ASYNC240 - it is in memory
            return content
        await asyncio.sleep(_LOOK_AGAIN_S)
    return b""


def _environment(shown: bytes) -> dict[bytes, bytes]:
    entries = (entry.partition(b"=") for entry in shown.split(b"\0") if b"=" in entry)
    return {name: value for name, _, value in entries}


async def _read(process: asyncio.subprocess.Process) -> bytes:
    """Return the beginning of the output; the rest is read too, or the command would wait."""
    assert process.stdout is not None
    kept = b""
    while chunk := await process.stdout.read(_CHUNK_BYTES):
        kept += chunk[: MAX_OUTPUT_BYTES - len(kept)]
    return kept
