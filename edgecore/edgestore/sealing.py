"""Values that are encrypted at rest: those of Secrets, and tokens of service accounts.

AES-256-GCM. Bound to its row: a sealed value that is put under another key, UID or version is not
opened. What is sealed says so by its first bytes, which no JSON has.

Source: NIST SP 800-38D; random nonces of 96 bits, so that one key is good for 2^32 values.
"""

import os
from typing import Final, Protocol

from common.names import ResourceType
from edgecore.edgestore.records import StoredObject
from edgecore.edgestore.rows import Row

SEALED_TYPES: Final = frozenset({ResourceType.SECRET, ResourceType.SERVICE_ACCOUNT_TOKEN})
"""Types whose values are kept sealed."""

KEY_BYTES: Final = 32

_MARK: Final = b"\0sealed1"
_NONCE_BYTES: Final = 12


class Keys(Protocol):
    """Where the key comes from; ``edgecore.edgestore.keyfile.KeyFile``."""

    def find(self) -> bytes | None:
        """Return the key; None where there is none that can be used."""

    def find_or_make(self) -> bytes:
        """Return the key, durable if it had to be made; raises ``StoreError`` where it cannot."""


class Sealer:
    """Seals and opens the values of one edge-store; asks for the key when one is to be had."""

    def __init__(self, keys: Keys) -> None:
        """Use the key of ``keys``."""
        self._keys = keys
        self._cipher: _Cipher | None = None

    def value(self, stored: StoredObject) -> bytes:
        """Return the value of ``stored`` as it is to be kept.

        Raises:
            StoreError: it must be sealed, and the key can be neither read nor made.
        """
        if stored.resource_type not in SEALED_TYPES:
            return stored.value
        if self._cipher is None:
            self._cipher = _Cipher(self._keys.find_or_make())
        return self._cipher.seal(stored.value, _label(stored.key, stored.uid, stored.version))

    def opened(self, row: Row) -> Row | None:
        """Return a sound row with its value as it came; None where this key does not open it."""
        key, kind, _, _, uid, version, _, value = row
        if kind not in SEALED_TYPES or not is_sealed(value):
            return row
        if self._cipher is None:
            found = self._keys.find()
            if found is None:
                return None
            self._cipher = _Cipher(found)
        plain = self._cipher.open(value, _label(key, uid, version))
        return None if plain is None else (*row[:-1], plain)


def is_sealed(value: bytes) -> bool:
    """Whether a stored value is sealed."""
    return value.startswith(_MARK)


def _label(key: str, uid: str, version: int) -> bytes:
    return "\0".join((key, uid, str(version))).encode()


class _Cipher:
    def __init__(self, key: bytes) -> None:
        # Not at the top: an edge that holds no Secret and no token does without these 7 MiB.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._aead, self._refusal = AESGCM(key), InvalidTag

    def seal(self, plain: bytes, label: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return _MARK + nonce + self._aead.encrypt(nonce, plain, label)

    def open(self, sealed: bytes, label: bytes) -> bytes | None:
        nonce, text = sealed[len(_MARK) :][:_NONCE_BYTES], sealed[len(_MARK) + _NONCE_BYTES :]
        try:
            return self._aead.decrypt(nonce, text, label)
        except (self._refusal, ValueError):  # the second: too short for a nonce
            return None
