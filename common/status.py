"""Kubernetes ``Status``: the one form in which a refusal or failure travels.

Source: https://kubernetes.io/docs/reference/generated/kubernetes-api/v1.36/#status-v1-meta
"""

from http import HTTPStatus
from typing import Any, Final

import msgspec

MAX_MESSAGE_CHARS: Final = 256
"""A Status is shown and logged only up to here: who knows what a foreign server puts into it."""

_REASONS: Final[dict[int, str]] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Gone",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure in the words of the Kubernetes API."""

    status: str = ""
    message: str = ""
    reason: str = ""
    details: dict[str, Any] | None = None
    code: int = 0

    @property
    def is_not_found(self) -> bool:
        """Whether the object definitely does not exist."""
        return self.code == HTTPStatus.NOT_FOUND

    @property
    def is_conflict(self) -> bool:
        """Whether the write met another one: a stale version, or a name that is taken."""
        return self.code == HTTPStatus.CONFLICT


class StatusError(msgspec.Struct, frozen=True):
    """How a KubeEdge peer marshals an API error: under the Go field name ``ErrStatus``."""

    ErrStatus: Status


def failure(code: int, message: str, *, kind: str = "", name: str = "", reason: str = "") -> Status:
    """Return the Status of a failed request.

    Args:
        code: HTTP status code; gives the reason unless ``reason`` does.
        message: for people; cut to ``MAX_MESSAGE_CHARS``.
        kind: resource type of the object that the request was about.
        name: name of that object.
        reason: the machine's word where the code alone is ambiguous (409 ``AlreadyExists``).
    """
    return Status(
        status="Failure",
        message=message[:MAX_MESSAGE_CHARS],
        reason=reason or _REASONS.get(code, "Unknown"),
        details={"name": name, "kind": kind} if name or kind else None,
        code=code,
    )


def not_found(kind: str, name: str) -> Status:
    """Return the Status for an object that does not exist."""
    return failure(404, f'{kind} "{name}" not found', kind=kind, name=name)
