"""Which images may be removed: pure, nothing faked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.images.gcpolicy import GCPolicy
from edgecore.edged.images.imageplan import (
    Sight,
    bytes_to_free,
    meant_by,
    not_enough,
    observe,
    references_of,
    removable,
    used_percent,
)
from edgecore.edged.node.facts import Amount
from edgecore.edged.runtime.images import Image

HEX = "0123456789abcdef" * 4
POLICY = GCPolicy()
APP = Image(f"sha256:{HEX}", ("docker.io/library/app:1",), (f"docker.io/library/app@sha256:{HEX}",))


def image(name: str, *, pinned: bool = False) -> Image:
    return Image(name, (f"r.example/{name}:1",), size_bytes=10, pinned=pinned)


@pytest.mark.parametrize(
    ("available", "to_free"),
    [(1000, 0), (160, 0), (159, 41), (150, 50), (100, 100), (0, 200), (2000, 0)],
)
def test_above_the_high_threshold_it_is_freed_down_to_the_low_one(
    available: int, to_free: int
) -> None:
    assert bytes_to_free(POLICY, Amount(available, 1000)) == to_free


def test_a_disk_without_a_size_asks_for_nothing() -> None:
    assert bytes_to_free(POLICY, Amount(0, 0)) == 0


@given(st.integers(0, 10**12), st.integers(1000, 10**12))
def test_what_is_freed_brings_the_disk_below_the_high_threshold(
    available: int, capacity: int
) -> None:
    disk = Amount(min(available, capacity), capacity)
    after = Amount(disk.available + bytes_to_free(POLICY, disk), capacity)
    assert after.available <= capacity
    assert used_percent(after) < POLICY.high_percent


def test_sights_keep_the_first_time_and_the_last_use_and_forget_what_is_gone() -> None:
    a, b = image("a"), image("b")
    first = observe({}, [a, b], frozenset({"a"}), 10)
    assert first == {"a": Sight(10, 10), "b": Sight(10)}
    assert observe(first, [a], frozenset(), 20) == {"a": Sight(10, 10)}
    assert observe(first, [a], frozenset({"a"}), 20) == {"a": Sight(10, 20)}


@pytest.mark.parametrize(
    "reference",
    [
        "app:1",
        "docker.io/library/app:1",
        f"app@sha256:{HEX}",
        f"app:other@sha256:{HEX}",
        f"sha256:{HEX}",
        HEX,
    ],
)
def test_an_image_is_meant_by_each_of_its_names(reference: str) -> None:
    assert meant_by([APP, image("x")], [reference]) == {APP.id}


@pytest.mark.parametrize("reference", ["app", "app:2", "r.example/app:1", "A b", ""])
def test_it_is_not_meant_by_others(reference: str) -> None:
    assert meant_by([APP], [reference]) == frozenset()


def test_a_pod_names_images_for_all_kinds_of_containers_and_for_volumes() -> None:
    pod = {
        "spec": {
            "containers": [{"image": "a"}, {"name": "none"}],
            "initContainers": [{"image": "b"}],
            "ephemeralContainers": [{"image": "c"}],
            "volumes": [{"image": {"reference": "d"}}, {"emptyDir": {}}],
        }
    }
    assert references_of([pod, {"metadata": {}}]) == {"a", "b", "c", "d"}


def test_the_image_that_was_longest_out_of_use_goes_first() -> None:
    images = [image(name) for name in "abcd"]
    sights = {"a": Sight(0, 50), "b": Sight(5), "c": Sight(0), "d": Sight(0, 40)}
    order = removable(images, sights, frozenset(), POLICY, 1000)
    assert [i.id for i in order] == ["c", "b", "d", "a"]


def test_what_is_kept_pinned_young_or_unseen_stays() -> None:
    images = [image("kept"), image("pinned", pinned=True), image("young"), image("unseen")]
    sights = {"kept": Sight(0), "pinned": Sight(0), "young": Sight(881)}
    assert removable(images, sights, frozenset({"kept"}), POLICY, 1000) == ()
    sights["young"] = Sight(880)
    assert [i.id for i in removable(images, sights, frozenset({"kept"}), POLICY, 1000)] == ["young"]


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("registry.k8s.io/pause:3.10", False),
        ("docker.io/kubeedge/pause@sha256:0", False),
        ("docker.io/rancher/mirrored-pause:3.6", False),
        ("k8s.gcr.io/pause-arm64:3.1", False),
        ("docker.io/library/pauses:1", True),
        ("docker.io/pause/app:1", True),
        ("docker.io/library/app:pause", True),
    ],
)
def test_the_image_of_sandboxes_stays_though_an_old_engine_does_not_pin_it(
    name: str, *, goes: bool
) -> None:
    made = Image("i", (name,))
    assert bool(removable([made], {"i": Sight(0)}, frozenset(), POLICY, 1000)) == goes


@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_nothing_that_is_kept_ever_goes(kept: set[str], here: set[str]) -> None:
    images = [image(name) for name in here]
    sights = observe({}, images, frozenset(), 0)
    gone = {i.id for i in removable(images, sights, frozenset(kept), POLICY, 10**6)}
    assert gone == here - kept


@pytest.mark.parametrize(
    ("capacity", "text"), [(1000, "1000 B"), (2048, "2.0 KiB"), (3 * 2**40, "3.0 TiB")]
)
def test_what_was_not_enough_is_told_with_the_size_of_the_disk(capacity: int, text: str) -> None:
    message = not_enough(Amount(0, capacity), 7)
    assert f"(100% of {text} used)" in message
    assert "(freed 7 bytes)" in message
