"""Begin with the certificate of the KubeEdge edge that was here before. Also a program of its own.

``python -m edgecore.kubeedge.adopting`` does it, because the cryptography that it needs would stay
resident in a daemon that needs it once.
"""

import asyncio
import logging
import os
import sys
from pathlib import Path

from msgspec import Struct

from common.errors import CertificateError
from edgecore.edgehub.enrollconfig import EnrollConfig

logger = logging.getLogger(__name__)


class Adoption(Struct, frozen=True):
    """Whose certificate is taken over, whence and whither."""

    node_name: str
    data_dir: Path
    certificate: Path
    key: Path
    authority: Path

    @property
    def is_needed(self) -> bool:
        """Whether the node has no certificate of its own yet."""
        config = EnrollConfig(self.node_name, "", 0, str(self.data_dir / "pki"))
        return not config.node_file.exists() and os.path.exists(self.certificate)


async def adopt(adoption: Adoption) -> None:
    """Take over the certificate where the node has none. What is wrong is logged: a token will do.

    The key stays where it is as well, so that KubeEdge's edge can be started again.
    """
    if not adoption.is_needed:
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",  # not from the current folder, which may be anybody's
        "-m",
        "edgecore.kubeedge.adopting",
        adoption.node_name,
        *map(str, (adoption.data_dir, adoption.certificate, adoption.key, adoption.authority)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == 0:
        logger.info(
            "the certificate of KubeEdge's edge is taken over; `edgecore import` takes over what"
            " that knows of its pods as well",
            extra={"node": adoption.node_name},
        )
        return
    words = output.decode(errors="replace") or f"code {process.returncode}"
    logger.warning("KubeEdge's certificate is not taken over: %s", words)


def main(node_name: str, *paths: str) -> None:
    """Do an adoption; say on standard output what is wrong, and end with 1 then."""
    try:
        _carry_out(Adoption(node_name, *map(Path, paths)))
    except (CertificateError, OSError) as error:
        sys.stdout.write(str(error))
        sys.exit(1)


def _carry_out(adoption: Adoption) -> None:
    """Take it over.

    Raises:
        CertificateError, OSError: see ``certificate``; nothing was changed.
    """
    # Not at the top: this module is the daemon's too.
    from edgecore.kubeedge.certificate import Files, read_certificate  # noqa: PLC0415

    found = read_certificate(Files(adoption.certificate, adoption.key, adoption.authority))
    node = None if found is None else found.node
    if found is None or node != adoption.node_name:
        raise CertificateError(
            f"{adoption.certificate}: is that of {node}, not of {adoption.node_name}"
        )
    found.keep_in(adoption.data_dir)


if __name__ == "__main__":
    main(*sys.argv[1:])
