"""Worker processes that end with the process that they work for, however that one ends.

A killed process cannot end its workers. They would live on, hold its locks and write into its files.
"""

import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process

PARENT_CHECK_SECONDS = 0.25


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of forked processes that end with this one."""
    return ProcessPoolExecutor(processes, mp_context=get_context("fork"), initializer=_begin)


def end_with_parent() -> None:
    """Kill this process soon after its parent has ended; to be called first in a worker process."""
    maker = parent_process()
    parent = os.getppid() if maker is None or maker.pid is None else maker.pid

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)  # nobody is left to hand a result to

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def _begin() -> None:
    """The stage's own handler would raise here, and Ctrl-C goes to all: what a pool does then is the stage's word."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()
