"""Shows the progress of grading: a bar with the remaining time in a terminal, a line every few seconds elsewhere."""

import time

LINE_SECONDS = 10.0  # between two lines where there is no bar


class Lines:
    """Plain lines, for files and pipes.

    Args:
        echo: prints one line.
    """

    def __init__(self, echo):
        self.echo = echo
        self.total = self.done = 0
        self.first = self.printed = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self, total, skipped):
        """Start to show the grading of `total` submissions."""
        self.total = total
        self.printed = time.monotonic()
        self.say(f"grading {total} submissions" + (f"; {skipped} are graded already" if skipped else ""))

    def step(self, _result):
        """Count one more graded submission."""
        self.done += 1
        now = time.monotonic()
        if self.done == 1:  # what came before it is the start of the workers, which happens only once
            self.first = now
        if now - self.printed >= LINE_SECONDS and self.done < self.total:
            self.printed = now
            left = (now - self.first) / max(self.done - 1, 1) * (self.total - self.done)
            about = f" · about {duration(left)} left" if self.done > 1 else ""
            self.say(f"{self.done} of {self.total} graded{about}")

    def say(self, *messages):
        """Print messages."""
        for message in messages:
            self.echo(message)


class Bar(Lines):
    """A progress bar in a terminal.

    Args:
        console: a rich Console.
    """

    def __init__(self, console):
        from rich import progress

        super().__init__(lambda message: console.print(message, markup=False, highlight=False))
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("·"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("left"),
            console=console,
            transient=True,
        )
        self.task = None

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def begin(self, total, skipped):
        """Start to show the grading of `total` submissions."""
        super().begin(total, skipped)
        self.task = self.bar.add_task("grading", total=total)

    def step(self, _result):
        """Count one more graded submission."""
        self.done += 1
        self.bar.advance(self.task)


def duration(seconds):
    """``1 h 12 min``, ``3 min``, ``45 s``."""
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if seconds >= 90 else f"{seconds:.0f} s"
