"""Requests that come a moment too early. The request is a function of the test."""

import pytest

from cloudcore.edgecontroller.handlers.patience import ATTEMPTS, until_known
from common.errors import RemoteError
from common.status import failure


class Refusing:
    """Refuses with each of ``codes``, then gives."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.asked = 0

    async def __call__(self) -> bytes:
        self.asked += 1
        if self.codes:
            raise RemoteError(failure(self.codes.pop(0), "no"))
        return b"yes"


async def test_a_refusal_that_passes_is_none() -> None:
    request = Refusing(*[403] * (ATTEMPTS - 1))
    assert await until_known(request) == b"yes"


async def test_a_refusal_that_lasts_is_one() -> None:
    request = Refusing(*[403] * (ATTEMPTS + 1))
    with pytest.raises(RemoteError, match="403"):
        await until_known(request)
    assert request.asked == ATTEMPTS


@pytest.mark.parametrize("code", [404, 409, 503])
async def test_anything_else_is_told_at_once(code: int) -> None:
    request = Refusing(code)
    with pytest.raises(RemoteError, match=str(code)):
        await until_known(request)
    assert request.asked == 1
