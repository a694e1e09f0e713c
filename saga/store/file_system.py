"""On what kind of file system a file lies, where the system says so.

A write-ahead log needs shared memory and locks that work, which a network file system or a folder
that is synced to elsewhere does not give. What cannot be told is not guessed.
"""

from pathlib import Path
from typing import Final

UNFIT: Final = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre"),
        *("fuse.sshfs", "fuse.rclone", "fuse.gvfsd-fuse", "fuse.s3fs", "fuse.glusterfs"),
    }
)
"""Kinds of file system on which SQLite's locks or its shared memory cannot be relied on."""

_MOUNTS: Final = Path("/proc/mounts")


def mounted_as(path: Path) -> str | None:
    """Return the kind of file system that a path lies on; None where the system does not say."""
    try:
        lines = _MOUNTS.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    beneath = f"{path}/"
    best: tuple[int, str | None] = (-1, None)
    for line in lines:
        _, mount, kind, *_ = line.split(maxsplit=3)
        folder = mount.replace("\\040", " ").rstrip("/") + "/"
        if beneath.startswith(folder) and len(folder) >= best[0]:
            best = (len(folder), kind)
    return best[1]


def unfit(path: Path) -> str | None:
    """Return the kind of file system if a store must not lie on it; None if nothing speaks so."""
    kind = mounted_as(path)
    return kind if kind in UNFIT else None
