"""The node's identity: its key and certificate, got once for a join token and kept."""

import asyncio
import logging
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec

from common.clock import Clock
from common.errors import CertificateError, LinkError
from common.tls import client_context
from edgecore.edgehub.enrollconfig import EnrollConfig, Exit, Task

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 90.0
"""For enrolment as a whole: two requests."""

CarryOut = Callable[[Task], Awaitable[str]]
"""Do a task of ``enroll.py``, and return or raise as ``carry_out`` there does."""


class Identity:
    """The certificate of a node; enrols the node when it is first asked for."""

    def __init__(
        self,
        config: EnrollConfig,
        token: Callable[[], str],
        clock: Clock,
        carry_out: CarryOut,
    ) -> None:
        """Keep the identity in ``config.folder``.

        Args:
            config: who enrols where.
            token: returns the join token, or "" where there is none; needed only to enrol.
            clock: judges whether a certificate has expired.
            carry_out: enrols: ``in_process_of_its_own``, or for many edges at once a thread.
        """
        self._config, self._token, self._clock = config, token, clock
        self._carry_out = carry_out
        self._told_fault = ""

    async def tls(self) -> ssl.SSLContext:
        """Return a context that shows the node's certificate; enrol if there is none yet.

        Raises:
            LinkError: the cloud cannot be reached, or refuses; the text says why.
            CertificateError: the token or what came back cannot be used.
        """
        config = self._config
        if not (config.authority_file.exists() and config.node_file.exists()):
            await self._do("enroll")
            logger.info("enrolled", extra={"node": config.node_name})
        return client_context(config.authority_file.read_text("ascii"), config.node_file)

    async def doubt(self) -> None:
        """Look at the certificate, after TLS failed over one: forget it if it is of no use.

        It is forgotten only where a token can replace it.
        """
        if not self._config.node_file.exists():
            return
        fault = await self._do("examine")
        if fault and self._token():
            logger.warning("the certificate is replaced by means of the token: %s", fault)
            self._config.node_file.unlink(missing_ok=True)
        elif fault and fault != self._told_fault:
            logger.warning("the certificate is of no use: %s; give a new token", fault)
        self._told_fault = fault

    async def _do(self, job: Literal["enroll", "examine"]) -> str:
        return await self._carry_out(Task(job, self._config, self._token(), self._clock.now()))


async def in_process_of_its_own(task: Task) -> str:
    """Carry out ``task`` by ``python -m edgecore.edgehub.enroll``, whose memory is given back.

    The token goes through a pipe: arguments and environment can be read by others.

    Raises:
        LinkError, CertificateError: as ``enroll.carry_out``.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
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
    if process.returncode == Exit.DONE:
        return words
    if process.returncode == Exit.CERTIFICATE:
        raise CertificateError(words)
    raise LinkError(words or f"enrolment ended with code {process.returncode}")
