"""kubelet's names for things. The hashes are those of kubelet itself, computed by its own code."""

import pytest

from edgecore.edged.runtime.cri.names import kubelet_hash


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("test_container", "foo/image:v1", "8e45cbd0"),  # from kubelet's own test
        ("web", "busybox:<1>&é", "db04b985"),
    ],
)
def test_the_hash_is_the_one_that_kubelet_computes(name: str, image: str, expected: str) -> None:
    assert kubelet_hash(name, image) == expected
