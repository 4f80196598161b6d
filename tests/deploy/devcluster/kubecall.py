"""Ask an API server from a test, with nothing but the standard library."""

import http.client
import json
import ssl
from typing import Any, Final

from deploy.devcluster.controlplane import ControlPlane

TIMEOUT_S: Final = 30.0
_JSON: Final = "application/json"
_FIRST_FAILURE: Final = 400


class Refused(Exception):
    """The API server answered with a status of 400 or above."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def connect(control_plane: ControlPlane) -> http.client.HTTPSConnection:
    """A connection of one's own; OSError where the API server is away."""
    host, _, port = control_plane.server.removeprefix("https://").partition(":")
    tls = ssl.create_default_context(cafile=control_plane.ca_file)
    connection = http.client.HTTPSConnection(host, int(port), context=tls, timeout=TIMEOUT_S)
    connection.connect()
    return connection


def call(
    control_plane: ControlPlane,
    path: str,
    body: object = None,
    *,
    method: str = "",
    headers: dict[str, str] | None = None,
) -> Any:
    """The answer to one request of the administrator: GET, or POST where there is a body.

    Raises:
        Refused: where the API server says no.
    """
    connection = connect(control_plane)
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path,
            body=None if body is None else json.dumps(body),
            headers={
                "Authorization": f"Bearer {control_plane.token}",
                "Content-Type": _JSON,
                **(headers or {}),
            },
        )
        answer = connection.getresponse()
        content = json.load(answer)
    finally:
        connection.close()
    if answer.status >= _FIRST_FAILURE:
        raise Refused(answer.status, content["message"])
    return content
