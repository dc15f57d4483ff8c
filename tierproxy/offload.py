"""The only place that starts threads: bounded, named pools, so that `py-spy dump` says who is busy."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from tierproxy.errors import DiskHangs, DiskUnavailable
from tierproxy.ports import Clock, Timer

T = TypeVar("T")

NOT_THE_DISK = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EBADF, errno.EINVAL, errno.EEXIST})
"""What the kernel says of this process rather than of its disk."""
LOOKS = 8
"""Looks at what is running, in the time of its patience."""
LONGEST_PAUSE = 1.0
"""Seconds between two looks, at most."""


class ThreadPool:
    """A pool of at most ``size`` threads called ``tierproxy-<name>-N`` (``tierproxy.ports.Hands``). ``nice``: how far
    they stand back (0 to 19) where threads have a priority of their own, which is Linux. ``last``: there they run only
    while nobody else wants the processor; not for threads that may hold a lock somebody waits for, the interpreter's
    among them."""

    def __init__(self, name: str, size: int, *, nice: int = 0, last: bool = False) -> None:
        self.name = name
        self.size = size
        self._executor = ThreadPoolExecutor(
            size,
            thread_name_prefix=f"tierproxy-{name}",
            initializer=partial(_stand_back, nice, last) if nice or last else None,
        )

    def __repr__(self) -> str:
        return f"<ThreadPool {self.name} of {self.size}>"

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    def begin(self, call: Callable[[], None], late: Callable[[BaseException], None]) -> None:
        """As ``tierproxy.ports.Hands``: the loop is not woken when it ends. Nothing is ever late."""
        self._executor.submit(call)

    def note(self, error: BaseException) -> None:
        """As ``tierproxy.ports.Hands``. Nobody counts."""

    async def close(self) -> None:
        """Wait for running calls, drop queued ones that nobody waits for."""
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)


def _stand_back(nice: int, last: bool) -> None:
    """Lower the priority of this thread alone: on Linux a thread is to setpriority what a process is elsewhere."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # what may not be lowered stays: a pool without threads would be worse
            os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))
            if last:
                os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def worker_thread(name: str, body: Callable[[], None]) -> Callable[[], None]:
    """Start one long-lived daemon thread called ``tierproxy-<name>`` that runs ``body``. Returns its join."""
    thread = threading.Thread(target=body, name=f"tierproxy-{name}", daemon=True)
    thread.start()
    return thread.join


class _Job:
    """One call. ``since``: when it was asked for; once it runs, when its last call to the kernel began. ``over``:
    nobody waits for it any more."""

    __slots__ = ("args", "call", "late", "over", "since", "waiter", "worker")

    def __init__(
        self, call: Callable[..., Any], args: tuple[Any, ...], since: float, waiter: asyncio.Future[Any] | None,
        late: Callable[[BaseException], None] | None,
    ) -> None:  # fmt: skip
        self.call = call
        self.args = args
        self.since = since
        self.waiter = waiter
        self.late = late
        self.over = False
        self.worker: _Worker | None = None


class _Worker:
    """One thread, and what it has counted."""

    def __init__(self, name: str, body: Callable[[_Worker], None]) -> None:
        self.thread = threading.Thread(target=body, args=(self,), name=name, daemon=True)
        self.job: _Job | None = None
        self.calls = 0
        self.slow = 0
        self.was_slow = False

    @property
    def lost(self) -> bool:
        """It is in a call nobody waits for any more."""
        job = self.job
        return job is not None and job.over


class WatchedPool:
    """At most ``size`` threads called ``tierproxy-<name>-N`` that work for people who do not wait for ever
    (``tierproxy.ports.Hands``), for the calls of one disk.

    A call that has not returned after ``patience`` seconds is given up: its waiter gets DiskHangs, its thread is left
    to it and replaced. Nobody can stop a thread that is in the kernel, so there is a bound: while twice as many calls
    hang as there are threads, nothing is begun, and who asks is told at once. A thread that comes back ends. Patience
    counts from the last call to the kernel that began (``pulse``), so that removing thousands
    of files is not taken for one call that hangs; for what waits for a thread, from the asking.

    One timer looks at everything that is under way, and only while something is: a call costs no timer of its own. Used
    from one loop. Threads are daemons: a process can end although the kernel keeps one.
    """

    def __init__(self, name: str, size: int, clock: Clock, *, patience: float, slow: float = float("inf")) -> None:
        """``slow``: seconds after which a call counts as bad. ``patience`` and ``slow`` may be set at any time."""
        self.name = name
        self.size = size
        self.patience = patience
        self.slow = slow
        self.on_look: Callable[[], None] = _nothing  #: loop. After each look
        self.on_hang: Callable[[str], None] = _nobody  #: loop. A call hangs; for people
        self._clock = clock
        self._now = clock.monotonic
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._mutex = threading.Lock()  # over which jobs are under way, and whose threads are lost to them
        self._under_way: set[_Job] = set()
        self._workers: dict[int, _Worker] = {}  # by thread, while it runs
        self._started: list[_Worker] = []
        self._live = 0
        self._stuck = 0
        self._names = 0
        self._short = False  # a thread was wanted, and could not be had
        self._failures: deque[BaseException] = deque(maxlen=1000)
        self._taken = (0, 0)
        self._gone = (0, 0)  # what was counted by threads that have ended
        self._timer: Timer | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<WatchedPool {self.name} of {self.size}, {self._stuck} hang>"

    @property
    def under_way(self) -> int:
        """Calls that somebody waits for."""
        return len(self._under_way)

    @property
    def stuck(self) -> int:
        """Calls that hang now."""
        return self._stuck

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Job(call, args, self._now(), waiter, None))
        return await waiter

    def begin(self, call: Callable[[], None], late: Callable[[BaseException], None]) -> None:
        """As ``tierproxy.ports.Hands``: the loop is not woken when it ends."""
        self._put(_Job(call, (), self._now(), None, late))

    def note(self, error: BaseException) -> None:
        """As ``tierproxy.ports.Hands``. Counts only what the kernel said of the disk."""
        cause = error.__cause__
        if isinstance(error, DiskUnavailable) and isinstance(cause, OSError) and cause.errno not in NOT_THE_DISK:
            self._failures.append(error)

    def pulse(self) -> None:
        """any thread. Called before each call to the kernel that changes something."""
        worker = self._workers.get(threading.get_ident())
        if worker is not None and worker.job is not None:
            now = self._now()
            worker.was_slow = worker.was_slow or now - worker.job.since > self.slow
            worker.job.since = now

    def taken(self) -> tuple[int, int, str]:
        """loop. Since the last time: calls that ended; those that failed or were slow; the last such, for people."""
        failures = len(self._failures)
        why = str(self._failures[-1]) if failures else ""
        self._failures.clear()
        with self._mutex:
            workers = list(self._workers.values())
            calls = self._gone[0] + sum(worker.calls for worker in workers)
            slow = self._gone[1] + sum(worker.slow for worker in workers)
        before, self._taken = self._taken, (calls, slow)
        bad = failures + slow - before[1]
        return max(calls - before[0], bad), bad, why or ("slow" if bad else "")

    async def close(self) -> None:
        """Wait for calls under way that do not hang; drop those that wait. Idempotent."""
        if self._closed:
            return
        self._closed = True
        for _ in self._started:
            self._queue.put(None)
        while any(worker.thread.is_alive() and not worker.lost for worker in self._started):  # noqa: ASYNC110 - once
            await asyncio.sleep(0.001)
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------ on the loop

    def _put(self, job: _Job) -> None:
        if self._closed:
            raise RuntimeError(f"{self!r} is closed")
        if self._timer is None:
            self._look_later()
        if self._stuck >= 2 * self.size:
            _give_up(job, DiskHangs(f"{self._stuck} calls hang"))
            return
        self._under_way.add(job)
        self._queue.put(job)
        if self._live < self.size and len(self._under_way) > self._live:
            self._start_thread()

    def _start_thread(self) -> None:
        worker = _Worker(f"tierproxy-{self.name}_{self._names}", partial(self._work, asyncio.get_running_loop()))
        self._started = [one for one in self._started if one.thread.is_alive()]
        self._names += 1
        try:
            worker.thread.start()
        except RuntimeError:  # no memory, or too many threads: those there are go on, and the next look tries again
            self._short = True
            return
        self._short = False
        self._started.append(worker)
        self._live += 1

    def _look_later(self) -> None:
        self._timer = self._clock.call_later(min(LONGEST_PAUSE, self.patience / LOOKS), self._look)

    def _look(self) -> None:
        """Give up what takes too long. A thread that is lost is replaced, so that those who wait behind it go on: when
        all are given up that waited too long, else it would begin with one of them."""
        self._timer = None
        now = self._now()
        waits = [(job, job.since) for job in list(self._under_way)]
        lost = sum(self._overdue(job, since, now - since) for job, since in waits if now - since > self.patience)
        for _ in range(lost):
            if len(self._under_way) > self._live:
                self._start_thread()
        if self._under_way:
            self._look_later()
            if self._short:
                self._start_thread()
        self.on_look()

    def _overdue(self, job: _Job, since: float, waited: float) -> bool:
        """Whether a thread is lost to it."""
        with self._mutex:
            if job not in self._under_way or job.since != since:
                return False  # it has just ended, or begun
            self._under_way.discard(job)
            job.over = True
            running = job.worker is not None
            if running:
                self._stuck += 1
                self._live -= 1
        why = f"a call has not returned for {waited:.1f} s" if running else f"no thread was free for {waited:.1f} s"
        _give_up(job, DiskHangs(why))
        if running:
            self.on_hang(why)
        return running

    # ------------------------------------------------------------ in threads

    def _work(self, loop: asyncio.AbstractEventLoop, worker: _Worker) -> None:
        ident = threading.get_ident()
        self._workers[ident] = worker
        try:
            while (job := self._queue.get()) is not None:
                lost = self._do(worker, job, loop)
                del job  # what it refers to is not held while there is nothing to do
                if lost:
                    return
        finally:
            with self._mutex:
                del self._workers[ident]
                self._gone = self._gone[0] + worker.calls, self._gone[1] + worker.slow

    def _do(self, worker: _Worker, job: _Job, loop: asyncio.AbstractEventLoop) -> bool:
        """True: the call was given up meanwhile, and this thread is one too many."""
        waiter = job.waiter
        with self._mutex:
            if job.over or (waiter is not None and waiter.cancelled()):
                self._under_way.discard(job)
                return False
            job.worker, worker.job, job.since = worker, job, self._now()
        result, error = _outcome(job)
        if error is not None:
            self.note(error)
        slow = worker.was_slow or self._now() - job.since > self.slow
        with self._mutex:
            self._under_way.discard(job)
            lost = worker.lost
            worker.job, worker.was_slow = None, False
            if lost:
                self._stuck -= 1
            worker.calls += 1
            worker.slow += slow
        if waiter is not None and not lost:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_deliver, waiter, result, error)
        return lost


def _outcome(job: _Job) -> tuple[Any, BaseException | None]:
    try:
        return job.call(*job.args), None
    except BaseException as error:  # noqa: BLE001 - it is the waiter's
        return None, error


def _deliver(waiter: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if waiter.done():
        return
    if error is None:
        waiter.set_result(result)
    else:
        waiter.set_exception(error)


def _give_up(job: _Job, error: DiskHangs) -> None:
    if job.waiter is not None and not job.waiter.done():
        job.waiter.set_exception(error)
    elif job.late is not None:
        job.late(error)


def _nothing() -> None:
    """Nobody looks."""


def _nobody(_why: str) -> None:
    """Nobody is told."""
