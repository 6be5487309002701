"""The seam between observing and judging.

A probe is a function whose first argument is something the learner wrote. Called with that object itself, it just
runs; called with a `Remote` handle, its name and its other arguments are sent to the process that holds the object,
and the answer comes back as plain data. Probes know no right answers: they are the only part of the
course's checks that the learner's process can see.
"""

import functools
import sys

from autograde.remote import wire
from autograde.remote.torch_state import known_torch_state


class Remote:
    """A handle for the object called `name` in another process.

    Args:
        name: what the learner called it.
        session: has ``ask(probe_name, name, arguments) -> plain data``.
    """

    def __init__(self, name, session):
        self.name = name
        self.session = session


class Missing(Exception):
    """The other process holds no object of that name."""


class ProbeStopped(wire.WireError):
    """A probe gave no answer, and the other process goes on; the message is for the learner."""


def probe(function):
    """Make `function(target, **plain data) -> plain data` a probe: it runs here, or is sent by name."""
    name = f"{function.__module__}:{function.__name__}"

    @functools.wraps(function)
    def ask(target, **arguments):
        if isinstance(target, Remote):
            return target.session.ask(name, target.name, arguments)
        # The learner's code gets copies: what it changes in place must not change what the judge compares with.
        with known_torch_state():
            return wire.plain(function(target, **{key: wire.copy(value) for key, value in arguments.items()}))

    ask.is_probe = True
    return ask


def answer(name, target, arguments):
    """Run the probe called `name` on `target`: the far end of the seam.

    Raises:
        ValueError: no module that is loaded here defines a probe of that name.
    """
    module, _, function = name.partition(":")
    found = getattr(sys.modules.get(module), function, None)
    if not getattr(found, "is_probe", False):
        raise ValueError(f"{name!r} is not a probe")
    return found(target, **arguments)
