"""P5, P6: what KubeEdge knew is in our edge-store, and an edge connects with its certificate.

Real: the database of KubeEdge's form, certificates, the edge-store, the edge and TLS on loopback.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from common.errors import CertificateError, ConfigError, StoreError
from common.names import PeerProtocol
from common.wire import loads
from edgecore.app import build_edge
from edgecore.datadir import locked
from edgecore.edgestore.records import Put, StoredObject
from edgecore.edgestore.store import FILE_NAME, EdgeStore
from edgecore.kubeedge.certificate import Files
from edgecore.kubeedge.importing import Wish, take_over
from edgecore.metrics import EdgeMetrics
from tests.edgecore.cloud import TestCloud, until
from tests.edgecore.kubeedge.kubeedge import (
    CONFIGMAP,
    NODE,
    OTHERS,
    SECRET,
    a_pod,
    an_object,
    make_certificate,
    make_database,
    no_certificate,
    row,
    state_of,
)
from tests.edgecore.test_app import Recording, running, settings

NOW = datetime.now(UTC)
DAMAGED = ("default/configmap/broken", "configmap", "{")


@pytest.fixture
def wish(tmp_path: Path) -> Wish:
    source = tmp_path / "kubeedge" / "edgecore.db"
    make_database(source, [row(a_pod()), row(CONFIGMAP), row(SECRET), DAMAGED, *OTHERS])
    return Wish(source, make_certificate(tmp_path / "pki", NOW), tmp_path / "edge")


async def test_objects_and_certificate_are_taken_over_and_the_source_is_as_it_was(
    wish: Wish,
) -> None:
    before = state_of(wish.source.parent), state_of(wish.files.key.parent)
    report = await take_over(wish)
    assert (state_of(wish.source.parent), state_of(wish.files.key.parent)) == before
    assert report.kept == {"pod": 1, "configmap": 1, "secret": 1}
    assert report.stale == ()
    assert [fault.split(":")[0] for fault in report.faults] == [DAMAGED[0]]
    assert report.others == {"node": 1, "podpatch": 1, "serviceaccounttoken": 1}
    assert report.certificate is not None
    assert (wish.data_dir / "pki" / f"{NODE}.pem").exists()
    async with EdgeStore(wish.data_dir) as store:
        assert not store.is_complete
        for value in (a_pod(), CONFIGMAP, SECRET):
            stored = await store.get(row(value)[0])
            assert stored is not None
            assert loads(stored.value) == value
            assert (stored.uid, stored.version) == (value["metadata"]["uid"], 7)
    assert b"aHVudGVyMg" not in (wish.data_dir / FILE_NAME).read_bytes()


async def test_an_edge_connects_with_the_certificate_and_without_a_token(
    wish: Wish, tmp_path: Path
) -> None:
    (tmp_path / "cloud").mkdir()
    cloud = TestCloud(tmp_path / "cloud")
    cloud.protocol = PeerProtocol.CLOUDEDGE_V1
    cloud.token = ""
    make_certificate(tmp_path / "pki", NOW, authority=cloud.authority)
    await take_over(wish)
    script = Recording()
    async with cloud.listening(script):
        edge = build_edge(settings(cloud, wish.data_dir, NODE), EdgeMetrics(CollectorRegistry()))
        async with running(edge):
            await until(lambda: "default/podpatch/web" in script.patches)
    assert script.nodes == [NODE]
    assert cloud.enrolments == []


async def test_a_target_that_holds_something_is_refused_unless_it_is_forced(wish: Wish) -> None:
    newer = an_object("ConfigMap", "web", version=9)
    older = an_object("Secret", "db", version=3)
    async with EdgeStore(wish.data_dir) as store:
        for value in (newer, older):
            key, kind, text = row(value)
            _, _, name = key.split("/")
            version = int(value["metadata"]["resourceVersion"])
            uid = value["metadata"]["uid"]
            one = StoredObject(key, kind, "default", name, uid, version, text.encode())
            await store.apply([Put(one)])
    with pytest.raises(ConfigError, match="holds 2 stored objects: with --force"):
        await take_over(wish)
    assert not (wish.data_dir / "pki").exists()
    async with EdgeStore(wish.data_dir) as store:
        # What no pod needs goes when an edge starts; here a pod needs both.
        wants = [{"configMapRef": {"name": "web"}}, {"secretRef": {"name": "db"}}]
        pod = a_pod("other", envFrom=wants)
        key, kind, text = row(pod)
        await store.apply([Put(StoredObject(key, kind, "default", "other", "p", 1, text.encode()))])
    report = await take_over(Wish(wish.source, wish.files, wish.data_dir, force=True))
    assert report.stale == ("default/configmap/web",)
    async with EdgeStore(wish.data_dir) as store:
        kept = await store.get("default/configmap/web")
        replaced = await store.get("default/secret/db")
        assert kept is not None
        assert replaced is not None
        assert (kept.version, replaced.version) == (9, 7)


async def test_another_certificate_of_the_node_is_replaced_by_force_only(wish: Wish) -> None:
    node_file = wish.data_dir / "pki" / f"{NODE}.pem"
    node_file.parent.mkdir(parents=True)
    node_file.write_text("another one")
    with pytest.raises(ConfigError, match=f"holds a certificate of {NODE}"):
        await take_over(wish)
    assert node_file.read_text() == "another one"
    await take_over(Wish(wish.source, wish.files, wish.data_dir, force=True))
    assert "BEGIN CERTIFICATE" in node_file.read_text()


async def test_without_a_certificate_the_objects_are_taken_over(wish: Wish, tmp_path: Path) -> None:
    report = await take_over(Wish(wish.source, no_certificate(tmp_path), wish.data_dir))
    assert report.certificate is None
    assert report.kept.total() == 3
    assert not (wish.data_dir / "pki").exists()


async def test_a_fault_of_the_source_changes_nothing(wish: Wish, tmp_path: Path) -> None:
    other = make_certificate(tmp_path / "other", NOW)
    mixed = Files(wish.files.certificate, other.key, wish.files.authority)
    with pytest.raises(CertificateError):
        await take_over(Wish(wish.source, mixed, wish.data_dir))
    with pytest.raises(StoreError):
        await take_over(Wish(tmp_path / "nothing.db", wish.files, wish.data_dir))
    assert not wish.data_dir.exists()


async def test_a_folder_that_an_edgecore_uses_is_refused(wish: Wish) -> None:
    with locked(wish.data_dir), pytest.raises(ConfigError, match="in use by another edgecore"):
        await take_over(wish)


async def test_a_certificate_that_cannot_be_kept_is_said(wish: Wish) -> None:
    wish.data_dir.mkdir()
    (wish.data_dir / "pki").write_text("not a folder")
    with pytest.raises(StoreError, match="cannot be written"):
        await take_over(wish)


async def test_an_import_that_was_cut_short_is_done_again_without_force(wish: Wish) -> None:
    """The certificate is written before the objects, and is no reason to refuse."""
    await take_over(wish)
    for file in wish.data_dir.glob(f"{FILE_NAME}*"):
        file.unlink()
    report = await take_over(wish)
    assert report.kept.total() == 3
