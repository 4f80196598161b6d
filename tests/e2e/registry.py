"""A registry of images on loopback, with one image and one login: a double of a real one.

It answers what a container engine asks when it pulls, and nothing else; it knows no TLS.

Format: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import base64
import json
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web

from deploy.devcluster import machine, ociimages
from deploy.devcluster.ports import LOOPBACK, free_ports

REPOSITORY = "team/app"
SAYS = ("/bin/sh", "-c", "echo pulled; trap 'exit 0' TERM; while :; do sleep 0.1; done")


@dataclass(slots=True)
class Registry:
    """What it has, and who asked for it."""

    host: str
    """With the port; a name of loopback, at which engines expect plain HTTP."""
    user: str = "puller"
    password: str = "open-sesame"
    served: int = 0
    """Requests of whom it knows."""
    refused: int = 0
    manifest: bytes = b""
    blobs: dict[str, bytes] = field(default_factory=dict)

    @property
    def image(self) -> str:
        """The name of its image."""
        return f"{self.host}/{REPOSITORY}:1"

    def secret(self, name: str, password: str) -> dict[str, Any]:
        """Return a Secret with which a pod may pull."""
        config = {"auths": {self.host: {"username": self.user, "password": password}}}
        return {
            "metadata": {"name": name},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps(config)},
        }

    def fill(self, archive: Path) -> None:
        """Have an image of its own, made in ``archive``."""
        made = ociimages.Image(self.image, entrypoint=SAYS)
        ociimages.write_archive(archive, machine.program("busybox"), [made])
        with tarfile.open(archive) as layout:
            files = {member.name: layout.extractfile(member) for member in layout}
            contents = {name: file.read() for name, file in files.items() if file is not None}
        for name, content in contents.items():
            if name.startswith("blobs/sha256/"):
                self.blobs[f"sha256:{Path(name).name}"] = content
        [descriptor] = json.loads(contents["index.json"])["manifests"]
        self.manifest = self.blobs[descriptor["digest"]]

    async def answer(self, request: web.Request) -> web.Response:
        """Serve one request."""
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if request.headers.get(hdrs.AUTHORIZATION) != f"Basic {login}":
            self.refused += 1
            realm = {hdrs.WWW_AUTHENTICATE: f'Basic realm="{self.host}"'}
            return web.Response(status=401, headers=realm, text="who are you?")
        self.served += 1
        kind, _, name = request.match_info["rest"].partition("/")
        if kind == "blobs" and name in self.blobs:
            return web.Response(body=self.blobs[name])
        if kind == "manifests" and (name == "1" or self.blobs.get(name) == self.manifest):
            return web.Response(
                body=self.manifest, content_type=json.loads(self.manifest)["mediaType"]
            )
        return web.Response(status=404)


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[Registry]:
    """Run a registry on a free port while the context lasts. Args: folder: for its image."""
    [port] = free_ports(1)
    found = Registry(f"localhost:{port}")
    found.fill(folder / "registry.tar")
    app = web.Application()
    app.router.add_get(f"/v2/{REPOSITORY}/{{rest:.*}}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, port).start()
        yield found
    finally:
        await runner.cleanup()
