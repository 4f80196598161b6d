"""The table of calls. Nothing is faked: it is compared with the engine that the fake imitates."""

from edgecore.edged.runtime.cri import methods
from edgecore.edged.runtime.cri.methods import Method

ALL = [value for value in vars(methods).values() if isinstance(value, Method)]


def test_each_call_is_there_once_with_the_messages_that_bear_its_name() -> None:
    assert len({method.path for method in ALL}) == len(ALL)
    for method in ALL:
        name = method.path.rpartition("/")[2]
        if name not in {"GetContainerEvents", "Subscribe"}:
            assert method.request.DESCRIPTOR.full_name == f"runtime.v1.{name}Request"
            assert method.response.DESCRIPTOR.full_name == f"runtime.v1.{name}Response"


def test_only_streams_and_pulls_take_as_long_as_they_like() -> None:
    endless = {method.path.rpartition("/")[2] for method in ALL if method.timeout_s is None}
    assert endless == {"GetContainerEvents", "Subscribe", "PullImage"}


def test_what_waits_for_others_has_more_time() -> None:
    assert methods.VERSION.timeout_s == 5
    assert methods.RUN_SANDBOX.timeout_s == 240
