"""Bundles for tests: a real virtual environment; pip and edgecore are stubs."""

import json
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

from edgecore.install import installer
from edgecore.install.installer import Manifest

_PIP = """\
import pathlib, sys, sysconfig, zipfile
assert "--no-index" in sys.argv
if "--requirement" in sys.argv:
    wanted = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1]).read_text()
    sys.exit(f"no such thing: {wanted}" if wanted else 0)
for wheel in (one for one in sys.argv if one.endswith(".whl")):
    zipfile.ZipFile(wheel).extractall(sysconfig.get_path("purelib"))
program = pathlib.Path(sysconfig.get_path("scripts"), "edgecore")
program.write_text(f"#!{sys.executable}\\nimport edgecore_stub\\nedgecore_stub.main()\\n")
program.chmod(0o755)
"""
_MAIN = "import sys\ndef main():\n    print('edgecore {v}')\n"


def manifest(version: str = "1.0") -> Manifest:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return Manifest(version, here, installer.platform_here())


def make_bundle(folder: Path, version: str = "1.0", told: Manifest | None = None) -> Path:
    """Return an unpacked bundle; its own wheel has a program, and nothing that it needs."""
    bundle = folder / f"bundle-{version}"
    wheels = bundle / installer.WHEELS
    wheels.mkdir(parents=True)
    (bundle / installer.REQUIREMENTS).write_text("")
    (bundle / installer.MANIFEST).write_text(json.dumps(asdict(told or manifest(version))))
    _own_wheel(wheels / f"cloudedge-{version}-py3-none-any.whl", version)
    _pip(wheels)
    installer.write_sums(bundle)
    return bundle


def _own_wheel(path: Path, version: str) -> None:
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("edgecore_stub.py", _MAIN.format(v=version))


def _pip(wheels: Path) -> None:
    """Put a pip there that knows as much as is needed here, in the shape that pip's wheel has."""
    with zipfile.ZipFile(wheels / "pip-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pip/__main__.py", _PIP)
