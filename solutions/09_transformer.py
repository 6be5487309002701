# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 09 · A transformer

At the end of this lesson you can add LoRA to a model that somebody else wrote, by the names of its layers; you can teach that
model another language; and you can load a saved adapter safely: one that does not fit is refused.

*About 60 minutes · difficulty 4 of 5 · builds on: [04](../04_lora_linear/04_lora_linear.ipynb) for the layer,
[06](../06_merging/06_merging.ipynb) for merging, and [08](../08_fine_tuning/08_fine_tuning.ipynb) for training*

## From memory

Answer these before you open them.

<details><summary>04 · A new LoRA layer has not been trained yet. What does it compute, and which of A and B has a nonzero gradient at the first step?</summary>
Exactly what its base computes, since B is zero. B has a nonzero gradient; A gets one from the second step on.
</details>
<details><summary>05 · How many parameters does a LoRA of rank r have on a layer from d to k features?</summary>
r (d + k).
</details>
<details><summary>06 · You give a merged weight to a colleague, who merges the same adapter into it again. What does the colleague's model compute?</summary>
The base plus twice the adapter's part, without any error.
</details>
"""

# %%
import textwrap

import matplotlib.pyplot as plt
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.base import load_base
from autograde.lesson_kit.language import as_ids, learn, loss_on, write_lines, write_text
from autograde.lesson_kit.predictions import show_prediction
from lora_ref.layer import LoRALinear

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## A model that writes

Here is a small GPT. It reads up to 64 characters and predicts the next one. It was trained on English only: on the prose in
Python's documentation, and on the English names of languages, places and currencies. All of its code is in
`autograde/lesson_kit/gpt.py`. You give the model the beginning of a text, and it continues it:
"""

# %% demonstration=true
base, characters = load_base(device)
print(f"{sum(p.numel() for p in base.parameters()):,} parameters\n")
print(textwrap.fill(write_text(base, characters, "The function returns "), 90), "…\n")
print("\n".join(write_lines(base, characters, ["No", "Sa", "Ma", "Su"], seed=2)))

# %% [markdown]
r"""
The model has hardly seen a German word. For a few seconds you will train 12,288 new parameters, one for every 42 that it
has, on German names of the same kind. The model's own parameters do not change.

> What will it write then? English, with a German word here and there? Random letters? Words that look German, most of
> which do not exist? And with the adapter switched off again: will it write the same as above?
"""

# %%
my_prediction = {"with the adapter": "?", "switched off again": "?"}

# %% [markdown]
r"""
## A layer's name is its address

You want to wrap `nn.Linear`s that may be anywhere in somebody else's model. PyTorch gives each of them a name, which is the
path that leads to it. Here are the `nn.Linear`s of the first block, and the one that is in no block:
"""

# %% demonstration=true
for name, module in base.named_modules():
    if isinstance(module, nn.Linear) and (
        name.startswith("blocks.0.") or "blocks" not in name
    ):
        print(f"{name:28} {module.in_features} -> {module.out_features}")

# %% [markdown]
r"""
Each of the three blocks has the same six layers. `q_proj`, `k_proj`, `v_proj` and `o_proj` belong to the attention, in which
each character uses information from the characters before it. `up_proj` and `down_proj` are the MLP, which treats each
character by itself. The last layer, `lm_head`, turns the 128 features into a score for each of 153 characters. For this
lesson you need no more than these names.

In a name, each dot leads from a module to one of its parts. So replacing one layer takes four steps. Here they are for a
single layer of a copy of the model:

1. **find** · go through the `nn.Linear`s in `named_modules()`;
2. **match** · this one is called `blocks.0.attention.q_proj`, and you want every `q_proj`;
3. **parent** · the module that contains it is `blocks.0.attention`;
4. **replace** · the parent's attribute `q_proj` becomes a `LoRALinear` around the old layer.
"""

# %% demonstration=true
model, _ = load_base(device)
parent = model.get_submodule("blocks.0.attention")
parent.q_proj = LoRALinear(parent.q_proj, rank=8, alpha=16)
print(parent)

# %% [markdown]
r"""
Step 2 looks harmless. Suppose that somebody asks for `q_proj`, and the model has layers with the five names below.

> Which of them should get an adapter? And which of them does each of these two common rules match: `"q_proj" in name`, and
> `name.endswith("q_proj")`?
"""

# %% demonstration=true
some_names = [
    "q_proj",
    "blocks.0.attention.q_proj",
    "blocks.0.attention.seq_proj",
    "blocks.0.attention.q_proj.inner",
    "blocks.0.attention.q_proj_old",
]
my_second_prediction = {"meant": "?", "in": "?", "endswith": "?"}

# %% demonstration=true
show_prediction(
    my_second_prediction,
    guess={"meant": "first two", "in": "all five", "endswith": "first two"},
)
print()
print(f"{'':34} in     endswith")
for name in some_names:
    print(f"{name:34} {'q_proj' in name!s:6} {name.endswith('q_proj')}")

# %% [markdown]
r"""
Only the first two are meant: `q_proj` stands for the modules with exactly this name, wherever they are. Both rules match
more. Even `endswith`, which looks careful, matches `seq_proj`, because that name *does* end in the six characters `q_proj`.
You get no error: the wrong layer gets an adapter, the loss goes down, and the file that you publish does not fit the model
of anyone who uses the right rule.

## Exercise: `inject`

*About 15 minutes · difficulty 4 of 5 · 4 points: 2 for the layers that it chooses, 2 for the state of the model afterwards*

Write a function that wraps every `nn.Linear` with one of the given names in a `LoRALinear`, which is imported above. Write
it yourself: when your work is graded, `inject` from `lora_ref` is refused.

<details><summary>Hint 1: what to look at</summary>
Go through <code>some_names</code> by hand and note for each name whether it should match. Then write the rule as one
expression that gives the same answers. If anything comes before <code>q_proj</code> in a name, how must it end?
</details>
<details><summary>Hint 2: the idea</summary>
Do it in two passes: first collect all layers to replace, and only then change the model. <code>named_modules()</code> walks
through the model while your loop runs, so it also finds what you have just put in.
</details>
<details><summary>Hint 3: nearly there</summary>
Strings have a method that splits at the last dot. <code>get_submodule</code> finds the parent, also inside an
<code>nn.ModuleList</code>, also for the path <code>""</code>. Which condition tells you that nothing matched, and which names
can you then list in the message?
</details>
"""


# %% exercise="inject"
def inject(model, target_modules, rank, alpha):
    """Put a LoRALinear around every nn.Linear that ``target_modules`` names, in place.

    Args:
        model: an nn.Module that is not itself an nn.Linear.
        target_modules: a list or tuple of names. Each stands for the modules whose full name
            is this name, or ends in "." followed by this name: "q_proj" and
            "attention.q_proj" both match "blocks.0.attention.q_proj".
        rank, alpha: for LoRALinear.

    Returns:
        A list of the full names of the layers that were replaced, in any order.

    Only an nn.Linear is replaced. The old layer itself, not a copy, becomes the LoRALinear's
    ``base_layer``. What is not replaced stays as it is: parameters that required a gradient
    still do. A second call with the same names adds nothing: it returns [] or raises
    ValueError.

    Raises:
        ValueError: no nn.Linear matches any of the names. The message names at least one
            nn.Linear of the model, and the model is left as it was.
        TypeError: ``target_modules`` is one string. (To treat it as that one name is right,
            too.)
    """
    ### BEGIN SOLUTION
    if isinstance(target_modules, str):
        raise TypeError(f"target_modules must be a list of names: [{target_modules!r}]")
    linears = {
        name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)
    }
    found = [
        name
        for name in linears
        if any(name == target or name.endswith("." + target) for target in target_modules)
    ]
    if not found:
        raise ValueError(
            f"no nn.Linear is called {target_modules}; there are {sorted(linears)}"
        )
    for name in found:
        parent, _, child = name.rpartition(".")
        layer = LoRALinear(linears[name], rank=rank, alpha=alpha)
        setattr(model.get_submodule(parent), child, layer)
    return found
    ### END SOLUTION


# %% check="inject"
check.inject(inject)

# %% [markdown]
r"""
## What trains now?

Use your function on the base: an adapter of rank 8 for every `q_proj` and every `v_proj`, the choice of the LoRA paper. There
are three blocks with two such layers each, from 128 to 128 features: $3 \cdot 2 \cdot 8 \cdot (128 + 128) = 12{,}288$ new
parameters.

> How many parameters of the model require a gradient now: 12,288, fewer, or more?
"""

# %%
my_third_prediction = "?"

# %% demonstration=true
first, _ = load_base(device)
inject(first, ["q_proj", "v_proj"], rank=8, alpha=16)
training = {name: p for name, p in first.named_parameters() if p.requires_grad}
show_prediction(my_third_prediction, guess="12,288")
print(f"{sum(p.numel() for p in training.values()):,} parameters require a gradient\n")
adapters = [name for name in training if "lora_" in name]
others = [name for name in training if "lora_" not in name]
print(f"{len(adapters)} tensors belong to adapters; {len(others)} do not:")
print(", ".join(others[:3]), "…")

# %% [markdown]
r"""
12,288 is tempting because that many *should* train. But a `LoRALinear` freezes the layer that it wraps, and nothing else.
Embeddings, norms and every layer that was not named still train. That may be what you want, but it must not happen by
accident. So freeze the whole model first, then inject: then only the adapters train.
"""


# %% demonstration=true
def adapted(target_modules, rank, alpha, seed=0):
    """A frozen base with adapters on the named layers."""
    torch.manual_seed(seed)  # A is random
    model, _ = load_base(device)
    model.requires_grad_(False)
    inject(model, target_modules, rank=rank, alpha=alpha)
    return model


def trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


# %% [markdown]
r"""
## It learns German

The text is a list of names, one on each line. About every seventh name is held out, to measure the loss on names that the
model has not seen. The loss is the cross-entropy of the next character: the lower, the better the model predicts it. All six
layers of each block get an adapter of rank 2. After every 40 steps the model writes a line that begins with "No".
"""

# %% demonstration=true
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
german, german_held_out = as_ids("de", characters, device)
model = adapted(ALL, rank=2, alpha=4)
print(f"{trainable(model):,} parameters train")


def say(step):
    if step % 40 == 0:
        line = write_lines(model, characters, ["No"])[0]
        loss = loss_on(model, german_held_out)
        print(f"step {step:3}   loss {loss:.2f}   {line}", flush=True)


say(0)
learn(model, german, steps=200, after_step=say)

# %% [markdown]
r"""
Now compare the base and the adapted model side by side, with the same beginnings and the same random numbers.
`adapters_off` from `lora_ref` switches the adapters off in every layer.
"""

# %% demonstration=true
from lora_ref import adapters_off

starts = ["No", "Sa", "Al", "Ma", "Be", "Gu", "Ka", "Su"]
with_adapter = write_lines(model, characters, starts, seed=2)
with adapters_off(model):
    without = write_lines(model, characters, starts, seed=2)
    loss_off = loss_on(model, german_held_out)
print(f"{'the base':34} with the adapter")
for before, after in zip(write_lines(base, characters, starts, seed=2), with_adapter):
    print(f"{before:34} {after}")

print()
show_prediction(
    my_prediction,
    guess={
        "with the adapter": "English, with a German word here and there",
        "switched off again": "a little worse than before",
    },
)
same_text = without == write_lines(base, characters, starts, seed=2)
print("switched off, it writes what the base writes:", same_text)
print("and its loss is the same number:", loss_off == loss_on(base, german_held_out))

# %% [markdown]
r"""
With one new parameter for every 42 it is tempting to expect only a little German. But the endings are German, most of the
words are in no dictionary, and the base is still there, bit for bit. The loss on held-out names shows that the model has not
just memorised the names that it saw: it has learned how German names are formed.

## Which layers?

In most of its experiments the LoRA paper puts adapters on $W_q$ and $W_v$ only. Is that the best place for a given number of
parameters? You have seen two ways to use 12,288 parameters:

- rank 8 on `q_proj` and `v_proj`: $3 \cdot 2 \cdot 8 \cdot 256$;
- rank 2 on all six layers of a block: $3 \cdot 2 \cdot (4 \cdot 256 + 2 \cdot 512)$, where 512 = 128 + 384 for the two
  layers of the MLP.

> Which of the two has the lower loss on held-out German names after 80 steps? And where do you expect full fine-tuning of
> all 521,088 parameters?
"""

# %%
my_fourth_prediction = {"lowest": "?", "then": "?", "last": "?"}

# %% demonstration=true
SEEDS = (0, 1, 2)


def full(seed):
    return load_base(device)[0]


ways = {
    "q and v, rank 8": lambda seed: adapted(["q_proj", "v_proj"], rank=8, alpha=16, seed=seed),
    "all layers, rank 2": lambda seed: adapted(ALL, rank=2, alpha=4, seed=seed),
    "full fine-tuning": full,
}
# The learning rate that suits LoRA is too large for full fine-tuning: lesson 08.
RATES = {"full fine-tuning": 0.002}
results = {}
for way, make in ways.items():
    losses = []
    for seed in SEEDS:
        student = make(seed)
        learn(student, german, steps=80, lr=RATES.get(way, 0.02), seed=seed)
        losses.append(loss_on(student, german_held_out))
    results[way] = losses
    shown = ", ".join(f"{loss:.3f}" for loss in losses)
    print(f"{way:19} {trainable(student):7,} parameters   held-out loss {shown}", flush=True)
print()
show_prediction(
    my_fourth_prediction,
    guess={"lowest": "full", "then": "q and v, rank 8", "last": "all layers, rank 2"},
)

# %% demonstration=true alt="Held-out loss on German names for three ways of training, with a dot for each of three seeds. Rank 8 on q and v has the highest losses, rank 2 on all layers lower ones with the same number of parameters, full fine-tuning the lowest. The dots of each way lie close together. A dashed line far above marks the base without training."
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for position, losses in enumerate(results.values()):
    axis.plot(
        [position] * len(losses),
        losses,
        "o",
        color="black",
        markerfacecolor="white",
        markersize=8,
    )
axis.axhline(
    loss_on(base, german_held_out), color="black", linestyle="--", label="base, not trained"
)
axis.set_xticks(
    range(len(results)),
    [f"{way}\n{n} parameters" for way, n in zip(results, ("12,288", "12,288", "521,088"))],
)
axis.set(
    ylabel="held-out loss (nats per character)",
    xlim=(-0.5, 2.5),
    title="Same text, 80 steps each",
)
axis.legend()
plt.show()

# %% [markdown]
r"""
Rank 2 sounds like too little, so the paper's choice is tempting. But thin adapters on all layers give a lower loss than
thicker ones on two of the six, with each of the three seeds and with the same number of parameters. Published work found the
same at scale: adapt all layers, the MLP above all ("LoRA Without Regret", 2025). One small model and one short training prove
no rule. But they show that it matters *where* the adapters are, and that you should test it for your model.

## Two names, one weight

One layer has had no adapter so far: `lm_head`. In this model, as in many, its weight is **tied**: `lm_head` and the embedding
share one Parameter. Suppose that you put an adapter on `lm_head` alone.

> 1. Is the embedding frozen afterwards?
> 2. Does the adapter change what the embedding returns for a character?
> 3. And after the adapter has been merged in place?
"""

# %%
my_fifth_prediction = {"frozen": "?", "changed by adapter": "?", "changed by merge": "?"}

# %% demonstration=true
tied, _ = load_base(device)
before = tied.embedding.weight.detach().clone()
inject(tied, ["lm_head"], rank=4, alpha=8)
head = tied.lm_head
print("still one Parameter:    ", head.base_layer.weight is tied.embedding.weight)
print("the embedding is frozen:", not tied.embedding.weight.requires_grad)
nn.init.normal_(head.lora_B, std=0.1)  # as if it had been trained
print("changed by the adapter: ", not torch.equal(tied.embedding.weight, before))
head.merge()
print("changed by the merge:   ", not torch.equal(tied.embedding.weight, before))
print()
show_prediction(
    my_fifth_prediction,
    guess={"frozen": "no", "changed by adapter": "no", "changed by merge": "no"},
)

# %% [markdown]
r"""
The adapter is on the head, so it is tempting to think that the embedding is not affected. But the two are still tied, because
`base_layer` is the old layer itself. So the embedding is frozen together with the head. While the adapter is separate from
the weight, it changes only the output of the head. A merge writes into the weight, and the embedding uses that weight too:
now every input character gets a changed embedding, and nothing was trained for that. To merge a tied head, make a new layer
(`merge` of lesson [06](../06_merging/06_merging.ipynb)) and give up the tie.

## The file

You publish only what was trained: 12,288 parameters, without the base.

### Exercise: `adapter_state_dict`

*About 6 minutes · difficulty 2 of 5 · 2 points*

Write a function that collects the tensors of all adapters, under the keys that `model.state_dict()` gives them.

<details><summary>Hint 1: what to look at</summary>
Print the keys of <code>model.state_dict()</code> for an adapted model. Which part of a key tells an adapter from the base, and
could a layer of somebody's model have that part in its own name?
</details>
<details><summary>Hint 2: the idea</summary>
Whatever its name is, the class of a module tells you whether it has an adapter. <code>named_modules()</code> gives each
module with its path.
</details>
<details><summary>Hint 3: nearly there</summary>
A key is the path of the layer, a dot, and the name of the matrix. And are your values still part of the autograd graph?
Print the <code>grad_fn</code> of one.
</details>
"""


# %% exercise="adapter_state_dict"
def adapter_state_dict(model):
    """Only the adapters of a model, to be saved.

    Args:
        model: a module that contains LoRALinears, at any depth. Other parts of it may train
            as well, and may have "lora" in their names.

    Returns:
        A dict with one entry for each ``lora_A`` and ``lora_B`` of a LoRALinear, and no other.
        Its keys are those of ``model.state_dict()``; its values are tensors without a
        grad_fn, equal to the adapters bit for bit.
    """
    ### BEGIN SOLUTION
    state = model.state_dict()
    layers = [name for name, module in model.named_modules() if isinstance(module, LoRALinear)]
    keys = [f"{name}.{side}".lstrip(".") for name in layers for side in ("lora_A", "lora_B")]
    return {key: state[key].clone() for key in keys}
    ### END SOLUTION


# %% check="adapter_state_dict"
check.adapter_state_dict(adapter_state_dict)

# %% demonstration=true
from safetensors.torch import save

for name, state in [
    ("the base", base.state_dict()),
    ("the adapter", adapter_state_dict(model)),
]:
    state = {
        key: value.clone() for key, value in state.items() if key != "lm_head.weight"
    }  # tied: once
    print(f"{name:12} {len(save(state)):>9,} bytes in {len(state)} tensors")

# %% [markdown]
r"""
## Half a file

Loading looks easy, but this is where adapters get lost. Suppose that somebody's script saves only the `lora_A`s, and a
colleague loads the file with PEFT, the library that is most used for this.

> What does PEFT do with a file without any `lora_B`: does it raise, warn, or say nothing? What will the model write?
"""

# %%
my_sixth_prediction = {"PEFT": "?", "the model writes": "?"}

# %% [markdown]
r"""
The next cell needs `peft`, which `make lab` has installed. It writes your adapter in PEFT's format (lesson
[11](../11_ecosystem/11_ecosystem.ipynb) shows how), once whole and then damaged in four ways: without any `lora_B`, with
another prefix in all keys, with one tensor too many, and with all matrices transposed. PEFT itself loads each file.
"""

# %% demonstration=true
import logging
import tempfile
import warnings
from pathlib import Path

import peft
from safetensors.torch import load_file, save_file

from lora_ref import write_peft_adapter

logging.disable(logging.WARNING)


def without_B(state):
    return {key: value for key, value in state.items() if "lora_B" not in key}


def another_prefix(state):
    return {key.replace("base_model.model.", "model."): value for key, value in state.items()}


def one_more(state):
    key = next(iter(state))
    return state | {key.replace("blocks.0", "blocks.7"): state[key].clone()}


def transposed(state):
    return {key: value.T.contiguous() for key, value in state.items()}


def whole(state):
    return state


def load_with_peft(damage, folder):
    """(what PEFT said, the loss on German, the line that the model writes after "No")."""
    write_peft_adapter(model, folder, rank=2, alpha=4, target_modules=ALL)
    file = Path(folder, "adapter_model.safetensors")
    save_file(damage(load_file(file)), file, {"format": "pt"})
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            theirs = peft.PeftModel.from_pretrained(load_base()[0], folder)
    except Exception as error:
        return f"raises {type(error).__name__}", None, ""
    about_keys = any("missing adapter keys" in str(warning.message) for warning in caught)
    theirs = theirs.base_model.model
    said = "warns" if about_keys else "says nothing"
    return (
        said,
        loss_on(theirs, german_held_out.cpu()),
        write_lines(theirs, characters, ["No"])[0],
    )


show_prediction(my_sixth_prediction, guess={"PEFT": "raises", "the model writes": "nothing"})
print()
print(f"your file contains {len(adapter_state_dict(model))} tensors\n")
for damage in (whole, without_B, another_prefix, one_more, transposed):
    with tempfile.TemporaryDirectory() as folder:
        said, loss, line = load_with_peft(damage, folder)
    shown = f"loss {loss:.3f}   {line}" if loss else ""
    print(f"{damage.__name__:15} PEFT {said:20} {shown}", flush=True)
print(f"{'':15} the base alone            loss {loss_on(base, german_held_out):.3f}")

# %% [markdown]
r"""
You would expect an error from half a file. But in two cases PEFT loads an adapter that does nothing. Only a warning says so,
and a warning is easy to miss among others. The model runs and writes what the base writes. In one more case PEFT ignores a
tensor and says nothing.

## Exercise: `load_adapter`

*About 12 minutes · difficulty 3 of 5 · 3 points: 1 for loading what fits, 2 for refusing what does not*

Write the loader that you would want to use: if everything fits, it loads; if not, it raises an error that names the wrong
key, and changes nothing.

<details><summary>Hint 1: what to look at</summary>
<code>set(state)</code> and <code>set(adapter_state_dict(model))</code> are two sets of keys. They can differ in two
directions. What does each difference mean?
</details>
<details><summary>Hint 2: the idea</summary>
Check everything first, write afterwards: a loop that checks and copies key by key has already changed part of the model when
it meets the key that does not fit.
</details>
<details><summary>Hint 3: nearly there</summary>
The Parameters must stay the same objects, because an optimiser may hold them: write into them, under
<code>torch.no_grad()</code>. And compare the shapes yourself: some operations that write into a tensor broadcast a wrong
shape without an error.
</details>
"""


# %% exercise="load_adapter"
def load_adapter(model, state):
    """Write the adapters of ``state`` into ``model``, in place: all of them, or none.

    Args:
        model: a module with LoRALinears.
        state: a dict as ``adapter_state_dict`` returns it, from a model with the same
            adapters. It is not changed, and the model shares no memory with it afterwards.

    The adapters stay the same Parameters; which parameters require a gradient does not change.

    Raises:
        Any exception whose message contains the wrong key: a key of the model that is missing
            in ``state``, a key of ``state`` that is not an adapter of the model, or the key
            of a tensor whose shape differs from its parameter's. Then nothing in the model
            has changed.
    """
    ### BEGIN SOLUTION
    layers = {
        name: part for name, part in model.named_modules() if isinstance(part, LoRALinear)
    }
    adapters = {
        f"{name}.{side}".lstrip("."): getattr(layer, side)
        for name, layer in layers.items()
        for side in ("lora_A", "lora_B")
    }
    if adapters.keys() != state.keys():
        missing, extra = adapters.keys() - state.keys(), state.keys() - adapters.keys()
        raise KeyError(
            f"missing: {sorted(missing)}, not an adapter of this model: {sorted(extra)}"
        )
    for key, parameter in adapters.items():
        if state[key].shape != parameter.shape:
            shapes = f"{tuple(state[key].shape)}, not {tuple(parameter.shape)}"
            raise ValueError(f"{key} has the shape {shapes}")
    with torch.no_grad():
        for key, parameter in adapters.items():
            parameter.copy_(state[key])
    ### END SOLUTION


# %% check="load_adapter"
check.load_adapter(load_adapter)

# %% [markdown]
r"""
Now your loader gets the same kinds of damage, in this course's keys. (These keys have no prefix that could be wrong, so here
the wrong file has one.)
"""

# %% demonstration=true
fresh = adapted(ALL, rank=2, alpha=4, seed=1)


def a_prefix(state):
    return {"base_model.model." + key: value for key, value in state.items()}


for damage in (without_B, a_prefix, one_more, transposed, whole):
    try:
        load_adapter(fresh, damage(adapter_state_dict(model)))
        print(f"{damage.__name__:12} loaded: loss {loss_on(fresh, german_held_out):.3f}")
    except Exception as error:
        print(f"{damage.__name__:12} {type(error).__name__}: {str(error)[:66]}…")
        print(f"{'':12} loss {loss_on(fresh, german_held_out):.3f}, as before")

# %% [markdown]
r"""
No loader of this kind can notice an adapter that was trained for another base with the same names and shapes. Every key and
every shape fits, and the output is wrong. That is why adapter files say which base they belong to, and why you should look at
what the model writes.

## Try it

`as_ids` also knows `nl`, `da`, `sv`, `es`, `pt`, `it`, `fr`, `fi` and `tr`. Which of these languages is hardest for a model
that knows English? Change the two letters in the next cell, run it, and compare the losses before and after.
"""

# %% demonstration=true
language = "fi"
text, held_out = as_ids(language, characters, device)
another = adapted(ALL, rank=4, alpha=8)
before = loss_on(another, held_out)
learn(another, text, steps=80)
after = loss_on(another, held_out)
print(f"{language}: held-out loss {before:.2f} before, {after:.2f} after 80 steps\n")
print("\n".join(write_lines(another, characters, ["No", "Sa", "Al", "Ka"], seed=2)))

# %% [markdown]
r"""
## What to remember

- A name in `target_modules` matches whole parts of a path, from dot to dot. If nothing matches, raise an error; never succeed
  silently.
- `inject` freezes only the layers that it wraps. What else trains is your decision: list it.
- Here, thin adapters on all layers did better than thick ones on q and v, with the same number of parameters.
- A loader checks everything before it changes anything. One that only warns can leave you with the base.

**Next:** [10 · Many adapters](../10_many_adapters/10_many_adapters.ipynb) keeps one base in memory, and each row of a batch
uses the adapter of its own language.
"""
