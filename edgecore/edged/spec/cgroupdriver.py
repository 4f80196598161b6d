"""Who makes control groups: what the configuration says of it, and needs little for. Pure."""

from enum import StrEnum


class CgroupDriver(StrEnum):
    """Who makes cgroups for the runtime, which decides how they are named."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"
