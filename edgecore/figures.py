"""Numbers of one edge that are found out when somebody asks for them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from common.errors import CertificateError
from common.metrics import About, Reading, Registry
from edgecore.edgehub.certificates import ders_of, validity


class Facts(Struct, frozen=True):
    """Where an edge's numbers come from; asked in another thread."""

    pods: Callable[[], Mapping[str, int]]
    """Pods by phase."""
    offline_s: Callable[[], float]
    waiting: Callable[[], int]
    objects: Callable[[], int]
    runtime_fault: Callable[[], str]
    """Why the container runtime cannot be asked; empty where it can be."""
    clock_offset_s: Callable[[], float]
    pending: Callable[[], Mapping[str, int]]
    """Messages in each mailbox."""
    store: Path
    """The database."""
    certificate: Path
    """Of the node, PEM."""

    def show(self, registry: Registry) -> None:
        """Show all of it in ``registry``, which is that of this edge only."""

        def gauge(
            name: str,
            text: str,
            read: Callable[[], float | Mapping[str, float] | None],
            *labels: str,
        ) -> None:
            Reading(About(f"edgecore_{name}", text, _GAUGE, labels), registry, read)

        gauge("pods", "Pods of this node, by phase.", self.pods, "phase")
        gauge(
            "offline_seconds", "Seconds without a connection to the cloud; 0 with.", self.offline_s
        )
        gauge(
            "outbox_messages",
            "Messages for the cloud that wait to be written, or for their answer.",
            self.waiting,
        )
        gauge("store_objects", "Objects in the edge-store.", self.objects)
        gauge("store_bytes", "Size of the edge-store's files.", self._store_bytes)
        gauge(
            "runtime_up",
            "Whether the container runtime can be asked.",
            lambda: int(not self.runtime_fault()),
        )
        gauge(
            "clock_offset_seconds",
            "What must be added to this machine's clock to have the cloud's.",
            self.clock_offset_s,
        )
        gauge(
            "certificate_expiry_timestamp_seconds",
            "Until when the node's certificate is good, since the epoch; missing without one.",
            self._expiry_s,
        )
        gauge(
            "mailbox_messages",
            "Messages that wait for a module to take them.",
            self.pending,
            "module",
        )

    def _store_bytes(self) -> int:
        beside = (self.store.with_name(self.store.name + end) for end in ("", "-wal"))
        return sum(path.stat().st_size for path in beside if path.exists())

    def _expiry_s(self) -> float | None:
        try:
            return validity(ders_of(self.certificate.read_text("ascii"))[0]).not_after.timestamp()
        except (OSError, ValueError, IndexError, CertificateError):
            return None


_GAUGE: Literal["gauge"] = "gauge"
