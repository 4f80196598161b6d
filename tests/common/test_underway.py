"""A bar while something takes long, on a real terminal of the kernel's, and where there is none."""

import os
import pty
import subprocess
import sys

LONG = "a line that is longer than the terminal is wide, and a command to copy as a whole: " * 2

PROGRAM = f"""
import sys
from common.underway import Underway
with Underway("joining [cloud]", 3) as underway:
    underway.advance()
    underway.say("first")
    underway.say({LONG!r}, err=True)
    underway.advance()
print("after")
"""


def on_a_terminal(*, term: str) -> tuple[str, str]:
    """Return what standard output got, which is a pipe, and what the terminal."""
    keyboard, screen = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=screen,
            env={**os.environ, "TERM": term, "COLUMNS": "60"},
            text=True,
        ) as process:
            os.close(screen)
            shown = b""
            while chunk := _read(keyboard):
                shown += chunk
            assert process.stdout is not None
            said = process.stdout.read()
        assert process.returncode == 0
    finally:
        os.close(keyboard)
    return said, shown.decode()


def _read(keyboard: int) -> bytes:
    try:
        return os.read(keyboard, 65536)
    except OSError:  # how Linux says that nobody has the other end open any more
        return b""


def test_a_terminal_shows_what_goes_on_and_keeps_what_was_said() -> None:
    said, shown = on_a_terminal(term="xterm")
    assert "joining [cloud]" in shown
    assert "0:0" in shown  # since when
    assert LONG in shown  # not broken
    assert said == "first\nafter\n"
    assert shown.endswith(("\x1b[2K", "\x1b[?25h"))  # the line is erased, the cursor is back


def test_a_terminal_that_cannot_move_its_cursor_gets_lines_alone() -> None:
    said, shown = on_a_terminal(term="dumb")
    assert (said, shown) == ("first\nafter\n", f"{LONG}\r\n")


def test_where_there_is_no_terminal_nothing_is_shown() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("first\nafter\n", f"{LONG}\n")
