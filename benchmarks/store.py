"""What it costs the edge-store to keep an object: fsync and all, on this machine's disk."""

import asyncio
import time
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure
from edgecore.edgestore.records import Put, StoredObject, Write
from edgecore.edgestore.store import EdgeStore

ROUNDS: Final = 200
BATCH: Final = 50
VALUE: Final = b'{"kind":"ConfigMap","data":{"x":"' + b"x" * 3000 + b'"}}'


async def measure(folder: Path) -> list[Figure]:
    """Store objects of 3 KB one by one, in batches, and from many callers at a time."""
    async with EdgeStore(folder) as store:
        one = await _each_us(store, 1)
        batch = await _each_us(store, BATCH)
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(ROUNDS * 10):
                group.create_task(store.apply([_write(number)]))
        grouped = (time.perf_counter() - start) / (ROUNDS * 10) * 1e6
    return [
        Figure("edge-store: one object a commit", one, "µs", None, "216 µs"),
        Figure(f"edge-store: {BATCH} objects a commit, each", batch, "µs", None, "25 µs"),
        Figure("edge-store: one object a call, 2,000 callers, each", grouped, "µs"),
    ]


async def _each_us(store: EdgeStore, batch: int) -> float:
    start = time.perf_counter()
    for number in range(ROUNDS):
        await store.apply([_write(number * batch + offset) for offset in range(batch)])
    return (time.perf_counter() - start) / (ROUNDS * batch) * 1e6


def _write(number: int) -> Write:
    name = f"object-{number}"
    return Put(
        StoredObject(
            key=f"default/configmap/{name}",
            resource_type="configmap",
            namespace="default",
            name=name,
            uid=name,
            version=number,
            value=VALUE,
        )
    )
