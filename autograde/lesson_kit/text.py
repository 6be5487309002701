"""Training text in several languages without a download: CLDR's names of languages, places and currencies.

CLDR is the Unicode consortium's collection of such names, and the package Babel brings it along. A name has the same key
in every language, so the languages say the same things, each in its own words:

    en  Northern Cyprus Standard Time      de  Nordzypriotische Normalzeit      es  hora estándar del norte de Chipre
"""

import random
from functools import cache

import torch

LANGUAGES = {
    "en": "English",
    "de": "German",
    "nl": "Dutch",
    "da": "Danish",
    "sv": "Swedish",
    "es": "Spanish",
    "pt": "Portuguese",
    "it": "Italian",
    "fr": "French",
    "fi": "Finnish",
    "tr": "Turkish",
}
HELD_OUT = 0.15  # the share of the names that no model is trained on


def names(language):
    """(for training, held out): lists of names in a language, a key of `LANGUAGES`.

    They are in one shuffled order, the same for every language, so the same ones are held out everywhere.
    """
    keys = _shared_keys()
    held_out_count = round(HELD_OUT * len(keys))
    by_key = _names_by_key(language)
    return [by_key[key] for key in keys[held_out_count:]], [by_key[key] for key in keys[:held_out_count]]


@cache
def _shared_keys():
    """The keys that every language has a name for, shuffled. Names with a year in them are left out."""
    tables = [_names_by_key(code) for code in LANGUAGES]
    keys = sorted(set.intersection(*map(set, tables)))
    keys = [key for key in keys if not any(c.isdigit() for table in tables for c in table[key])]
    random.Random(0).shuffle(keys)
    return keys


@cache
def _names_by_key(language):
    from babel import Locale

    locale = Locale(language)
    by_key = {}
    for kind in ("languages", "scripts", "territories", "currencies"):
        by_key |= {(kind, key): name for key, name in getattr(locale, kind).items()}
    for key, zone in locale.meta_zones.items():
        by_key |= {("zones", f"{key} {variant}"): name for variant, name in zone.get("long", {}).items()}
    return by_key


class Characters:
    """A vocabulary of single characters: text to ids and back. Unknown characters become the last one, a "?"."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.ids = {character: i for i, character in enumerate(vocabulary)}

    def encode(self, text):
        """A tensor `(len(text),)` of int64."""
        unknown = len(self.vocabulary) - 1
        return torch.tensor([self.ids.get(character, unknown) for character in text])

    def decode(self, ids):
        """The text that a sequence of ids stands for."""
        return "".join(self.vocabulary[i] for i in ids)


def excerpts(ids, count, length, generator):
    """`(count, length)`: pieces of the long tensor `ids`, each from a random position."""
    starts = torch.randint(len(ids) - length + 1, (count, 1), generator=generator)
    return ids[(starts + torch.arange(length)).to(ids.device)]
