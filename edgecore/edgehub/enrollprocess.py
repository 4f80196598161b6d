"""Tasks of ``enroll.py``, carried out by a process of their own."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from common.errors import CertificateError, LinkError
from edgecore.edgehub.enrollconfig import Exit, RefusedError, Task

PATIENCE_S: Final = 150.0
"""For a task as a whole: up to four requests."""

CarryOut = Callable[[Task], Awaitable[str]]
"""Do a task of ``enroll.py``, and return or raise as ``carry_out`` there does."""


async def in_process_of_its_own(task: Task) -> str:
    """Carry out ``task`` by ``python -m edgecore.edgehub.enroll``, whose memory is given back.

    The token goes through a pipe: arguments and environment can be read by others.

    Raises:
        LinkError, CertificateError: as ``enroll.carry_out``.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # not from the current folder, which may be anybody's
        "-m",
        "edgecore.edgehub.enroll",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, _ = await process.communicate(msgspec.json.encode(task))
    except TimeoutError:
        raise LinkError("enrolment takes too long") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    words = output.decode(errors="replace")
    match process.returncode:
        case Exit.DONE:
            return words
        case Exit.CERTIFICATE:
            raise CertificateError(words)
        case Exit.REFUSED:
            raise RefusedError(words)
    raise LinkError(words or f"enrolment ended with code {process.returncode}")
