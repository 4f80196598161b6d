"""The recorded traffic of a real KubeEdge pair, as the replays in both directions need it.

One JSON object a line: ``dir`` is ``handshake``, ``up`` (edge to cloud), ``down`` or ``note`` (what
was done to the cluster at this point), ``message`` what was said.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

FILE: Final = Path(__file__).parent / "data" / "kubeedge-transcript.jsonl"
NODE: Final = "ke-real"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: who said it, and what; a note's text is in ``note``."""

    direction: str
    message: dict[str, Any]
    note: str = ""

    @property
    def operation(self) -> str:
        """The verb."""
        return str(self.message["route"]["operation"])

    @property
    def resource(self) -> str:
        """What it is about."""
        return str(self.message["route"]["resource"])

    @property
    def msg_id(self) -> str:
        """Its id."""
        return str(self.message["header"]["msg_id"])

    @property
    def parent_id(self) -> str:
        """The id of what it answers; empty where it answers nothing."""
        return str(self.message["header"].get("parent_msg_id", ""))


def lines() -> list[Line]:
    """Return the transcript."""
    parsed = (json.loads(text) for text in FILE.read_text().splitlines())
    return [
        Line(line["dir"], {}, line["message"])
        if line["dir"] == "note"
        else Line(line["dir"], line["message"])
        for line in parsed
    ]


def shape(content: object) -> object:
    """Return what a peer tells an answer by: its wrapping, and the kind of object in it.

    ``"OK"``, ``{"ErrStatus": code}``, ``{"Object": …, "Err": …}`` or the object itself.
    """
    match content:
        case {"ErrStatus": {"code": code, "reason": reason}}:
            return {"ErrStatus": (code, reason)}
        case {"Object": wrapped, "Err": error}:
            return {"Object": wrapped is not None, "Err": shape(error)}
        case {"metadata": {"name": name}}:
            # Kind and version are told by the resource where the recorded cloud left them out.
            return {"name": name}
        case {"metadata": _}:
            return "an object"
        case _:
            return content
