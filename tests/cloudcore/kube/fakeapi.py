"""A list and watch of ConfigMaps in memory, as little of an API server as ``ListWatch`` needs.

``test_listwatch`` holds it to what the real one does.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import RemoteError
from common.status import Status, failure


def gone() -> Status:
    return failure(410, "too old resource version", reason="Expired")


@dataclass
class FakeApi:
    """Objects by name, and the events since ``oldest``."""

    version: int = 10
    oldest: int = 10
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    failures: list[Status] = field(default_factory=list)
    """What the next requests are refused with."""

    requests: list[Mapping[str, str]] = field(default_factory=list)
    end_watches: bool = False
    """End each watch once it has told what there is."""

    babble: list[bytes] = field(default_factory=list)
    """The only line of the next watch."""

    silences: int = 0
    """So many watches say nothing until that is taken for half open."""

    _is_cut: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def create(self, name: str) -> None:
        await self._put("ADDED", name, f"uid-{self.version}")

    async def change(self, name: str) -> None:
        await self._put("MODIFIED", name, self.objects[name]["metadata"]["uid"])

    async def delete(self, name: str) -> None:
        await self._put("DELETED", name, self.objects[name]["metadata"]["uid"])
        del self.objects[name]

    async def forget(self) -> None:
        """Lose all events so far."""
        self.oldest, self.log = self.version, []

    async def restore(self, version: int) -> None:
        """Go back to ``version``, as after a restore from a backup; who watches is cut off."""
        self.version = self.oldest = version
        self.log = []
        async with self._changed:
            self._is_cut = True
            self._changed.notify_all()

    async def get(self, path: str, *, params: Mapping[str, str]) -> bytes:
        self._admit(path, params)
        names = sorted(self.objects)[int(params.get("continue", "0")) :]
        limit = int(params["limit"])
        rest = len(self.objects) - len(names) + limit if len(names) > limit else 0
        metadata = {"resourceVersion": str(self.version), "continue": str(rest) if rest else ""}
        items = [self.objects[name] for name in names[:limit]]
        return json.dumps({"metadata": metadata, "items": items}).encode()

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        self._admit(path, params)
        version = int(params["resourceVersion"])
        if self.babble:
            yield self.babble.pop()
            return
        if self.silences:
            self.silences -= 1
            raise RemoteError(failure(504, "the API server did not answer in time"))
        if version < self.oldest:
            yield _line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
            return
        while True:
            for at, event in list(self.log):
                if at > version:
                    version = at
                    yield _line(event["type"], event["object"])
            if self.end_watches:
                return
            async with self._changed:
                while self.version <= version and not self._is_cut:
                    await self._changed.wait()
            if self._is_cut:
                self._is_cut = False
                raise RemoteError(failure(503, "connection reset"))

    def _admit(self, path: str, params: Mapping[str, str]) -> None:
        self.requests.append(dict(params))
        if self.failures:
            raise RemoteError(self.failures.pop(0))
        assert path == "/api/v1/configmaps"

    async def _put(self, event_type: str, name: str, uid: str) -> None:
        self.version += 1
        metadata = {
            "name": name,
            "namespace": "default",
            "uid": uid,
            "resourceVersion": str(self.version),
        }
        self.objects[name] = {"metadata": metadata}
        full = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}
        self.log.append((self.version, {"type": event_type, "object": full}))
        async with self._changed:
            self._changed.notify_all()


def _line(event_type: str, body: object) -> bytes:
    return json.dumps({"type": event_type, "object": body}).encode()
