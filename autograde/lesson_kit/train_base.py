"""Trains the small GPT that lessons 09 and 10 start from, and writes `gpt.safetensors` beside this file.

    python -m autograde.lesson_kit.train_base

It learns English: the prose in the documentation and the docstrings that Python ships, and the English names of
`text.py`. About a quarter of an hour on one core. The data depend on the versions of Python and Babel: the file says in
its metadata which they were, and holds a hash of the text.
"""

import ast
import hashlib
import json
import math
import platform
import random
import re
import sysconfig
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from pydoc_data import topics

import torch
from safetensors.torch import save_file

from autograde.lesson_kit.base import CHECKPOINT
from autograde.lesson_kit.gpt import GPT, Config
from autograde.lesson_kit.text import LANGUAGES, Characters, excerpts, names

SEED = 0
STEPS = 3200
BATCH, LENGTH = 32, 65  # 65 characters: 64 to read, 64 to guess
OF_NAMES = 2  # of the texts in a batch, how many are of names
LR = 2e-3
COMMAND = "python -m autograde.lesson_kit.train_base"


def paragraphs(text):
    """The paragraphs of `text` that are prose, without code, grammar, tables and references; line breaks become spaces."""
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = " ".join(paragraph.split())
        plain = sum(character.isalpha() or character in " ,.'" for character in paragraph)
        code = re.search(r"::=|>>>|http|:\w+:|``", paragraph)
        if len(paragraph) > 80 and paragraph[0].isupper() and paragraph.endswith(".") and not code:
            if plain > 0.95 * len(paragraph):
                yield paragraph


def docstrings():
    """Yield the docstrings of every module, class and function in the standard library, in the order of the files' paths."""
    library = Path(sysconfig.get_path("stdlib"))
    outside = {"site-packages", "test", "tests", "idlelib", "lib2to3", "pydoc_data"}
    for path in sorted(library.rglob("*.py")):
        if outside.isdisjoint(path.relative_to(library).parts):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    yield ast.get_docstring(node) or ""


def prose():
    """The paragraphs without duplicates, in a fixed shuffled order."""
    texts = [*topics.topics.values(), *docstrings()]
    unique = list(dict.fromkeys(paragraph for text in texts for paragraph in paragraphs(text)))
    random.Random(SEED).shuffle(unique)
    return unique


def vocabulary(texts):
    """Every character of the prose and of the names in all languages, sorted, and a "?" for all others."""
    everything = set("".join(texts)) | set("".join(name for code in LANGUAGES for part in names(code) for name in part))
    return "".join(sorted((everything | {"\n"}) - {"?"})) + "?"


def data():
    """(prose, English names, prose held out, vocabulary), the first three as one text each."""
    all_paragraphs = prose()
    held_out_count = len(all_paragraphs) // 50
    return (
        "\n".join(all_paragraphs[held_out_count:]) + "\n",
        "\n".join(names("en")[0]) + "\n",
        "\n".join(all_paragraphs[:held_out_count]),
        vocabulary(all_paragraphs),
    )


def digest(text):
    """The SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def rate(step, steps):
    """The learning rate: linear warm-up over 100 steps, then cosine decay to about a thirtieth."""
    return LR * min((step + 1) / 100, 0.03 + 0.97 * (1 + math.cos(math.pi * step / steps)) / 2)


def train(model, texts, held_out, steps):
    """AdamW on the two texts, mixed in each batch. Yields (step, loss on held-out prose, on held-out names)."""
    generator = torch.Generator().manual_seed(SEED)
    matrices = [parameter for parameter in model.parameters() if parameter.dim() == 2]
    norms = [parameter for parameter in model.parameters() if parameter.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step, steps)
        counts = (BATCH - OF_NAMES, OF_NAMES)
        batch = torch.cat([excerpts(text, n, LENGTH, generator) for text, n in zip(texts, counts, strict=True)])
        optimiser.zero_grad()
        model.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 400 == 0 or step + 1 == steps:
            with torch.no_grad():
                yield step + 1, *(model.loss(in_rows(text)).item() for text in held_out)


def in_rows(text):
    """The start of a text, `(at most 300, LENGTH)`."""
    return text[: len(text) // LENGTH * LENGTH].view(-1, LENGTH)[:300]


def main(steps=STEPS):
    """Train, and write the file."""
    started = time.process_time()
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    text, lines, held_out_text, known_characters = data()
    characters = Characters(known_characters)
    model = GPT(Config(len(known_characters)))
    print(f"{len(text):,} characters of prose, {len(lines):,} of names; {len(known_characters)} different ones")
    print(f"{sum(parameter.numel() for parameter in model.parameters()):,} parameters")
    held_out = [characters.encode(part) for part in (held_out_text, "\n".join(names("en")[1]))]
    for step, on_prose, on_names in train(model, [characters.encode(text), characters.encode(lines)], held_out, steps):
        elapsed = time.process_time() - started
        print(f"step {step:5}, {elapsed:4.0f} s: held-out prose {on_prose:.3f}, names {on_names:.3f}", flush=True)

    state = model.state_dict()
    del state["lm_head.weight"]  # it is embedding.weight
    metadata = {
        "format": "pt",
        "config": json.dumps(asdict(model.config)),
        "vocabulary": known_characters,
        "seed": str(SEED),
        "steps": str(steps),
        "command": COMMAND,
        "python": platform.python_version(),
        "torch": version("torch"),
        "babel": version("babel"),
        "prose_sha256": digest(text),
        "names_sha256": digest(lines),
        "held_out_loss_prose": f"{on_prose:.4f}",
        "held_out_loss_names": f"{on_names:.4f}",
    }
    save_file(state, CHECKPOINT, metadata)
    print("wrote", CHECKPOINT)


if __name__ == "__main__":
    main()
