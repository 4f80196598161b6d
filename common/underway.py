"""What people see while a command takes its time: what goes on, how far it is, and since when."""

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Underway:
    """A bar at the foot of a terminal for as long as something takes. A context manager.

    Where standard error is no terminal, or one that cannot move its cursor, there is no bar, and
    nothing of it is written anywhere. It is gone at the end; what was said stays.
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        """Prepare it.

        Args:
            what: goes on, as ``joining cloud.example``.
            total: steps until it is done; None where nobody knows.
        """
        self._what, self._total = what, total
        self._bar: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        """Show it."""
        if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
            # Not at the top: a command that is used by programs shall not pay for it.
            from rich import progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            bar = progress.Progress(
                progress.SpinnerColumn(),
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=24),
                progress.TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                # It would break long lines, which are commands to copy: `say` makes room for them.
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar = bar, bar.add_task(self._what, total=self._total)
            bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take it away."""
        if self._bar is not None:
            self._bar[0].stop()

    def advance(self) -> None:
        """Show that one more step is done."""
        if self._bar is not None:
            bar, task = self._bar
            bar.advance(task)

    def say(self, text: str, *, err: bool = False) -> None:
        """Print a line, on standard error if ``err``; the bar stays below it."""
        if self._bar is None:
            typer.echo(text, err=err)
            return
        self._bar[0].stop()
        typer.echo(text, err=err)
        self._bar[0].start()
