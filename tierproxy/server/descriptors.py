"""How many files and connections this process may have open, and how many of them blobs may take."""

from __future__ import annotations

import resource

from tierproxy.config.sections import ListenSection

MOST = 1_048_576  #: of descriptors; more is asked for by nobody, and some programs count up to their limit
KEPT = 2048  #: of small blobs that stay open between reads
OTHERS = 512  #: for alt, when nobody says how many it takes
SLACK = 256  #: catalogue, logs, threads, workers, the admin port, and connections that are about to be gone
MOST_CONNECTIONS = 16_384  #: where nothing else is said: each costs memory as well
FEWEST_CONNECTIONS = 16


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


def allowed_connections(listen: ListenSection, *, others: int = OTHERS) -> int:
    """How many connections the descriptors of this process allow: what small blobs, alt (``others``) and the requests
    themselves (one file each, some of them two) may need is left free. Never more than ``[listen] max_connections``."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    left = (MOST if soft == resource.RLIM_INFINITY else soft) - kept_descriptors() - others - SLACK
    files = listen.max_concurrent_requests * 5 // 4
    room = max(FEWEST_CONNECTIONS, left - files if left > 2 * files else left // 2)
    return min(listen.max_connections or MOST_CONNECTIONS, room)


def worker_connections(listen: ListenSection) -> int:
    """How many connections one of ``[listen] workers`` may have. With TLS each may need a second descriptor."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    left = (MOST if soft == resource.RLIM_INFINITY else soft) - kept_descriptors() - SLACK
    share = -(-(listen.max_connections or MOST_CONNECTIONS) // max(1, listen.workers))
    return min(share, max(FEWEST_CONNECTIONS, left // 2 if listen.tls_certificate else left))
