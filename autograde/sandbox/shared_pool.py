"""One warm process for all the notebooks that this process grades, kept while there is work.

nbgrader grades notebook by notebook and has no notion of "done with the last one": a command ends, and formgrader's
server waits for the next click. So the warm process ends with this one, or when nothing was asked of it for a while.
"""

import atexit
import contextlib
import threading

from autograde.sandbox.pool import Warm

IDLE_SECONDS = 120


class Kept:
    """A warm process that is started when it is first needed.

    Args:
        idle: seconds without a session, after which it is ended.
    """

    def __init__(self, idle=IDLE_SECONDS):
        self.idle = idle
        self._lock = threading.Lock()
        self._warm = None
        self._how = None
        self._sessions = 0
        self._timer = None

    @contextlib.contextmanager
    def session(self, limits=None, files=None, given=(), code="", **how):
        """A session of the warm process (see `Warm.open`); `how` are the arguments of `Warm`."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._how != how and self._sessions:
                raise RuntimeError("the warm process is in use, and was started with other arguments")
            if self._warm is None or self._how != how:
                self._end()
                self._warm, self._how = Warm(**how), how
            warm = self._warm
            self._sessions += 1
        try:
            with warm.open(limits=limits, files=files, given=given, code=code) as session:
                yield session
        finally:
            with self._lock:
                self._sessions -= 1
                if not self._sessions:
                    self._timer = threading.Timer(self.idle, self.close)
                    self._timer.daemon = True
                    self._timer.start()

    def close(self):
        """End the warm process, unless a session is open."""
        with self._lock:
            if not self._sessions:
                self._end()

    def _end(self):
        if self._warm is not None:
            self._warm.close()
            self._warm = None


KEPT = Kept()
atexit.register(KEPT.close)
