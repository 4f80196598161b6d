"""P5, P6: Secrets are sealed on the edge's disk, and an edge that loses the key gets over it.

Real: control plane, cloudcore and edgecore as processes, TLS, SQLite, the pods' processes.
"""

import base64
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

from deploy.devcluster.api import Api
from deploy.devcluster.site import until
from tests.e2e.conftest import Join, pod
from tests.e2e.test_main_path import is_alive, last_line, paths, pid_of, prints, ready

PASSWORD = "correct-horse-battery"
SCRIPT = 'while true; do echo "pid $$$$ letters: ${#PASSWORD}"; sleep 0.05; done'
LETTERS = f"letters: {len(PASSWORD)}"


def in_the_clear(data_dir: Path) -> list[str]:
    """Return the files of the edge-store in which the password stands."""
    texts = (PASSWORD.encode(), base64.b64encode(PASSWORD.encode()))
    files = [file for file in data_dir.glob("edge-store*") if file.is_file()]
    assert files
    return [file.name for file in files if any(text in file.read_bytes() for text in texts)]


def sealed_value(data_dir: Path) -> bytes:
    """Return the value of the only Secret, as it stands in the database."""
    uri = f"file:{data_dir / 'edge-store.db'}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (found,) = connection.execute("SELECT value FROM objects WHERE type = 'secret'").fetchall()
    return bytes(found[0])


async def test_a_secret_is_sealed_and_without_its_key_it_comes_anew_and_no_pod_is_touched(
    api: Api, join: Join, namespace: str
) -> None:
    edge = await join()
    pods, _ = paths(namespace)
    key = edge.daemon.data_dir / "edge-store.key"
    assert not key.exists()
    await api.create(
        f"/api/v1/namespaces/{namespace}/secrets",
        {"metadata": {"name": "login"}, "stringData": {"PASSWORD": PASSWORD}},
    )
    env_from = [{"secretRef": {"name": "login"}}]
    await api.create(
        pods, pod("web", edge.daemon.node, script=SCRIPT, container={"envFrom": env_from})
    )
    found = await ready(api, pods, "web")
    pid = pid_of(await prints(edge, found, LETTERS))
    assert key.stat().st_mode & 0o777 == 0o600
    assert in_the_clear(edge.daemon.data_dir) == []

    edge.cut()
    edge.daemon.kill()
    old, old_value = key.read_bytes(), sealed_value(edge.daemon.data_dir)
    key.unlink()
    await edge.daemon.start()
    assert "stored Secrets cannot be opened" in edge.daemon.log.read_text()
    assert pid_of(last_line(edge, found)) == pid
    assert is_alive(pid)

    edge.mend()
    await until(
        lambda: sealed_value(edge.daemon.data_dir) != old_value,
        "the Secret has come anew and is sealed with another key",
    )
    assert key.read_bytes() != old
    edge.cut()
    edge.daemon.kill()
    os.kill(pid, signal.SIGKILL)
    await edge.daemon.start()
    await until(
        lambda: pid_of(last_line(edge, found)) != pid and LETTERS in last_line(edge, found),
        "the pod is restarted without a link, with its Secret",
    )
    assert in_the_clear(edge.daemon.data_dir) == []
    edge.mend()
    await ready(api, pods, "web")
