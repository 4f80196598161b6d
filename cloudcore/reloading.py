"""Take over a configuration that was changed, on SIGHUP, as far as that goes without a restart."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from cloudcore.config import CloudCoreSettings
from common import pki
from common.errors import CertificateError, ConfigError
from common.logs import set_level
from common.settings import flag_name

logger = logging.getLogger(__name__)

HOSTS: Final = "advertise_address"
"""What can change while cloudcore runs, besides ``log_level``."""


class Reloading:
    """Reads the configuration again when it is told to."""

    def __init__(
        self, settings: CloudCoreSettings, reread: Callable[[], CloudCoreSettings]
    ) -> None:
        """Begin with ``settings``; ``reread`` reads the configuration as it is now; it may block.

        From now on SIGHUP does not end the process any more.
        """
        self._settings, self._reread = settings, reread
        self._asked = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._asked.set)

    async def run(self, rename: Callable[[Sequence[str]], None]) -> None:
        """Take over the configuration at each SIGHUP, also one that came before, until cancelled.

        A faulty one is logged, and changes nothing.

        Args:
            rename: gets the hosts by which edges reach this cloudcore, if they are others.
        """
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                self._take(await asyncio.to_thread(self._reread), rename)
            except (ConfigError, CertificateError) as error:
                logger.error(  # noqa: TRY400 - whoever wrote the file has no use for a traceback
                    "the configuration is faulty, nothing has changed", extra={"faults": str(error)}
                )

    def _take(self, settings: CloudCoreSettings, rename: Callable[[Sequence[str]], None]) -> None:
        hosts = settings.advertise_address
        pki.canonical_hosts(hosts)
        is_renamed = hosts != self._settings.advertise_address
        level = settings.log_level
        self._settings = replace(self._settings, advertise_address=hosts, log_level=level)
        set_level(level)
        if is_renamed:
            rename(hosts)
        others = changed(self._settings, settings)
        if others:
            logger.warning(
                "some changes need a restart", extra={"options": ",".join(map(flag_name, others))}
            )
        for note in settings.notes:
            logger.warning("%s", note)
        logger.info("the configuration was read again", extra={HOSTS: ",".join(hosts)})


def changed(before: CloudCoreSettings, after: CloudCoreSettings) -> list[str]:
    """Return the names of the options that are not the same."""
    return [
        name
        for name in CloudCoreSettings.options()
        if getattr(before, name) != getattr(after, name)
    ]
