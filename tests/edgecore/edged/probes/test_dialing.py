"""Connecting: real sockets, and names that nobody has."""

import pytest

from edgecore.edged.probes.dialing import DialError, dial


async def test_a_name_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(DialError, match=r"dial tcp: lookup no\.invalid: no such host"):
        await dial("no.invalid", 80)
    with pytest.raises(DialError, match="no such host"):
        await dial("a" * 70 + ".invalid", 80)
