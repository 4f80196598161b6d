"""Running a command of cloudcore in this process."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cloudcore import cli

Run = Callable[..., Awaitable[tuple[int, str, str]]]


def runner(
    group: str,
    kubeconfig: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Return a function that runs ``cloudcore <group> …``: exit code, output and errors."""

    def run(verb: str, arguments: tuple[str, ...]) -> tuple[int, str, str]:
        words = ["cloudcore", group, verb, f"--kubeconfig={kubeconfig}", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output, errors = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, output, errors

    async def run_beside(verb: str, *arguments: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(run, verb, arguments)  # it has an event loop of its own

    return run_beside
