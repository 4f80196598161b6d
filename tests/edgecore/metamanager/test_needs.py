"""What stored pods need. Everything is real; there is nothing to fake."""

from edgecore.metamanager.needs import PodNeeds, garbage, need_of, pod_needs
from tests.edgecore.metamanager.messages import naming

WEB, OTHER = "default/configmap/web", "default/configmap/other"
TOKEN = "default/serviceaccounttoken/app/abc"


def test_a_pod_needs_what_it_names_in_its_namespace() -> None:
    pod = {"metadata": {"name": "p"}, "spec": naming("web", secrets=("db",), account="app")}
    assert pod_needs(pod, "default", "u1") == PodNeeds(
        "u1", frozenset({WEB, "default/secret/db", "default/serviceaccounttoken/app"})
    )


def test_a_row_goes_with_the_last_pod_that_names_it() -> None:
    gone = PodNeeds("u1", frozenset({WEB, OTHER}))
    rest = PodNeeds("u2", frozenset({OTHER}))
    assert garbage([(WEB, "a"), (OTHER, "b")], [rest], gone) == {WEB}
    assert garbage([(WEB, "a"), (OTHER, "b")], [], gone) == {WEB, OTHER}


def test_a_row_that_no_pod_has_named_yet_stays() -> None:
    gone = PodNeeds("u1", frozenset({WEB}))
    assert garbage([("default/configmap/early", "a")], [], gone) == set()


def test_at_start_all_rows_without_a_pod_go() -> None:
    rest = PodNeeds("u2", frozenset({OTHER}))
    assert garbage([(WEB, "a"), (OTHER, "b")], [rest]) == {WEB}


def test_a_token_goes_with_its_pod_or_with_the_last_pod_of_its_account() -> None:
    account = frozenset({need_of(TOKEN)})
    gone, rest = PodNeeds("u1", account), PodNeeds("u2", account)
    assert garbage([(TOKEN, "u1")], [rest], gone) == {TOKEN}
    assert garbage([(TOKEN, "u2")], [rest], gone) == set()
    assert garbage([(TOKEN, "")], [rest], gone) == set()
    assert garbage([(TOKEN, "")], [], gone) == {TOKEN}


def test_a_row_is_needed_under_its_first_three_parts() -> None:
    assert need_of(TOKEN) == "default/serviceaccounttoken/app"
    assert need_of(WEB) == WEB
