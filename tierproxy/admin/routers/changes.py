"""What an operator may change, and the long work that can be asked for: all routers of it."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from tierproxy.admin.children import Children
from tierproxy.admin.jobs import Jobs
from tierproxy.admin.routers.jobs import Desks, jobs_router
from tierproxy.admin.routers.purge import purge_router
from tierproxy.admin.routers.rules import rules_router
from tierproxy.admin.routers.runs import runs_router
from tierproxy.admin.services import Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.ports import Offload


def change_routers(
    services: Services, snapshots: Snapshots, jobs: Jobs, children: Children, texts: Offload
) -> Sequence[APIRouter]:
    """For ``Site.api``. ``jobs.run`` is to be one of the node's works; ``children`` and ``texts`` (rule files that are
    read and written) need a thread each."""
    return (
        rules_router(services, snapshots, texts),
        purge_router(services, snapshots),
        runs_router(services, jobs, snapshots),
        jobs_router(Desks(services, jobs, children)),
    )
