"""Take over what KubeEdge's edge knows, so that ours starts with its pods, also without a link.

All objects are kept in one transaction, by the same rules as messages of the cloud. What the cloud
has to say is not anticipated: the store is as incomplete afterwards as it was before, so that
nothing ends because it is missing here.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from common.beehive.message import Message, new
from common.errors import ConfigError, StoreError
from common.names import GroupName, ModuleName, Operation
from edgecore.datadir import locked
from edgecore.edgestore.keyfile import credential
from edgecore.edgestore.store import EdgeStore
from edgecore.kubeedge.certificate import Files, NodeCertificate, read_certificate
from edgecore.kubeedge.meta import TAKEN_TYPES, Found, FoundObject, judge
from edgecore.kubeedge.source import read_meta
from edgecore.metamanager.decide import Outcome
from edgecore.metamanager.keeper import Keeper


class Wish(Struct, frozen=True):
    """What is to be taken over, and whither."""

    source: Path
    """KubeEdge's edgecore.db."""
    files: Files
    data_dir: Path
    force: bool = False
    """Also into a folder that is in use already: what is newer there stays."""


class Report(Struct, frozen=True):
    """What was taken over."""

    kept: Counter[str]
    """Objects by type."""
    stale: tuple[str, ...]
    """Keys of objects of which the edge-store knew something newer."""
    faults: tuple[str, ...]
    """Rows that were left out: ``key: why``."""
    others: Counter[str]
    """Rows of types that are not taken."""
    certificate: NodeCertificate | None


async def take_over(wish: Wish) -> Report:
    """Take over objects and certificate; nothing is changed where that fails.

    Raises:
        ConfigError: the target is in use, or holds something and force is not wished.
        StoreError: the source cannot be read, or the target cannot be written.
        CertificateError: certificate, key and authority do not belong together.
    """
    certificate = read_certificate(wish.files)
    found = judge(read_meta(wish.source), certificate.node if certificate else "")
    with locked(wish.data_dir):
        async with EdgeStore(wish.data_dir, key=credential(os.environ)) as store:
            if not wish.force:
                _check_is_empty(wish.data_dir, store, certificate)
            if certificate is not None:
                _keep(certificate, wish.data_dir)
            outcomes = await _store(store, found.objects)
    return _report(found, outcomes, certificate)


def _check_is_empty(data_dir: Path, store: EdgeStore, certificate: NodeCertificate | None) -> None:
    held = [f"{len(store.index.entries)} stored objects"] if store.index.entries else []
    if certificate is not None and certificate.differs_in(data_dir):
        held.append(f"a certificate of {certificate.node}")
    if held:
        fault = (
            f"--data-dir: {data_dir} holds {' and '.join(held)}: with --force, what comes from"
            " KubeEdge is put beside the objects, in place of those that are older, and the"
            " certificate is replaced"
        )
        raise ConfigError([fault])


def _keep(certificate: NodeCertificate, data_dir: Path) -> None:
    try:
        certificate.keep_in(data_dir)
    except OSError as error:
        raise StoreError(f"{data_dir}: cannot be written: {error.strerror}") from error


async def _store(store: EdgeStore, objects: Sequence[FoundObject]) -> Sequence[Outcome]:
    keeper = Keeper(store)
    await keeper.load()
    return (await keeper.keep([_message(one) for one in objects])).outcomes


def _message(found: FoundObject) -> Message:
    return new(
        ModuleName.EDGE_CONTROLLER,
        GroupName.RESOURCE,
        Operation.INSERT,
        found.key,
        msgspec.Raw(found.value),
        resource_version=found.version,
    )


def _report(
    found: Found, outcomes: Sequence[Outcome], certificate: NodeCertificate | None
) -> Report:
    kept: Counter[str] = Counter(dict.fromkeys(TAKEN_TYPES, 0))
    by_outcome: dict[Outcome, list[str]] = {}
    for one, outcome in zip(found.objects, outcomes, strict=True):
        by_outcome.setdefault(outcome, []).append(one.key)
    kept.update(key.split("/")[1] for key in by_outcome.pop(Outcome.KEPT, ()))
    stale = tuple(by_outcome.pop(Outcome.STALE, ()))
    refused = [f"{key}: {outcome}" for outcome, keys in by_outcome.items() for key in keys]
    return Report(kept, stale, (*found.faults, *refused), found.others, certificate)
