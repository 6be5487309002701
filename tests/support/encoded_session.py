"""A session with objects of this process, for tests of what crosses to another process: everything passes as bytes."""

from autograde.remote import wire
from autograde.remote.probe import Missing, Remote, run_probe


class OneByOne:
    """Base class of sessions: several questions are asked one after the other."""

    def ask_each(self, target, questions):
        """As `autograde.sandbox.session.Session.ask_each`."""
        return [self.ask(probe, target, arguments) for probe, arguments in questions]


class EncodedSession(OneByOne):
    """Runs probes here, on copies of the arguments that were encoded and decoded, and encodes their answers.

    Args:
        objects: the learner's objects by name.
        forge: replaces the answer of a probe before it is encoded, as handed-in code could.
    """

    def __init__(self, objects, forge=lambda answer: answer):
        self.objects = objects
        self.forge = forge
        self.bytes = 0  # of all answers

    def ask(self, probe, target, arguments):
        """As `autograde.sandbox.session.Session.ask`."""
        if target not in self.objects:
            raise Missing(target)
        probe, arguments = wire.decode(wire.encode([probe, arguments]), trusted=True)
        answer = wire.encode(self.forge(run_probe(probe, self.objects[target], arguments)))
        self.bytes += len(answer)
        return wire.decode(answer)


def encoded(target, forge=lambda answer: answer):
    """A `Remote` for an object of this process."""
    return Remote("target", EncodedSession({"target": target}, forge))
