"""Compiling the protocols again, to see whether the code in the repository is of the same text."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[5]
FOLDER = Path("edgecore/edged/runtime/cri")


def compiled(name: str, folder: Path) -> dict[str, str]:
    """Return the files that the compiler makes of ``name.proto``."""
    out = (f"--python_out={folder}", f"--pyi_out={folder}")
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *out, f"{FOLDER}/{name}.proto"]
    subprocess.run(command, cwd=ROOT, check=True)
    return _files(folder / FOLDER, name)


def kept(name: str) -> dict[str, str]:
    """Return the files of the repository."""
    return _files(ROOT / FOLDER, name)


def _files(folder: Path, name: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob(f"{name}_pb2.py*")}
