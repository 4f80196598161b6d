"""Look at what lies on the edge's disk; writes nothing, and holds nothing."""

import base64
import json
import os
import shutil
import stat
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from common import pki, subjects
from common.clock import parse_rfc3339
from common.errors import CertificateError, ConfigError, StoreError
from edgecore.commands.place import key_of
from edgecore.config import EdgeSettings
from edgecore.doctor.kept import Certificate, Folder, Kept, Store, Token
from edgecore.edgehub.certificates import ders_of, fingerprint, validity
from edgecore.edgehub.timekeeper import TIME_STATE
from edgecore.edgestore.reading import StoreReader, read_store
from edgecore.edgestore.records import COMPLETE_STATE
from edgecore.edgestore.store import FILE_NAME
from edgecore.tokensource import STANDARD_INPUT, credential_token

_PARTS: Final = 4  # of a token: the authority's hash, and the three of a JWT
_NODE_CLAIM: Final = "node"


def look(data_dir: Path, node: str, settings: EdgeSettings | None) -> Kept:
    """Return what lies there.

    Args:
        data_dir: of the edge.
        node: its name.
        settings: where the token is; None where the configuration cannot be used.
    """
    folder, store = _folder(data_dir), _store(data_dir)
    authorities = authorities_of(data_dir)
    now = datetime.now(UTC)
    return Kept(
        node,
        max(now, store.time) if store.time else now,
        folder,
        store,
        _certificate(data_dir / "pki" / f"{node}.pem", authorities),
        Token("") if settings is None else _token(settings, authorities),
    )


def authorities_of(data_dir: Path) -> list[bytes]:
    """Return the authorities that are trusted here, DER; none where there are none that can be."""
    try:
        return ders_of((data_dir / "pki" / "ca.crt").read_text("ascii"))
    except (OSError, ValueError, CertificateError):
        return []


def _folder(path: Path) -> Folder:
    try:
        found = path.stat()
        usage = shutil.disk_usage(path)
    except FileNotFoundError:
        return Folder(str(path))
    except OSError as error:
        return Folder(str(path), error=error.strerror or "cannot be read")
    mode = stat.S_IMODE(found.st_mode)
    is_ours = found.st_uid == os.geteuid()
    return Folder(str(path), mode, is_ours, usage.free, usage.total)


def _store(data_dir: Path) -> Store:
    path = data_dir / FILE_NAME
    keys = key_of(data_dir)

    def read(reader: StoreReader) -> Store:
        fault = reader.check()
        time = reader.state(TIME_STATE)
        return Store(
            is_there=True,
            fault=fault,
            is_opened=None if fault else reader.is_opened_by(keys),
            key=str(keys),
            time=parse_rfc3339(time) if time else None,
            is_complete=reader.state(COMPLETE_STATE) == "yes",
        )

    try:
        if not path.exists():
            return Store(is_there=False)
        return read_store(path, read)
    except (StoreError, OSError, ValueError) as error:
        return Store(is_there=True, error=str(error))


def _certificate(file: Path, authorities: list[bytes]) -> Certificate:
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return Certificate(str(file), is_there=False)
    except OSError as error:
        return Certificate(str(file), is_there=True, error=error.strerror or "cannot be read")
    try:
        der = ders_of(text.decode("ascii", "replace"))[0]
        found = pki.load_certificate(der)
        is_of_authority = any(
            pki.has_signed(pki.load_certificate(authority), found) for authority in authorities
        )
        return Certificate(
            str(file),
            is_there=True,
            node=subjects.node_of_certificate(der),
            until=validity(der).not_after,
            is_of_authority=is_of_authority,
        )
    except (CertificateError, IndexError) as error:
        return Certificate(str(file), is_there=True, error=f"not a certificate: {error}")


def _token(settings: EdgeSettings, authorities: list[bytes]) -> Token:
    settings = credential_token(settings, os.environ)
    if settings.token_file == STANDARD_INPUT:
        return Token("")  # was read, and is gone
    where = str(settings.token_file) if settings.token_file else "--token" if settings.token else ""
    if not where:
        return Token("")
    try:
        hashed, claims = _claims(settings.read_token())
    except ConfigError as error:
        return Token(where, str(error).removeprefix(f"--token-file: {where}: "))
    except (ValueError, TypeError):
        return Token(where, "is no token: cloudcore token create prints one")
    end, node = claims.get("exp"), claims.get(_NODE_CLAIM)
    return Token(
        where,
        expires=datetime.fromtimestamp(end, UTC) if isinstance(end, int | float) else None,
        node=node if isinstance(node, str) else None,
        is_of_authority=hashed in map(fingerprint, authorities) if authorities else None,
    )


def _claims(token: str) -> tuple[str, Mapping[str, Any]]:
    """Return the hash of the token's authority, and what it claims, which nobody checks here."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise ValueError("not four parts")
    payload = parts[2]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if not isinstance(claims, dict):
        raise TypeError("no claims")
    return parts[0].lower(), claims
