"""The errors of both daemons.

::

    EdgeError
    ├─ ConfigError              at start only: exit code 2, all faults listed
    ├─ WireError                bytes that cannot be accepted: refused and counted, never retried
    │  ├─ MessageTooLargeError
    │  └─ UnknownOperationError
    ├─ ResourceError            a resource string that cannot be built or parsed
    ├─ BusError                 misuse of beehive
    │  ├─ UnknownModuleError    nobody of that name, or no such group
    │  ├─ MailboxClosedError    the module is shutting down
    │  └─ ReplyTimeoutError     send_sync: no reply in time
    ├─ LinkError                the connection is gone or silent: reconnect; callers see it
    ├─ RemoteError              the other side refused; carries a Kubernetes Status
    ├─ CertificateError         a certificate, key or signing request that cannot be used
    ├─ StoreError               the edge-store cannot keep what it was given (full, damaged)
    ├─ RuntimeServiceError      the container runtime refused or is away
    └─ ComponentExitedError     a module ended by itself: our fault, the daemon stops

A library's exceptions are translated where that library is imported, so that callers know these
only.
"""

from typing import Final

from common.status import Status


class EdgeError(Exception):
    """Root of everything that the daemons raise on purpose."""


class ConfigError(EdgeError):
    """The configuration cannot be used; ``faults`` tells all that is wrong with it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class WireError(EdgeError):
    """Bytes from the peer are not a message that this project accepts."""


class MessageTooLargeError(WireError):
    """A message is larger than the configured limit."""


class UnknownOperationError(WireError):
    """The envelope is sound but its operation is not one of ``names.Operation``.

    ``msg_id`` is there so that the sender can be answered.
    """

    def __init__(self, operation: str, msg_id: str, resource: str) -> None:
        super().__init__(f"unknown operation {operation[:64]!r}")
        self.operation, self.msg_id, self.resource = operation, msg_id, resource


class ResourceError(EdgeError):
    """A resource lacks a part, has one too many, or has one that cannot stand in it."""


class BusError(EdgeError):
    """Beehive was asked for something it cannot do."""


class UnknownModuleError(BusError):
    """A message was addressed to a module or group that is not part of this daemon."""


class MailboxClosedError(BusError):
    """The mailbox takes no more, or is closed and empty."""


class ReplyTimeoutError(BusError):
    """A reply that was waited for did not come in time."""


class LinkError(EdgeError):
    """There is no working connection to the other daemon."""


class RemoteError(EdgeError):
    """A request was refused by the other side or by the API server."""

    def __init__(self, status: Status) -> None:
        super().__init__(f"{status.code} {status.reason}: {status.message}")
        self.status = status


class CertificateError(EdgeError):
    """A certificate, a key or a signing request is damaged, or not what it has to be."""


class StoreError(EdgeError):
    """The edge-store cannot read or keep what it was asked to."""


class RuntimeServiceError(EdgeError):
    """The container runtime refused; ``reason`` is the word for a pod's condition or event."""

    UNAVAILABLE: Final = "RuntimeUnavailable"
    """The reason where it did not refuse: nobody answered, so nothing is known."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def is_unavailable(self) -> bool:
        """Whether the runtime could not be asked at all."""
        return self.reason == self.UNAVAILABLE


class ComponentExitedError(EdgeError):
    """A module ended though nobody asked it to."""
