"""The files of deploy/kubernetes in the package. Real: the files."""

from pathlib import Path

import yaml

from cloudcore.install.manifests import read_manifests

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"


def test_the_package_has_all_files_of_deploy_kubernetes() -> None:
    assert read_manifests() == {
        str(path.relative_to(FOLDER)): path.read_text() for path in FOLDER.rglob("*.yaml")
    }


def test_every_file_is_used_by_the_kustomization_beside_it() -> None:
    for path in FOLDER.rglob("*.yaml"):
        if path.name != "kustomization.yaml":
            beside = yaml.safe_load((path.parent / "kustomization.yaml").read_text())
            assert path.name in beside["resources"]
