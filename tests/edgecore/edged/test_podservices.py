"""What workers share. Pure."""

import dataclasses

from edgecore.edged.podservices import PodServices


def test_a_runtime_without_images_needs_no_puller_and_no_cgroups() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(PodServices)}
    assert (defaults["images"], defaults["cgroups"]) == (None, None)
