"""What a learner's code may ask a check without being judged: its points, and the inputs that a seed makes.

The code runs where no check is loaded, so it is read for what it asks before its first cell runs.
"""

import re

from autograde.remote import wire
from autograde.remote.call import note_checks
from autograde.remote.probe import Remote

_ALIAS = re.compile(r"\bimport\s+check\s+as\s+(\w+)")
_NAMED = r"(?<![\w.])(?:\w+\.)?(?:{check})\.(\w+)\b(\s*\()?"  # an exercise, and whether it is just called
_INPUTS = re.compile(r"(?<!\w)(\w+)\.inputs\(\s*(?:seed\s*=\s*)?(\w+)")
_IS_NUMBER = r"(?<![\w.]){name}\s*=\s*(\d{{1,18}})\b"
MOST_NAMES = 200  # that are looked up for one notebook
MOST_WORDS = 50  # different ones that the code is searched for: names of its own for checks, and for seeds
MOST = 20  # inputs that are made for one notebook
ALWAYS_THERE = "get_ipython"  # a name that every session has before its first cell


def tell(session, code, find):
    """Tell the process of a session what its code asks checks for; nothing where it asks nothing.

    Args:
        session: before its first cell.
        code: all that will be run.
        find: called with a name; the `Check` of that exercise, or KeyError, whose message the learner's code is told.
    """
    asked, facts = {}, {}
    aliases = list(dict.fromkeys(["check", *_ALIAS.findall(code)]))[:MOST_WORDS]
    named = re.findall(_NAMED.format(check="|".join(aliases)), code)
    for name, is_called in list(dict.fromkeys(named))[:MOST_NAMES]:
        try:
            check = find(name)
            if not is_called:
                asked[name] = check
        except KeyError as error:
            facts[name] = {"unknown": error.args[0]}
    if not asked and not facts:
        return
    seeds = _seeds(code, asked)
    for name, check in asked.items():
        facts[name] = {
            "points": float(check.points),
            "parts": check.parts,
            "subject": check.subject,
            "inputs": [[seed, wire.plain(check.inputs(seed))] for of, seed in seeds if of == name],
        }
    note_checks(Remote(ALWAYS_THERE, session), facts=facts)


def _seeds(code, asked):
    """``[(exercise, seed)]`` of the inputs that code asks for with a number, or with a name that it sets to one.

    Where it keeps a check under a name of its own, any of those in `asked` may be meant.
    """
    found = {}
    for owner, seed in list(dict.fromkeys(_INPUTS.findall(code)))[:MOST_WORDS]:
        numbers = [seed] if seed.isdecimal() else re.findall(_IS_NUMBER.format(name=seed), code)
        for name in [owner] if owner in asked else asked:
            found |= dict.fromkeys((name, int(number)) for number in numbers if len(number) < 19)
    return list(found)[:MOST]
