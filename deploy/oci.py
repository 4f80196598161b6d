"""Write image archives: an OCI layout in a tar file, which engines and registries' tools take.

The same content gives the same bytes: all is of the year 1970 and belongs to root.

Format: https://github.com/opencontainers/image-spec
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that an archive has, however many of its images share it."""

    descriptor: Mapping[str, Any]
    diff_id: str
    """The digest of what is in it, unpacked."""


class Archive:
    """An archive in the making."""

    def __init__(self) -> None:
        """Nothing is in it yet."""
        self._blobs: dict[str, bytes] = {}
        self._manifests: list[dict[str, Any]] = []

    def add_layer(self, content: bytes, *, unpacked: bytes | None = None) -> Layer:
        """Keep a layer.

        Args:
            content: a tar file.
            unpacked: the same without gzip; None where ``content`` has none.
        """
        if unpacked is None:
            descriptor = self._add(content, LAYER)
            return Layer(descriptor, str(descriptor["digest"]))
        return Layer(self._add(content, f"{LAYER}+gzip"), _digest(unpacked))

    def add_image(self, name: str, layers: Sequence[Layer], config: Mapping[str, Any]) -> None:
        """Keep an image for this machine's architecture.

        Args:
            name: with its tag, and with a registry where the engine that takes it wants one.
            layers: the lowest first.
            config: what it is run with: ``Entrypoint``, ``Env`` …
        """
        machine = platform.machine()
        described = {
            "architecture": _ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._add(to_json(described), _CONFIG),
            "layers": [one.descriptor for one in layers],
        }
        named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
        descriptor = self._add(to_json(manifest), _MANIFEST)
        self._manifests.append(descriptor | {"annotations": named})

    def write(self, path: Path) -> None:
        """Write it to ``path``, which is replaced.

        Raises:
            OSError: it cannot be written.
        """
        index = {"schemaVersion": 2, "manifests": self._manifests}
        with tarfile.open(path, "w") as archive:
            add_file(archive, "oci-layout", to_json({"imageLayoutVersion": "1.0.0"}))
            add_file(archive, "index.json", to_json(index))
            for digest, content in self._blobs.items():
                add_file(archive, f"blobs/{digest.replace(':', '/')}", content)

    def _add(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = _digest(content)
        self._blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def add_file(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """Put a file of root's into ``archive``."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))


def to_json(value: object) -> bytes:
    """Return ``value`` in the one way that it is written."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
