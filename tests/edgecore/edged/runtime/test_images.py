"""What is known of images. Pure."""

from edgecore.edged.runtime.images import ImageAuth


def test_what_logs_in_to_a_registry_does_not_show_when_it_is_printed() -> None:
    auth = ImageAuth("me", "pass-1", "registry.example", "identity-1", "token-1")
    assert not any(secret in repr(auth) for secret in ("pass-1", "identity-1", "token-1"))
