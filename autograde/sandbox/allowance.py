"""The time limit of a request, which leaves out the time in which other processes kept it waiting for a processor."""

MOST_PATIENCE = 5  # times its limit that a request may take in all, the time in which it got no processor included


class Allowance:
    """The time that one request may take: `seconds` of wall time.

    Time in which one of the session's threads was ready to run and had no processor does
    not count, since that is other processes' doing; but it counts once the session's processes together have had
    `seconds` of processor time, for then they were not kept from working. In all, a request may take `MOST_PATIENCE`
    times `seconds`.

    Args:
        seconds: the limit.
        left: wall time that the session still has.
        by_cpu: whether the request also ends when the processes together have used `seconds` of processor time.
    """

    def __init__(self, seconds, left, by_cpu):
        self.seconds = seconds
        self.left = left
        self.by_cpu = by_cpu
        self.cpu_before = None
        self.waits_before = {}
        self.cpu = self.waited = 0.0

    def begin(self, waits):
        """Set how long each thread had waited for a processor before the request: ``{thread: seconds}``."""
        self.waits_before = dict(waits)

    def look(self, waits, cpu=None):
        """Update how long each thread has waited, and the CPU time used; None if it cannot be measured."""
        if cpu is not None:
            if self.cpu_before is None:
                self.cpu_before = cpu  # a moment late: nothing is read for a request that ends at once
                self.waits_before = waits | self.waits_before
            self.cpu = cpu - self.cpu_before
        self.waited = max((waits[thread] - self.waits_before.get(thread, 0.0) for thread in waits), default=0.0)

    @property
    def worked_enough(self):
        """Whether the processes together have had as much processor time as the request has wall time."""
        return self.cpu >= self.seconds

    @property
    def wall(self):
        """Wall time that the request may take, by what is known now."""
        excused = 0.0 if self.worked_enough else self.waited
        return min(self.seconds + excused, MOST_PATIENCE * self.seconds, self.left)

    @property
    def starved(self):
        """Whether a request that is over might have come to its end if it had not been kept waiting for a processor."""
        return not self.worked_enough and self.waited > (MOST_PATIENCE - 1) * self.seconds

    def is_over(self, spent):
        """Whether the request must be stopped after `spent` seconds."""
        return spent >= self.wall or (self.by_cpu and self.worked_enough)
