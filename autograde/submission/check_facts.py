"""What a learner's code may ask a check without being judged: its points, and the inputs that a seed makes."""

import re

from autograde.remote import wire
from autograde.remote.call import note_checks
from autograde.remote.probe import Remote

_ATTRIBUTE = re.compile(r"\bcheck\.(\w+)\.(\w+)")
_INPUTS = re.compile(r"\bcheck\.(\w+)\.inputs\(\s*(?:seed\s*=\s*)?(\d{1,18})\b")
MOST = 20  # inputs that are made for one notebook
ALWAYS_THERE = "get_ipython"  # a name that every session has before its first cell


def tell(session, code, find):
    """Tell the process of a session what its code asks checks for; nothing where it asks nothing.

    Args:
        session: before its first cell.
        code: all that will be run.
        find: called with the name of an exercise; its `Check`, or None.
    """
    asked = dict.fromkeys(name for name, _ in _ATTRIBUTE.findall(code))
    checks = {name: found for name in asked if (found := find(name))}
    seeds = list(dict.fromkeys((name, int(seed)) for name, seed in _INPUTS.findall(code) if name in checks))[:MOST]
    facts = {
        name: {
            "points": float(check.points),
            "parts": check.parts,
            "subject": check.subject,
            "inputs": [[seed, wire.plain(check.inputs(seed))] for asked_of, seed in seeds if asked_of == name],
        }
        for name, check in checks.items()
    }
    if facts:
        note_checks(Remote(ALWAYS_THERE, session), facts=facts)
