"""The wiring of the admin port: from a node's parts to what its operator reaches."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from tierproxy.admin.app import Site
from tierproxy.admin.children import Children
from tierproxy.admin.dashboard.assets import dashboard_assets
from tierproxy.admin.dashboard.pages import dashboard_pages
from tierproxy.admin.jobs import Jobs
from tierproxy.admin.port import AdminPort
from tierproxy.admin.routers.changes import change_routers
from tierproxy.admin.routers.objects import objects_router
from tierproxy.admin.routers.queue import queue_router
from tierproxy.admin.routers.stats import stats_router
from tierproxy.admin.routers.status import status_router
from tierproxy.admin.services import DESK_NICE, DESK_THREADS, Desk, Services
from tierproxy.admin.snapshots import Snapshots
from tierproxy.config.sections import Config
from tierproxy.disk.fsio import Files
from tierproxy.node import Admin, Parts
from tierproxy.offload import ThreadPool
from tierproxy.server import AdminServer
from tierproxy.server.openings import Openings


def services(parts: Parts, *, config_file: Path | None = None) -> Services:
    """loop. What routers may use of ``parts``; its threads end with them."""
    data = Path(parts.config.node.data_dir).expanduser()
    threads = ThreadPool("desk", DESK_THREADS, nice=DESK_NICE)
    desk = Desk(data, threads)
    parts.closers += [threads.close, desk.close]
    return Services(
        config=lambda: parts.config, config_file=config_file, data=data, version=version("tierproxy"),
        clock=parts.clock, alarms=parts.alarms, catalogue=parts.catalogue, disk=parts.disk, alt=parts.alt,
        hot=parts.hot, stubs=parts.stubs, space=parts.space, counters=parts.counters, leases=parts.leases,
        naming=parts.naming,
        queue=parts.queue, purges=parts.purges, scrub=parts.scrub, store=parts.store, tally=parts.tally,
        history=parts.history, desk=desk, files=Files(), started_at=parts.clock.now(),
        ready=lambda: parts.ready, object_url=lambda: parts.object_url, conditions=parts.conditions,
        workers=lambda: parts.activity().workers,
        **({"render_metrics": parts.metrics.page} if parts.metrics else {}),
    )  # fmt: skip


def site(services: Services, parts: Parts) -> Site:
    """What the admin port shows, beside the login. Its jobs are one of the works of ``parts``."""
    snapshots = Snapshots(services.desk, services.clock)
    threads, texts, jobs = ThreadPool("jobs", 1), ThreadPool("texts", 1), Jobs(services.clock)
    parts.closers += [threads.close, texts.close, snapshots.close]
    parts.works += [(jobs.run, "jobs"), (snapshots.run, "first looks")]
    changes = change_routers(services, snapshots, jobs, Children(threads), texts)
    reads = (
        status_router(services), stats_router(services, snapshots), objects_router(services, snapshots),
        queue_router(services),
    )  # fmt: skip
    return Site(api=(*reads, *changes), pages=dashboard_pages, assets=dashboard_assets())


def admin_server(
    config: Config, parts: Parts, *, config_file: Path | None = None, openings: Openings | None = None
) -> Admin | None:  # fmt: skip
    """The admin port, if there is to be one. Raises ConfigError, DiskError."""
    if not config.admin.enabled:
        return None
    threads = ThreadPool("login", 1, nice=DESK_NICE)
    parts.closers.append(threads.close)
    found = services(parts, config_file=config_file)
    return AdminServer(config.admin, AdminPort(found, threads, site(found, parts)), parts.clock, openings=openings)
