"""Views of a pod: pure, nothing faked."""

from edgecore.edged import podview
from tests.edgecore.edged.world import container, pod_object


def test_the_grace_of_a_deletion_wins_over_that_of_the_spec() -> None:
    pod = pod_object("web", terminationGracePeriodSeconds=30)
    pod["metadata"] |= {
        "deletionTimestamp": "2026-11-24T00:00:00Z",
        "deletionGracePeriodSeconds": 7,
    }
    assert podview.grace_s_of(pod) == 7


def test_nobody_gets_less_than_a_second() -> None:
    assert podview.grace_s_of(pod_object("web", terminationGracePeriodSeconds=0)) == 1


def test_the_hash_depends_on_name_and_image_only_and_never_changes() -> None:
    one = container("c", "a", env=[{"name": "X", "value": "1"}])
    assert podview.spec_hash(one) == podview.spec_hash(container("c", "b"))
    assert podview.spec_hash(one) != podview.spec_hash({**one, "image": "other"})
    # Written down: containers that run carry it, and a newer edgecore may not restart them.
    assert podview.spec_hash({"name": "c", "image": "img"}) == "c57e9253a9c88e7a"


def test_a_pod_is_over_when_the_api_server_was_told_so() -> None:
    pod = pod_object("web")
    assert not podview.is_over(pod)
    pod["status"]["phase"] = "Failed"
    assert podview.is_over(pod)


def test_versions_are_numbers_and_zero_where_there_is_none() -> None:
    assert podview.version_of({"metadata": {"resourceVersion": "12"}}) == 12
    assert podview.version_of({"metadata": {"resourceVersion": "x"}}) == 0
    assert podview.version_of({}) == 0
