"""Lowers the priority of processes that handed-in code starts, so that they do not slow down other submissions."""

import contextlib
import os

FEW = 8  # processes, as of the data loaders in a usual notebook
LOWEST = 19


class Priorities:
    """Lowers the priority of what a session's first process has started. None of it can raise it again.

    Few processes get the lowest nice value. Where there are many, they and the first process's further threads are
    scheduled only when a processor would be idle (SCHED_IDLE). Where Linux weighs sessions of the terminal against each
    other (autogroups), a process that began one of its own would count as much as all of the grader: its group gets the
    lowest nice value, too.
    """

    def __init__(self):
        self.niced, self.idle, self.groups = set(), set(), set()

    def lower(self, tree):
        """Lower the priority of new processes and threads.

        Args:
            tree: ``{process: (session id, [threads])}``, the first process first.
        """
        if not hasattr(os, "sched_setscheduler") or not tree:
            return
        (first, (own_session, own_threads)), *started = tree.items()
        for process, (session, threads) in started:
            if session not in (own_session, *self.groups):
                self._lower_group(process, session)
            for thread in set(threads) - self.niced:
                self.niced.add(thread)
                with contextlib.suppress(OSError):  # it has ended
                    os.setpriority(os.PRIO_PROCESS, thread, LOWEST)
        everything = {thread for _, (_, threads) in started for thread in threads} | (set(own_threads) - {first})
        if len(everything) > FEW:
            for thread in everything - self.idle:
                self.idle.add(thread)
                with contextlib.suppress(OSError):
                    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))

    def _lower_group(self, process, session):
        """The kernel takes ten changes a second from a user without privileges: what it refuses is tried again."""
        try:
            with open(f"/proc/{process}/autogroup", "w") as file:
                file.write(str(LOWEST))
        except BlockingIOError:
            return
        except OSError:  # no autogroups here, or the process has ended
            pass
        self.groups.add(session)
