"""Workers on the instructor's Dask cluster: grading processes on its machines.

Each task of the cluster passes one message to a grading process on the Dask worker's machine, and the answer comes back
as bytes. So learners' code never runs in a Dask worker, and nothing that it could change is unpickled here.
"""

import atexit
import contextlib
import queue

from autograde.batch.local_workers import CannotGrade
from autograde.project import CourseError, find_course
from autograde.submission import message
from autograde.submission.client import Grader, ask_with_retry

CONNECT_SECONDS = 15
TASKS_PER_THREAD = 3  # submitted at a time: enough that no thread waits, few enough to hold in memory
POLL_SECONDS = 5  # between two checks whether the cluster still runs
NO_WORKERS_SECONDS = 120  # how long a cluster may have no workers; some clusters replace theirs gradually


class ClusterError(CourseError):
    """The cluster cannot be used; the message says why, and what to do."""


# In a Dask worker: its grading processes without a task, by `require_isolation`.
_idle = {True: queue.LifoQueue(), False: queue.LifoQueue()}


def grade_here(question, require_isolation):
    """Runs in a Dask worker: pass a message to a grading process of this machine, and return its answer, also a message."""
    waiting = _idle[require_isolation]
    try:
        grader = waiting.get_nowait()
    except queue.Empty:
        grader = Grader(find_course(), require_isolation)
        atexit.register(grader.close)
    try:
        return message.pack(*ask_with_retry(grader, question))
    finally:
        waiting.put(grader)


def end_graders():
    """Runs in a Dask worker: end its grading processes."""
    for waiting in _idle.values():
        with contextlib.suppress(queue.Empty):
            while True:
                waiting.get_nowait().close()


class DaskWorkers:
    """Workers on a Dask cluster. A context manager.

    Args:
        address: of the scheduler, ``tcp://host:8786``. Every machine of the cluster has this course.
        require_isolation: run nothing outside a full sandbox.

    Raises:
        ClusterError: Dask is not installed here.
    """

    def __init__(self, address, require_isolation):
        try:
            import distributed  # noqa: F401  (only to see whether it is there)
        except ImportError:
            raise ClusterError("grading on a cluster needs Dask; run: pip install distributed") from None
        self.address = address
        self.require_isolation = require_isolation
        self.client = None

    def __enter__(self):
        from distributed import Client

        self.client = Client.__new__(Client)  # in two steps: one that could not connect must be closed, too
        try:
            self.client.__init__(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            with contextlib.suppress(Exception):
                # Or Dask does it whenever the object is collected; while another client starts, it then waits for itself.
                self.client.close(timeout=5)
            raise ClusterError(
                f"no Dask scheduler answers at {self.address} ({str(error).strip() or type(error).__name__}); "
                "start one with: dask scheduler"
            ) from None
        try:
            self.client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError:
            self.client.close()
            raise ClusterError(
                f"the Dask scheduler at {self.address} has no workers; "
                f"start some, in this folder, with: dask worker {self.address} --nthreads 1 --nworkers auto"
            ) from None
        return self

    def __exit__(self, *_):
        with contextlib.suppress(Exception):  # an error of a cluster that has ended must not hide the first one
            self.client.run(end_graders)
        with contextlib.suppress(Exception):
            self.client.close(timeout=5)

    def run(self, tasks):
        """Grade every task; yields ``(task, outcome, the graded notebook)`` as they are done.

        Raises:
            CannotGrade: the cluster is gone.
        """
        waiting = iter(tasks)
        submitted = {}
        done = queue.SimpleQueue()

        def submit_next():
            task = next(waiting, None)
            if task is not None:
                future = self.client.submit(grade_here, task.question(), self.require_isolation, pure=False)
                submitted[future.key] = future, task
                future.add_done_callback(done.put)

        for _ in range(TASKS_PER_THREAD * max(1, sum(self.client.nthreads().values()))):
            submit_next()
        while submitted:
            future, task = submitted.pop(self._next(done).key)
            if future.status in ("cancelled", "lost"):
                raise CannotGrade(f"the Dask scheduler at {self.address} is gone, or has given up the work")
            yield task, *_result(future)
            future.release()
            submit_next()

    def _next(self, done):
        for _ in range(NO_WORKERS_SECONDS // POLL_SECONDS):
            while self.client.status == "running":
                try:
                    return done.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    if not self.client.nthreads():
                        break
            else:
                raise CannotGrade(f"the Dask scheduler at {self.address} is gone")
        raise CannotGrade("the Dask cluster has lost all its workers")


def _result(future):
    try:
        return message.unpack(future.result())
    except Exception as error:  # a cluster can fail in any way
        return {"trouble": f"the cluster could not grade it: {type(error).__name__}: {error}", "stop": False}, b""
