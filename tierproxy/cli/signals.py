"""Signals of a running node: TERM and INT stop it gracefully, a second INT at once, HUP reloads."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tierproxy.logs import event

log = logging.getLogger(__name__)
MOMENT = 0.5  #: seconds


@contextmanager
def handled(stop: asyncio.Event, reload: Callable[[], None]) -> Iterator[None]:
    """While inside: the first TERM or INT sets ``stop``, HUP calls ``reload``. Inside a running loop, main thread.

    A moment after the first INT its default action is back: whoever presses Ctrl-C twice does not want to wait. Nothing
    is lost by that: what is acknowledged is on disk and journaled. A moment, because programs that run others often
    pass on a signal that the terminal has sent to everybody already.
    """
    loop = asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        event(log, logging.INFO, "stopping", signal=number.name)
        if not stop.is_set():
            stop.set()
            loop.call_later(MOMENT, impatient)

    def impatient() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)
