"""Whether modules take their messages. Nothing is faked: numbers and times are arguments."""

from common.names import ModuleName
from common.progress import HANGS_AFTER_S, Progress, Turns

EDGED, META = ModuleName.EDGED, ModuleName.META_MANAGER


def test_a_module_hangs_that_leaves_its_messages_alone_for_long() -> None:
    progress = Progress()
    assert progress.hanging({EDGED: Turns(1, 7)}, 0) == []
    assert progress.hanging({EDGED: Turns(3, 7)}, HANGS_AFTER_S - 1) == []
    assert progress.hanging({EDGED: Turns(3, 7), META: Turns(1, 0)}, HANGS_AFTER_S) == [EDGED]


def test_one_that_takes_some_or_has_none_does_not() -> None:
    progress = Progress()
    for step in range(10):
        turns = {EDGED: Turns(1000, step), META: Turns(0, 5)}
        assert progress.hanging(turns, step * HANGS_AFTER_S) == []


def test_what_was_slow_once_is_judged_anew() -> None:
    progress = Progress()
    progress.hanging({EDGED: Turns(1, 1)}, 0)
    assert progress.hanging({EDGED: Turns(1, 1)}, HANGS_AFTER_S) == [EDGED]
    assert progress.hanging({EDGED: Turns(1, 2)}, HANGS_AFTER_S + 1) == []
    assert progress.hanging({EDGED: Turns(1, 2)}, 2 * HANGS_AFTER_S) == []
