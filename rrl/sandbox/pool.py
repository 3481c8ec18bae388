"""Zygotes of one process, and the door of this room: ``Sandbox.run`` and ``Sandbox.map``."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

from rrl.sandbox.job import Finished, Job
from rrl.sandbox.link import Link, ZygoteLost
from rrl.sandbox.lock import Limits
from rrl.sandbox.probe import breaches
from rrl.sandbox.walls import SandboxUnavailable, Wall, command, possible

log = logging.getLogger(__name__)

_THREADS_EACH = 32
Item = TypeVar("Item")
Result = TypeVar("Result")


class Sandbox:
    """Runs programs, each in a fresh locked process. Thread-safe; zygotes are shared by all sandboxes of a process.

    Args:
      workers: programs at a time, each on a core; 0 = one a core, shared with the other ranks of this machine.
      cpu_s: seconds of CPU of one run, whole, >= 1.
      wall_s: seconds by the clock of one run, >= cpu_s; a program that sleeps ends here.
      memory_mb: address space of one run, >= 64.
      output_kb: of stdout, of stderr and of what is sent back, each, >= 1.
      packages: modules besides the standard library's that programs may import, such as numpy; imported beforehand.
      package_paths: folders that hold them (site-packages).
      wall: auto = the strongest that holds here; bwrap or sealed = this one or none.
      unsafe: true = programs run with limits but without any wall: they may read and write what you may.
    Raises:
      ValueError: a number out of its range.
      SandboxUnavailable: no wall holds on this machine, and ``unsafe`` is false.
    """

    def __init__(
        self,
        *,
        workers: int,
        cpu_s: int,
        wall_s: float,
        memory_mb: int,
        output_kb: int,
        packages: tuple[str, ...],
        package_paths: tuple[str, ...],
        wall: Literal["auto", "bwrap", "sealed"],
        unsafe: bool,
    ) -> None:
        least = {"workers": (workers, 0), "cpu_s": (cpu_s, 1), "wall_s": (wall_s, cpu_s), "memory_mb": (memory_mb, 64),
                 "output_kb": (output_kb, 1)}  # fmt: skip
        for key, (number, bound) in least.items():
            if number < bound:
                raise ValueError(f"task.grader.sandbox.{key} is {number}; expected >= {bound}")
        num = workers or max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        self._zygotes = zygotes(wall, unsafe, tuple(packages), tuple(package_paths), num)
        self._num = num
        # In a user namespace of its own a zygote's tasks are counted alone, else with those of its siblings.
        tasks = _THREADS_EACH * (1 if self._zygotes.wall == "bwrap" else num)
        self._limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_mb=memory_mb, output_kb=output_kb, tasks=tasks)
        self.fingerprint = f"{sys.version_info[:2]} {cpu_s} {wall_s} {memory_mb} {output_kb} {packages}"
        """Changes when the same program may end otherwise."""
        self.record = {
            "wall": self._zygotes.wall, "landlock_abi": self._zygotes.landlock_abi, "unsafe": unsafe, "workers": num,
            "not_held": self._zygotes.refused,
        }  # fmt: skip
        """What a run's record says about its wall."""
        if unsafe:
            log.warning("sandbox.unsafe is true: programs that the model writes run with NO wall, as you, on this "
                        "machine: they can read, change and send what you can")  # fmt: skip

    def run(self, job: Job) -> Finished:
        """Runs one job on an idle zygote; waits for one.

        Raises:
          ZygoteLost: two zygotes in a row were lost over it; nothing is known about the program.
        """
        return self._zygotes.run(job, self._limits)

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """``work`` of each item, as many at a time as there are workers, in the order of the items."""
        if len(items) < 2:
            return [work(item) for item in items]
        with ThreadPoolExecutor(self._num) as threads:
            return list(threads.map(work, items))


class Zygotes:
    """``num`` zygotes behind one wall; a lost one is replaced, a forked process starts its own."""

    def __init__(
        self, wanted: Literal["auto", "bwrap", "sealed"], unsafe: bool, packages: tuple[str, ...],
        paths: tuple[str, ...], num: int,
    ) -> None:  # fmt: skip
        self._packages, self._paths, self._num = packages, paths, num
        self.refused: list[str] = []
        for wall in possible(wanted, unsafe):
            link = self._held(wall)
            if link is not None:
                break
        else:
            raise SandboxUnavailable(
                f"programs of a model cannot be run safely here: {'; '.join(self.refused)}. A kernel with seccomp is "
                "needed (and its calls allowed by the container); install bubblewrap for a second wall; or train on "
                "another machine. Only if this machine may be lost: task.grader.sandbox.unsafe=true"
            )
        self.wall: Wall = wall
        self.landlock_abi = link.landlock_abi
        self._lock = threading.Lock()
        self._open(link)

    def run(self, job: Job, limits: Limits) -> Finished:
        """See ``Sandbox.run``."""
        with self._lock:
            if self._owner != os.getpid():
                self._open(None)
        for attempt in range(2):
            link = self._idle.get()
            try:
                link = link or self._link(self.wall)
                done = link.run(job, limits)
            except ZygoteLost as error:
                if link is not None:
                    link.close()
                self._idle.put(None)
                log.warning("a zygote of the sandbox was lost: %s", error)
                if attempt:
                    raise
                continue
            except BaseException:  # an interrupt in the middle: its answer would be taken for the next job's
                if link is not None:
                    link.close()
                self._idle.put(None)
                raise
            self._idle.put(link)
            return done
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends all that are idle; those at work end with this process."""
        while self._owner == os.getpid():
            try:
                link = self._idle.get_nowait()
            except queue.Empty:
                return
            if link is not None:
                link.close()

    def _open(self, first: Link | None) -> None:
        self._owner = os.getpid()
        self._idle: queue.LifoQueue[Link | None] = queue.LifoQueue()  # None = one that is still to be started
        for _ in range(self._num - 1):
            self._idle.put(None)
        self._idle.put(first)

    def _held(self, wall: Wall) -> Link | None:
        try:
            link = self._link(wall)
        except ZygoteLost as error:
            self.refused.append(f"{wall}: does not start ({error})")
            return None
        if wall == "unsafe":
            return link
        try:
            found = breaches(link.run)
        except ZygoteLost as error:
            found = [f"an attack ended the zygote ({error})"]
        if not found:
            return link
        self.refused.append(f"{wall}: a program {', '.join(found)}")
        link.close()
        return None

    def _link(self, wall: Wall) -> Link:
        # The kernel counts no threads of root, not even in a user namespace where it has another name.
        return Link(
            command(wall, self._packages, self._paths), as_nobody=wall == "bwrap" and os.getuid() == 0
        )  # fmt: skip


@functools.cache
def zygotes(
    wanted: Literal["auto", "bwrap", "sealed"], unsafe: bool, packages: tuple[str, ...], paths: tuple[str, ...],
    num: int,
) -> Zygotes:  # fmt: skip
    """One set a process for equal arguments: imports and attacks are paid once, however many sandboxes are built."""
    pool = Zygotes(wanted, unsafe, packages, paths, num)
    atexit.register(pool.close)
    return pool
