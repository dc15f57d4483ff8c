"""How many files and connections this process may have open, and how many of them blobs may take."""

from __future__ import annotations

import resource

MOST = 1_048_576  #: of descriptors; more is asked for by nobody, and some programs count up to their limit
KEPT = 2048  #: of small blobs that stay open between reads


def allow_many() -> int:
    """Raise the soft limit to the hard one: services begin with 1024 for the sake of select(2), which nobody uses here.
    Children inherit it. Returns the limit; never raises."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted
    return soft


def kept_descriptors() -> int:
    """For ``InlineBodies``: an eighth of the limit at most, so that connections have the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return KEPT if soft == resource.RLIM_INFINITY else min(KEPT, soft // 8)
