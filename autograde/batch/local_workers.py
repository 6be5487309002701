"""Workers on this machine: threads, each with a grading process of its own."""

import queue
import threading

from autograde.submission.client import Grader, ask_with_retry


class CannotGrade(Exception):
    """No submission can be graded here; the message says why."""


class LocalWorkers:
    """Several workers on this machine. A context manager that ends their processes.

    Args:
        course: the `Course`.
        jobs: the number of workers.
        require_isolation: run nothing outside a full sandbox.
    """

    def __init__(self, course, jobs, require_isolation):
        self.graders = [Grader(course, require_isolation) for _ in range(jobs)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for grader in self.graders:
            grader.close()

    def run(self, tasks):
        """Start grading the tasks; an iterator of ``(task, outcome, graded notebook)``, in the order in which they finish.

        Args:
            tasks: objects with a method ``question()`` that returns a message; called when a worker is free.

        Raises:
            CannotGrade: this account may start no more threads.
        """
        waiting = iter(tasks)
        turn = threading.Lock()
        done = queue.SimpleQueue()

        def serve(grader):
            try:
                while not grader.closed:
                    with turn:
                        task = next(waiting, None)
                    if task is None:
                        break
                    done.put((task, *ask_with_retry(grader, task.question())))
                done.put(None)
            except BaseException as error:
                done.put(error)

        for grader in self.graders:
            try:
                threading.Thread(target=serve, args=(grader,), daemon=True).start()
            except RuntimeError as error:
                raise CannotGrade(f"no thread could be started ({error}): see `ulimit -u`") from None
        return self._results(done)

    def _results(self, done):
        left = len(self.graders)
        while left:
            result = done.get()
            if result is None:
                left -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
