"""What an operator sets of the mount's file system."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MountSettings:
    """``uid`` and ``gid`` own every file and directory; ``umask`` takes bits from 0666 and 0777. Times in seconds,
    sizes in bytes.

    ``deadline``: the client's, after which a request is in doubt. ``keep_body``: how long a body that was fetched
    stays after its last close; all that stay have ``keep_bytes`` at most. ``whole_limit``: longer objects are read
    in pieces. ``believe``: how long the kernel may believe names and attributes while changes are heard of.
    ``believe_absent``: how long it may believe that a name is not there; a mount that hangs cannot take that back.
    ``remember``: names of directories kept in memory.
    ``scratch_fsync``: scratch files are on disk from their first byte, and fsync makes them durable there.
    """

    uid: int
    gid: int
    umask: int = 0o077
    deadline: float = 20.0
    keep_body: float = 30.0
    keep_bytes: int = 256 * MIB
    whole_limit: int = 64 * MIB
    believe: float = 3600.0
    believe_absent: float = 15.0
    remember: int = 1_000_000
    scratch_fsync: bool = False
