"""What workers share. Pure."""

from edgecore.edged.podservices import PodServices


def test_a_runtime_without_images_needs_no_puller_and_no_cgroups() -> None:
    optional = PodServices.__struct_fields__[-len(PodServices.__struct_defaults__) :]
    defaults = dict(zip(optional, PodServices.__struct_defaults__, strict=True))
    assert (defaults["images"], defaults["cgroups"]) == (None, None)
