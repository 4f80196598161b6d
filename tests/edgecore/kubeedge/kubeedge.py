"""What KubeEdge leaves on an edge machine, made anew: its database and its certificate."""

import base64
import hashlib
import json
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from common import issuing, pki, subjects
from common.names import NodeID
from edgecore.kubeedge.certificate import Files

NODE = "edge-1"
TABLES = (
    "CREATE TABLE `meta` (`key` text, `type` text, `value` text, PRIMARY KEY (`key`))",
    "CREATE TABLE `meta_v2` (`key` text, `value` text, PRIMARY KEY (`key`))",
    "CREATE TABLE `device` (`id` text, PRIMARY KEY (`id`))",
)


def an_object(kind: str, name: str, version: int = 7, **more: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "namespace": "default",
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
    }
    return {"kind": kind, "apiVersion": "v1", "metadata": metadata, **more}


def a_pod(name: str = "web", node: str = NODE, **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "command": ["/bin/true"], **spec}
    return an_object("Pod", name, spec={"nodeName": node, "containers": [container]})


CONFIGMAP = an_object("ConfigMap", "web", data={"greeting": "hello"})
SECRET = an_object("Secret", "db", data={"password": base64.b64encode(b"hunter2").decode()})
OTHERS = [
    (f"null/node/{NODE}", "node", json.dumps({"metadata": {"name": NODE}})),
    ("default/podpatch/web", "podpatch", json.dumps("{}")),
    ('"default"/"default"/[]string(nil)/3607/v1', "serviceaccounttoken", "{}"),
]


def row(value: dict[str, Any], text: str | None = None) -> tuple[str, str, str]:
    kind = value["kind"].lower()
    key = f"default/{kind}/{value['metadata']['name']}"
    return key, kind, json.dumps(value) if text is None else text


def make_database(path: Path, rows: list[tuple[Any, Any, Any]], *, wal: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        for table in TABLES:
            connection.execute(table)
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", rows)


def make_certificate(
    folder: Path,
    now: datetime,
    *,
    authority: issuing.Authority | None = None,
    lifetime: timedelta = issuing.NODE_LIFETIME,
) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    authority = authority or issuing.new_authority(now)
    key = pki.new_key()
    issued = issuing.issue_node(
        authority, subjects.new_csr(key, NodeID(NODE)), NodeID(NODE), now, lifetime
    )
    files = Files(folder / "server.crt", folder / "server.key", folder / "rootCA.crt")
    files.certificate.write_text(pki.cert_to_pem(issued.der))
    files.key.write_bytes(pki.key_to_pem(key))
    files.authority.write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    return files


def no_certificate(folder: Path) -> Files:
    return Files(folder / "none.crt", folder / "none.key", folder / "none-ca.crt")


def state_of(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Return content, times and modes of all files: what must not change."""
    return {
        file.name: (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
            file.stat().st_mode,
        )
        for file in folder.iterdir()
    }
