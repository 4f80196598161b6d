"""Judge what lies on the edge's disk: folder, edge-store, certificate, token. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from common.checks import Finding, Verdict

MIN_FREE_BYTES: Final = 64 * 1024 * 1024
"""With less, commits fail before anybody has looked."""

LOW_FREE_SHARE: Final = 0.1
"""With less than this share, edgecore begins to remove images, and soon evicts pods."""

SOON: Final = timedelta(days=14)
"""A certificate that ends in less was not renewed when it should have been."""

_OTHERS: Final = 0o077
_MIB: Final = 1024 * 1024


class Folder(Struct, frozen=True):
    """The data folder."""

    path: str
    mode: int | None = None
    """None where it is not there."""
    is_ours: bool = True
    free_bytes: int = 0
    total_bytes: int = 0
    error: str = ""


class Store(Struct, frozen=True):
    """The edge-store."""

    is_there: bool
    error: str = ""
    """Why it cannot be read, with what to do."""
    fault: str = ""
    """What SQLite's check found."""
    is_opened: bool | None = None
    """Whether the key opens what is sealed; None where nothing is."""
    key: str = ""
    """Where the key is."""
    time: datetime | None = None
    """The last time that the cloud has told."""
    is_complete: bool = False


class Certificate(Struct, frozen=True):
    """The node's certificate."""

    file: str
    is_there: bool
    error: str = ""
    node: str | None = None
    """Whom it is for."""
    until: datetime | None = None
    is_of_authority: bool = False
    """Whether an authority that is trusted here has signed it."""


class Token(Struct, frozen=True):
    """The join token that is given, without the token."""

    where: str
    """"" where none is given."""
    error: str = ""
    expires: datetime | None = None
    node: str | None = None
    """The only one that it is for; None for any."""
    is_of_authority: bool | None = None
    """Whether it is of the authority that is trusted here; None where none is trusted yet."""


class Kept(Struct, frozen=True):
    """All of it."""

    node: str
    now: datetime
    """The later of this machine's time and the cloud's last one."""
    folder: Folder
    store: Store
    certificate: Certificate
    token: Token


def judge(kept: Kept) -> Iterator[Finding]:
    """Yield what is to be said of what lies on the disk."""
    yield _folder(kept.folder)
    if kept.folder.mode is not None and not kept.folder.error:
        yield _disk(kept.folder)
    yield from _store(kept.store)
    yield _certificate(kept)
    if kept.token.where or not kept.certificate.is_there:
        yield _token(kept)


def _folder(folder: Folder) -> Finding:
    name = "data folder"
    if folder.error:
        return Finding(
            name,
            Verdict.FAIL,
            f"{folder.path}: {folder.error}",
            "run this as root, or mend --data-dir",
        )
    if folder.mode is None:
        return Finding(
            name,
            Verdict.WARN,
            f"{folder.path} is not there: edgecore has not run with it",
            "start edgecore, which makes it; or say where it is with --data-dir or --config",
        )
    if not folder.is_ours:
        fix = f"chown -R root: {folder.path}, or run edgecore as its owner"
        return Finding(name, Verdict.FAIL, f"{folder.path} belongs to another user", fix)
    if folder.mode & _OTHERS:
        found = f"{folder.path} may be used by others: mode {folder.mode:04o}"
        return Finding(name, Verdict.WARN, found, f"chmod 0700 {folder.path}")
    return Finding(name, Verdict.OK, f"{folder.path} is this user's alone")


def _disk(folder: Folder) -> Finding:
    name, free = "disk", folder.free_bytes
    found = f"{free // _MIB} MiB of {folder.total_bytes // _MIB} MiB are free at {folder.path}"
    fix = "remove what nobody needs: old logs, images (crictl rmi --prune), core dumps"
    if free < MIN_FREE_BYTES:
        return Finding(name, Verdict.FAIL, found, fix)
    if free < LOW_FREE_SHARE * folder.total_bytes:
        return Finding(name, Verdict.WARN, f"{found}: pods will be evicted", fix)
    return Finding(name, Verdict.OK, found)


def _store(store: Store) -> Iterator[Finding]:
    name = "edge-store"
    if not store.is_there:
        fix = "start edgecore; it is filled when it connects"
        yield Finding(
            name, Verdict.WARN, "there is none yet: this edge was never told anything", fix
        )
        return
    if store.error:
        yield Finding(name, Verdict.FAIL, store.error, "see there; pods that run go on")
        return
    if store.fault:
        fix = "restart edgecore: it sets the file aside and asks the cloud for everything"
        yield Finding(name, Verdict.FAIL, f"damaged: {store.fault}", fix)
        return
    if store.is_complete:
        yield Finding(name, Verdict.OK, "sound, and the cloud has confirmed that it is complete")
    else:
        fix = "let edgecore connect once: until then it ends no pod that it does not know"
        yield Finding(name, Verdict.WARN, "sound, but not confirmed to be complete", fix)
    if store.is_opened is not None:
        yield _key(store)


def _key(store: Store) -> Finding:
    if store.is_opened:
        return Finding("edge-store key", Verdict.OK, f"{store.key} opens the stored Secrets")
    return Finding(
        "edge-store key",
        Verdict.FAIL,
        f"{store.key} does not open the stored Secrets: pods that need them cannot start offline",
        "put the key back that sealed them, or let edgecore connect: it asks for them anew. Where"
        " it is a credential of systemd, look while edgecore runs",
    )


def _certificate(kept: Kept) -> Finding:
    name, found = "certificate", kept.certificate
    if not found.is_there:
        return Finding(
            name, Verdict.WARN, f"{kept.node} has none yet", "edgecore gets one for a join token"
        )
    anew = (
        f"on the cloud side: cloudcore token create --node-name {kept.node}; then restart edgecore"
        " with that token"
    )
    if found.error or found.until is None:
        return Finding(
            name,
            Verdict.FAIL,
            f"{found.file}: {found.error or 'no dates'}",
            f"move it away; {anew}",
        )
    if found.node != kept.node:
        whose = found.node or "nobody that this project knows"
        fix = f"run edgecore with --node-name {whose}, or {anew}"
        return Finding(name, Verdict.FAIL, f"{found.file} is of {whose}, not of {kept.node}", fix)
    if not found.is_of_authority:
        words = f"{found.file} was signed by none of the authorities that are trusted here"
        return Finding(name, Verdict.FAIL, words, anew)
    until = f"{found.until:%Y-%m-%d}"
    if found.until <= kept.now:
        fix = f"let edgecore connect: it renews by proof of its key. If it is refused, {anew}"
        return Finding(name, Verdict.WARN, f"of {kept.node}, has expired on {until}", fix)
    if found.until - kept.now < SOON:
        fix = "let edgecore connect: it should have renewed it by now; its log says why it has not"
        return Finding(name, Verdict.WARN, f"of {kept.node}, ends on {until}", fix)
    return Finding(name, Verdict.OK, f"of {kept.node}, good until {until}")


def _token(kept: Kept) -> Finding:
    """Judge the token; a fault of it matters only where there is no certificate yet."""
    token, bad = kept.token, Verdict.WARN if kept.certificate.is_there else Verdict.FAIL
    fix = f"on the cloud side: cloudcore token create --node-name {kept.node}"
    if kept.certificate.is_there:
        fix = f"none needed while the certificate is good; to join anew, {fix}"
    found = ""
    if not token.where:
        found = "none is given, and there is no certificate: this edge cannot join"
    elif token.error:
        found = f"{token.where}: {token.error}"
    elif token.expires is not None and token.expires <= kept.now:
        found = f"{token.where}: has expired at {token.expires:%Y-%m-%d %H:%M} UTC"
    elif token.node not in (None, kept.node):
        found = f"{token.where}: is for {token.node}, not for {kept.node}"
    elif token.is_of_authority is False:
        found = f"{token.where}: is of another authority than the one that is trusted here"
    if found:
        return Finding("token", bad, found, fix)
    until = f" until {token.expires:%Y-%m-%d %H:%M} UTC" if token.expires else ""
    return Finding("token", Verdict.OK, f"{token.where}: good{until}")
