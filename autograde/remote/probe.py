"""Probes: functions that observe a learner's code, in this process or in another one.

The first argument of a probe is an object that the learner wrote. Called with that object, the probe runs here. Called
with a `Remote` handle, its name and its other arguments are sent to the process that holds the object, and the answer
comes back as plain data. Probes hold no right answers: they are the only part of a course's checks that the learner's
process can see.
"""

import functools
import sys

import torch

from autograde.remote import wire
from autograde.remote.torch_state import known_torch_state


class Remote:
    """A handle for the object called `name` in another process.

    Args:
        name: the learner's name for the object.
        session: an object with ``ask(probe_name, name, arguments) -> plain data`` and
            ``ask_each(name, [(probe_name, arguments), …]) -> [plain data, …]``.
    """

    def __init__(self, name, session):
        self.name = name
        self._ask, self._ask_each = session.ask, session.ask_each

    def ask(self, probe_name, arguments):
        """What a probe reports of the object."""
        return self._ask(probe_name, self.name, arguments)

    def ask_each(self, questions):
        """What several probes report of it: plain data for each pair of a probe's name and its arguments."""
        return self._ask_each(self.name, questions)


class Missing(Exception):
    """The other process holds no object of that name."""


class ProcessEnded(Exception):
    """The other process has ended, and with it everything that it held; the message says why."""


class ProbeStopped(wire.WireError):
    """A probe gave no answer, and the other process still runs; the message is for the learner."""


def probe(function):
    """Decorator that makes ``function(target, **plain data) -> plain data`` a probe."""
    name = f"{function.__module__}:{function.__name__}"

    @functools.wraps(function)
    def ask(target, **arguments):
        if isinstance(target, Remote):
            return target.ask(name, arguments)
        # The learner's code gets copies: what it changes in place must not change what the judge compares with.
        with known_torch_state():
            return wire.plain(function(target, **{key: wire.copy(value) for key, value in arguments.items()}))

    ask.is_probe = True
    return ask


def run_probe(name, target, arguments, find=sys.modules.get):
    """Run the probe called `name` on `target`, in the process that holds the learner's code.

    Args:
        find: gives the module of a name, or None.

    Raises:
        ValueError: no such module defines a probe of that name.
    """
    module, _, function_name = name.partition(":")
    function = getattr(find(module), function_name, None)
    if not getattr(function, "is_probe", False):
        raise ValueError(f"{name!r} is not a probe")
    return function(target, **arguments)


def warm_up():
    """Use once what the first probe of a process would import, so that processes forked from this one have it."""
    with known_torch_state():
        wire.decode(wire.encode({"values": torch.zeros(1)}))
