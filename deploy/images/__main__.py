"""``python -m deploy.images [NAME …]``: make the images of the daemons, in ``build/images``."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from deploy.images import archive, rootfs
from deploy.images.recipe import MB, RECIPES
from deploy.wheel import ROOT, build, project_version


def images(
    names: Annotated[list[str] | None, typer.Argument(help="cloudcore, edgecore; both.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the archives.")] = ROOT / "build/images",
    debian: Annotated[
        Path | None, typer.Option(help="Folder with Debian's packages; fetched if not given.")
    ] = None,
) -> None:
    """Make an archive of each image, in the OCI's format, that any engine can load."""
    unknown = set(names or ()) - {one.name for one in RECIPES}
    if unknown:
        raise rootfs.ImageError(f"no such image: {', '.join(sorted(unknown))}")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="images-") as made_in:
        work = Path(made_in)
        base, packages = work / "base", rootfs.debian_packages()
        if debian is None:
            debian = work / "debian"
            rootfs.fetch(packages, debian)
        python = rootfs.make_base(base, debian, packages)
        wheel = build(work)
        for one in RECIPES:
            if names and one.name not in names:
                continue
            wheels, daemon = work / one.name / "wheels", work / one.name / "daemon"
            rootfs.add_packages(wheels, base, python, ROOT / "requirements" / one.requirements)
            rootfs.add_daemon(daemon, base, python, wheel, one)
            roots, name = (base, wheels, daemon), one.name_of(project_version())
            file = output / f"{one.name}.tar"
            archive.write(file, name, roots, one.config(project_version(), _revision()))
            size_mb = sum(map(rootfs.size_bytes, roots)) / MB
            packed_mb = file.stat().st_size / MB
            typer.echo(f"{file}: {name}, {size_mb:.0f} MB ({one.most_mb}), packed {packed_mb:.0f}")
            if size_mb > one.most_mb:
                raise rootfs.ImageError(f"{one.name} is larger than {one.most_mb} MB")


def _revision() -> str:
    """Return which commit this is; "" outside a checkout."""
    try:
        return rootfs.run("git", "rev-parse", "HEAD", folder=ROOT).strip()
    except rootfs.ImageError:
        return ""


if __name__ == "__main__":
    try:
        typer.run(images)
    except rootfs.ImageError as error:
        sys.exit(f"images: {error}")
