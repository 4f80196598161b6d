"""The node's identity: its key and certificate, got for a join token, and renewed in time.

A certificate is renewed at two thirds of its life; at once when the cloud signs by an authority
that is not the newest of those trusted here, or refuses the certificate. What fails is tried again
and again, with pauses, and meanwhile the old certificate is used: only the cloud says that it does
not count any more. Dates are judged by the time that the cloud has told, see ``timekeeper``.
"""

import asyncio
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

from common.errors import CertificateError, ConfigError, LinkError
from common.names import AUTHORITY_HEADER
from common.tls import client_context
from edgecore.edgehub import link as links
from edgecore.edgehub.certificates import ders_of, fault_of_cloud, fingerprint, share_of, validity
from edgecore.edgehub.enrollconfig import EnrollConfig, Job, RefusedError, Task
from edgecore.edgehub.enrollprocess import CarryOut
from edgecore.edgehub.link import LinkLostError
from edgecore.edgehub.network import Dial, OpenLink
from edgecore.edgehub.pauses import Pauses
from edgecore.edgehub.timekeeper import Timekeeper

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 60.0
"""Between two looks at whether there is something to do."""

FOLLOW_SOON_S: Final = 3600.0
"""The same while more than one is trusted here: whoever has the key of one that the cloud has given
up could pose as the cloud until then."""

FOLLOW_EVERY_S: Final = 24 * 3600.0
"""Between two questions which authorities the cloud trusts: one that is given up is not trusted
much longer here either."""

BELIEVED_DOUBTS: Final = 2
"""So many connections in a row must have failed over the certificate before it is replaced: a cloud
that stops may just go as well."""

_DONE: Final = {
    Job.ENROLL: "enrolled",
    Job.RENEW: "renewed",
    Job.FOLLOW: "by the newest authority",
}


class Identity:
    """The certificate of a node; enrols the node when it is first asked for."""

    def __init__(
        self,
        config: EnrollConfig,
        token: Callable[[], str],
        timekeeper: Timekeeper,
        carry_out: CarryOut,
        dial: Dial = links.dial,
    ) -> None:
        """Keep the identity in ``config.folder``.

        Args:
            config: who enrols where.
            token: returns the join token, or "" where there is none; needed only to enrol.
            timekeeper: knows the time by which certificates are judged.
            carry_out: enrols: ``in_process_of_its_own``, or for many edges at once a thread.
            dial: makes the connections that this identity is shown on.
        """
        self._config, self._token, self._time = config, token, timekeeper
        self._carry_out, self._dial = carry_out, dial
        self._one_at_a_time = asyncio.Lock()
        self._renewals, self._replacements = Pauses(timekeeper.clock), Pauses(timekeeper.clock)
        self._follow_at_s = math.inf  # on the clock; a cloud of KubeEdge is never asked
        self._named = ""  # fingerprint of the authority that the cloud signs by
        self._has_met = asyncio.Event()
        self._doubts = 0
        self._link: OpenLink | None = None
        self._tried_token = ""
        self._told_fault = ""

    async def tls(self) -> ssl.SSLContext:
        """Return a context that shows the node's certificate; enrol if there is none yet.

        Raises:
            LinkError: the cloud cannot be reached, or refuses; the text says why.
            CertificateError: the token or what came back cannot be used.
        """
        await self._time.recall()
        if not self._is_enrolled():
            await self._enroll(self._token())
        try:
            return self._context()
        except CertificateError:
            # TLS reads the certificate and then the key, and a renewal may have replaced the file
            # in between. To wait for renewals would be to wait for a cloud that does not answer.
            return self._context()

    def _context(self) -> ssl.SSLContext:
        config = self._config
        try:
            authorities = config.authority_file.read_text("ascii")
        except (OSError, ValueError) as error:
            raise CertificateError(f"{config.authority_file}: cannot be used: {error}") from error
        return client_context(authorities, config.node_file)

    @asynccontextmanager
    async def dial(
        self, uri: str, headers: Mapping[str, str], tls: ssl.SSLContext, *, handshake_s: float
    ) -> AsyncIterator[OpenLink]:
        """Open a connection to a cloud whose certificate has not expired; a ``Dial``.

        The cloud is told which authority is the newest that this edge trusts.

        Raises:
            LinkLostError: there is none; the text says why.
        """
        said = {**headers, AUTHORITY_HEADER: self._newest()}
        async with self._dial(uri, said, tls, handshake_s=handshake_s) as link:
            self._meet(link)
            self._link = link
            try:
                yield link
            finally:
                self._link = None

    async def doubt(self) -> None:
        """Try to get another certificate, after the present one was refused; not all the time.

        It is renewed; if the cloud does not do that, or nothing is left to renew, the node enrols
        anew by means of the token, where there is one. What fails is logged once.
        """
        token = self._read_token()
        is_new = bool(token) and token != self._tried_token
        self._doubts += 1
        is_soon = self._doubts < BELIEVED_DOUBTS or self._replacements.is_pausing()
        if not self._is_enrolled() or (is_soon and not is_new):
            return
        self._tried_token = token
        self._replacements.begin()
        fault = await self._replace(token)
        if fault and fault != self._told_fault:
            advice = "" if token else "; give a new token, as `cloudcore token create` prints it"
            logger.warning("the certificate is of no use: %s%s", fault, advice)
        self._told_fault = fault

    async def keep(self) -> None:
        """See to renewal, and keep the time that is known, until cancelled."""
        async with self._time.kept():
            while True:
                await self._time.look()
                job = self._due()
                if job is not None:
                    await self._renew_in_time(job)
                self._has_met.clear()
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self._has_met.wait()
                except TimeoutError:
                    continue

    # --- what is to be done ----------------------------------------------------------------------

    def _due(self) -> Job | None:
        """Return what is to be done about the certificate now, without any trouble to begin with.

        Nothing is done before the cloud was met: without it, nothing can be.
        """
        if not self._named or not self._is_enrolled() or self._renewals.is_pausing():
            return None
        if self._named != self._newest():
            return Job.FOLLOW
        known = self._time.clock.known()
        try:
            der = ders_of(self._config.node_file.read_text("ascii"))[0]
            if known is not None and known >= validity(der).renewal_due(self._config.node_name):
                return Job.RENEW
        except (OSError, ValueError, IndexError, CertificateError) as error:
            logger.warning("the certificate cannot be read", extra={"error": str(error)})
            return None
        return Job.FOLLOW if self._time.clock.monotonic() >= self._follow_at_s else None

    async def _renew_in_time(self, job: Job) -> None:
        retry_s = self._renewals.begin()
        before = self._authorities()
        try:
            await self._do(job)
        except (LinkError, CertificateError) as error:
            fields = {"error": str(error), "retry_in_s": round(retry_s)}
            logger.warning("the certificate is not renewed; the old one is used", extra=fields)
        else:
            self._renewals.reset()
            self._follow_at_s = self._time.clock.monotonic() + self._follow_period_s()
            self._log_done(job)
            if self._authorities()[:1] != before[:1] and self._link is not None:
                # The cloud counts who has followed when they connect.
                await self._link.close(links.NORMAL, "to show what the new authority has signed")

    async def _replace(self, token: str) -> str:
        """Get another certificate; return why there is none, or ""."""
        try:
            await self._do(Job.RENEW)
        except RefusedError as error:
            fault = str(error)
        except (LinkError, CertificateError) as error:
            logger.debug("the certificate cannot be renewed", extra={"error": str(error)})
            fault = await self._examined(token)  # it may be in order, and the cloud out of reach
        else:
            self._log_done(Job.RENEW)
            return ""
        if fault and token:
            logger.warning("the certificate is replaced by means of the token: %s", fault)
            try:
                await self._enroll(token)
            except (LinkError, CertificateError) as error:
                return str(error)
            return ""
        return fault

    async def _examined(self, token: str) -> str:
        try:
            return await self._do(Job.EXAMINE, token)
        except (LinkError, CertificateError) as error:
            return str(error)

    async def _enroll(self, token: str) -> None:
        await self._do(Job.ENROLL, token)
        self._log_done(Job.ENROLL)

    async def _do(self, job: Job, token: str = "") -> str:
        known = self._time.clock.known()
        async with self._one_at_a_time:
            task = Task(job, self._config, token, known, self._named)
            try:
                words = await self._carry_out(task)
            except OSError as error:
                raise LinkError(f"a file of the identity: {error}") from error
            if self._named:  # what the cloud has said when it connected may be old by now
                self._named = self._newest()
            return words

    def _log_done(self, job: Job) -> None:
        fields = {"node": self._config.node_name, "authority": self._newest()}
        logger.info("certificate: %s", _DONE[job], extra=fields)

    # --- what there is ---------------------------------------------------------------------------

    def _meet(self, link: OpenLink) -> None:
        """Judge the cloud's certificate; note what authority the cloud signs by.

        Raises:
            LinkLostError: the certificate has expired.
        """
        clock = self._time.clock
        try:
            fault = fault_of_cloud(link.certificate, clock.known(), datetime.now(UTC))
            until = validity(link.certificate).not_after
        except CertificateError as error:
            raise LinkLostError("certificate", f"the cloud's certificate: {error}") from error
        if fault:
            raise LinkLostError("expired", fault)
        clock.believed_until_s = until.timestamp()
        self._told_fault, self._doubts = "", 0
        self._replacements.reset()
        self._named = link.authority or self._newest()
        if link.authority:
            share = share_of(self._config.node_name)
            at_s = clock.monotonic() + self._follow_period_s() * share
            self._follow_at_s = min(self._follow_at_s, at_s)
        self._has_met.set()

    def _follow_period_s(self) -> float:
        return FOLLOW_SOON_S if len(self._authorities()) > 1 else FOLLOW_EVERY_S

    def _is_enrolled(self) -> bool:
        return self._config.authority_file.exists() and self._config.node_file.exists()

    def _authorities(self) -> list[bytes]:
        try:
            return ders_of(self._config.authority_file.read_text("ascii"))
        except (OSError, ValueError, CertificateError):
            return []

    def _newest(self) -> str:
        authorities = self._authorities()
        return fingerprint(authorities[0]) if authorities else ""

    def _read_token(self) -> str:
        try:
            return self._token()
        except ConfigError as error:  # the file is gone, which is no reason to stop
            logger.debug("there is no token", extra={"error": str(error)})
            return ""
