"""What the crash tests have an edge-store do, and what it then has to hold."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgecore.edgestore.database import Database
from edgecore.edgestore.records import (
    COMPLETE_STATE,
    Bury,
    Exhume,
    Put,
    Remove,
    SetState,
    StoredObject,
    Tombstone,
    Write,
)
from tests.edgecore.edgestore.objects import stored

TYPES: Final = ("pod", "configmap", "secret")
_SIZES: Final = (2, 300, 3000, 3000, 9000, 40_000)
_KEYS: Final = 14


@dataclass(frozen=True, slots=True)
class Held:
    """All that an edge-store holds."""

    objects: tuple[StoredObject, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    complete: str | None = None

    def after(self, writes: Iterable[Write]) -> "Held":
        """Return what it holds once ``writes`` are done."""
        objects = {one.key: one for one in self.objects}
        tombstones = {one.uid: one for one in self.tombstones}
        complete = self.complete
        for write in writes:
            match write:
                case Put(one):
                    objects[one.key] = one
                case Remove(key):
                    objects.pop(key, None)
                case Bury(ended):
                    tombstones.pop(ended.uid, None)
                    tombstones[ended.uid] = ended
                case Exhume(key):
                    tombstones = {u: t for u, t in tombstones.items() if t.key != key}
                case SetState(_, value):
                    complete = value
        by_key = tuple(sorted(objects.values(), key=lambda one: one.key))
        return Held(by_key, tuple(tombstones.values()), complete)


def held(database: Database) -> Held:
    """Return what an open database says that it holds, to each of the questions."""
    objects = [one for kind in TYPES for one in database.of_type(kind)]
    assert {(one.key, one.entry) for one in database.identities()} == {
        (one.key, one.entry) for one in objects
    }
    for one in objects[:: len(TYPES)]:
        assert database.get(one.key) == one
    in_order = tuple(sorted(objects, key=lambda one: one.key))
    return Held(in_order, tuple(database.tombstones()), database.state(COMPLETE_STATE))


def history(batches: Sequence[Sequence[Write]]) -> list[Held]:
    """Return what is held before the first batch, after it, after the second, and so on."""
    states = [Held()]
    for batch in batches:
        states.append(states[-1].after(batch))
    return states


def batches(number: int, seed: int) -> list[list[Write]]:
    """Return transactions of every kind: small, of many objects, and larger than the cache."""
    chance = random.Random(seed)
    made: list[list[Write]] = []
    for n in range(number):
        if n % 17 == 11:  # as a whole inventory, or the first messages of a new edge
            made.append([_put(chance, n) for _ in range(30)])
        elif n % 40 == 25:  # spills out of the cache into the log before it is committed
            large = [_put(chance, n, size=60_000) for _ in range(14)]
            made.append([*large, *[Remove(w.stored.key) for w in large[3:]]])
        else:
            made.append([_write(chance, n) for _ in range(chance.randint(1, 3))])
    return made


def _write(chance: random.Random, n: int) -> Write:
    kind = chance.random()
    if kind < 0.6:
        return _put(chance, n)
    if kind < 0.75:
        return Remove(_key(chance))
    if kind < 0.9:
        return Bury(Tombstone(f"u{chance.randint(0, 40)}", _key(chance), n, final=n % 3 == 0))
    if kind < 0.95:
        return Exhume(_key(chance))
    return SetState(COMPLETE_STATE, chance.choice(("yes", "")))


def _put(chance: random.Random, n: int, size: int = 0) -> Put:
    value = chance.randbytes((size or chance.choice(_SIZES)) // 2).hex().encode()
    return Put(replace(stored(_key(chance)), uid=f"u{n}", version=n + 1, value=value))


def _key(chance: random.Random) -> str:
    number = chance.randrange(_KEYS)
    return f"default/{TYPES[number % len(TYPES)]}/o{number}"
