# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 11 · The ecosystem

At the end of this lesson you can hand an adapter to somebody who uses another library, say what that library will make of it, and
tell what LoRA's best-known variants change.

*About 50 minutes · difficulty 3 of 5 · builds on: [06 · Merging](../06_merging/06_merging.ipynb) and lessons [08](../08_fine_tuning/08_fine_tuning.ipynb) to [10](../10_many_adapters/10_many_adapters.ipynb)*
"""

# %%
import copy
import json
import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from safetensors.torch import save_file
from torch import nn

from autograde import check
from autograde.lesson_kit.predictions import show_prediction
from lora_ref.layer import LoRALinear

# %% [markdown]
r"""
## From memory

Answer these before you open them.

<details><summary>06 · A merge adds a matrix to a weight of shape (k, d). How is it made from A and B?</summary>
Their product, scaled and transposed: a weight is stored as (out, in), and A times B is (in, out).
</details>
<details><summary>09 · You inject with the one name <code>q_proj</code>. Is <code>seq_proj</code> adapted too?</summary>
No. A name matches from its end back to a dot, so blocks.0.q_proj is found and seq_proj is not.
</details>
<details><summary>10 · One layer, two adapters, of ranks 4 and 8. What is the rank of the single adapter that computes exactly their sum?</summary>
12: their factors stand side by side. You will need that again today.
</details>
"""

# %% [markdown]
r"""
## An adapter in somebody else's library

The base is a small network that reads handwritten digits: scikit-learn's, 8 × 8 pixels. When they are turned by 30 degrees, it
gets more than half of them wrong. An adapter of rank 4 on its three layers corrects that.

This one was made and trained with [PEFT](https://github.com/huggingface/peft), the library through which most people use LoRA, and
PEFT saved it in a folder.
"""

# %% demonstration=true
from autograde.lesson_kit import peft_folders as peft
from autograde.lesson_kit.turned_digits import Reader, accuracy, digits, train

folder = Path(tempfile.mkdtemp())
upright, turned = digits(degrees=30)
torch.manual_seed(0)
base = train(Reader(), upright.train, steps=600, lr=3e-3)
print(base)
print(f"turned digits that the base reads:         {accuracy(base, turned.test):.1%}")

adapted = peft.in_peft(base, r=4, lora_alpha=32, target_modules=["up", "middle", "head"])
train(adapted, turned.train, steps=300, lr=3e-3)  # PEFT lets only the adapter train
adapted.save_pretrained(folder / "from_peft")
print(f"turned digits that the adapted model reads: {accuracy(adapted, turned.test):.1%}")

# %% [markdown]
r"""
## Predict first

A folder is often copied and converted before somebody loads it. Here are seven copies. Each has one thing changed, except the first.

> For each: does PEFT **raise** an error, does it **warn**, or does it say **nothing**? And are still about 95 % of the turned
> digits read correctly?

| | what is different |
|---|---|
| 1 | nothing |
| 2 | all the $B$s are missing |
| 3 | every name has lost its beginning, `base_model.model.` |
| 4 | all matrices are transposed |
| 5 | `lora_alpha` is missing from the config |
| 6 | the config says that the adapter was started with PiSSA, a variant that you will meet below |
| 7 | there is one more tensor, for a layer that the model does not have |
"""

# %%
my_predictions = {  # of the first, PEFT says nothing, and 95 % are right
    2: "?",
    3: "?",
    4: "?",
    5: "?",
    6: "?",
    7: "?",
}


# %% demonstration=true
def without_B(config, tensors):
    for key in [key for key in tensors if "lora_B" in key]:
        del tensors[key]


def without_beginning(config, tensors):
    for key in list(tensors):
        tensors[key.replace("base_model.model.", "")] = tensors.pop(key)


def transposed(config, tensors):
    for key in tensors:
        tensors[key] = tensors[key].mT


def without_alpha(config, tensors):
    del config["lora_alpha"]


def from_pissa(config, tensors):
    config["init_lora_weights"] = "pissa"


def one_more(config, tensors):
    tensors["base_model.model.tail.lora_A.weight"] = torch.ones(4, 256)


def nothing(config, tensors):
    pass


CHANGES = (
    nothing,
    without_B,
    without_beginning,
    transposed,
    without_alpha,
    from_pissa,
    one_more,
)
show_prediction(
    my_predictions,
    guess={
        2: "raises",
        3: "raises",
        4: "raises",
        5: "raises",
        6: "nothing, 95 %",
        7: "warns, 95 %",
    },
)
print()
for number, change in enumerate(CHANGES, 1):
    model, did = peft.load(base, peft.changed(folder / "from_peft", change))
    right = f"{accuracy(model, turned.test):.1%} right" if model else "no model"
    print(f"{number} {change.__name__:18} PEFT {did:20} {right}")

# %% [markdown]
r"""
It is tempting to expect an error wherever something is missing. **Only one of the six faults raises an error.** The others give you a model that runs. Without its $B$s, or with names that match nothing, the
adapter is as it was before training: the model computes what the base computes. PEFT warns, in a line that is easily lost among others. `lora_alpha` is
8 by default, so the adapter works at a quarter of its strength. And a PiSSA flag left in the config **changes the
base's weights** while loading, and hardly any digit is read correctly. PEFT reports neither.

Nobody is to blame: a library that reads files from many sources has to be tolerant. But it means that a file which loads
need not work. If you write one, get it exactly right; if you ship one, *run* it first.
"""

# %% [markdown]
r"""
## What is in the folder
"""

# %% demonstration=true
config = peft.config_of(folder / "from_peft")
said = ("peft_type", "r", "lora_alpha", "target_modules", "use_rslora", "init_lora_weights")
print(f"adapter_config.json: {len(config)} entries, among them")
for key in said:
    value = sorted(config[key]) if key == "target_modules" else config[key]
    print(f"    {key:18} {value!r}")
print("adapter_model.safetensors:")
for key, tensor in peft.tensors_of(folder / "from_peft").items():
    print(f"    {key:44} {tuple(tensor.shape)}")

# %% [markdown]
r"""
Lesson [04](../04_lora_linear/04_lora_linear.ipynb)'s four steps once more, this time for a file:

1. **shape** · PEFT holds $A$ and $B$ as the weights of two `nn.Linear`s, so they are *stored* as $(r, d)$ and $(k, r)$. Ours are
   $(d, r)$ and $(r, k)$.
2. **product** · Which layer a matrix belongs to is in its name: a beginning that is always the same, the layer's full name in the
   base, and an ending that says which of the two it is.
3. **scale** · The file holds $A$ and $B$ as they were trained. The reader works out the scaling from `lora_alpha` and `r`.
4. **add** · `target_modules` says where: a *list* of names, each of which matches as in `inject`. (A single string is
   something else, a regular expression for the whole name.)

For everything else in the config the default is right for plain LoRA. You need `peft_type` (which is `"LORA"`), `r`,
`lora_alpha` and `target_modules`.

One small thing is easy to miss. safetensors writes memory as it is, so it refuses a view such as a transposed matrix. It needs a
tensor that is *contiguous*.

## Exercise: `write_peft_adapter`

*About 12 minutes · difficulty 3 of 5 · 4 points*

Now take an adapter from this course to PEFT. Your function gets a model in which `LoRALinear`s have replaced some `nn.Linear`s, as `inject` does it.
`lora_ref` has a function of the same name; grading refuses it. It also refuses PEFT, which is used to judge your files.

<details><summary>Hint 1: what to look at</summary>
Print the names and classes that <code>model.named_modules()</code> goes through, and compare them with the names in the folder
above. Whose name do you need?
</details>
<details><summary>Hint 2: the idea</summary>
You need two things: a dict of tensors for <code>save_file</code>, and a dict of four entries for <code>json</code>. For the
first, go through the modules and use only the LoRALinears.
</details>
<details><summary>Hint 3: nearly there</summary>
Write the folder and read it with <code>peft.tensors_of</code> and <code>peft.config_of</code> from the cells above. Compared with
the folder that PEFT wrote, is there any difference in the names, in the shapes, in the four entries?
</details>
"""


# %% exercise="write_peft_adapter"
def write_peft_adapter(model, directory, rank, alpha, target_modules):
    """Write the adapters of a model as a folder that PEFT can load.

    Args:
        model: some of its modules are LoRALinears, each with ``lora_A`` (d, r) and ``lora_B``
            (r, k), Parameters, and ``scaling``, which is alpha / rank. It is left as it is.
        directory: a str or a Path. It is made, with its parents, where it is not there; files
            in it are overwritten.
        rank, alpha: those of every adapter in the model.
        target_modules: a list of names by which PEFT shall find the modules that are adapted.

    Writes two files, adapter_config.json and adapter_model.safetensors. Loaded by PEFT into
    the same base they give a model that computes the same, and PEFT uses every tensor in them.
    Tensors keep the adapters' dtype.
    """
    ### BEGIN SOLUTION
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = (
                module.lora_A.detach().T.contiguous()
            )
            state[f"base_model.model.{name}.lora_B.weight"] = (
                module.lora_B.detach().T.contiguous()
            )
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": list(target_modules),
    }
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))
    ### END SOLUTION


# %% check="write_peft_adapter"
check.write_peft_adapter(write_peft_adapter)

# %% [markdown]
r"""
There and back: `lora_ref` reads PEFT's folder into LoRALinears, your function writes them, PEFT reads what you wrote. Unlike
PEFT, `lora_ref.read_peft_adapter` refuses a folder unless all of it fits. Try it on the copies above.
"""

# %% demonstration=true
from lora_ref import read_peft_adapter

ours = copy.deepcopy(base)
print("read:   ", read_peft_adapter(ours, folder / "from_peft"))
write_peft_adapter(
    ours, folder / "from_us", rank=4, alpha=32, target_modules=["up", "middle", "head"]
)
again, did = peft.load(base, folder / "from_us")
print("written: PEFT", did)
print("the same to the last bit as what PEFT wrote:", end=" ")
there, here = peft.tensors_of(folder / "from_peft"), peft.tensors_of(folder / "from_us")
print(there.keys() == here.keys() and all(torch.equal(there[key], here[key]) for key in there))
for name, model in (
    ("PEFT's", adapted),
    ("lora_ref's", ours),
    ("PEFT's, from your folder", again),
):
    print(f"{accuracy(model, turned.test):.1%} of the turned digits right in {name}")
try:
    read_peft_adapter(copy.deepcopy(base), peft.changed(folder / "from_peft", without_B))
except ValueError as error:
    print(f"\nlora_ref, without the Bs:\n    {error}")

# %% [markdown]
r"""
## Variant 1: another scaling

> You raise the rank from 4 to 256 and leave $\alpha$ at 16. In the first step of training, how large is the gradient of $B$,
> compared with that at rank 4: the same, 8 times smaller, or 64 times smaller? And if $\alpha$ is always $2r$, as many guides
> recommend?
"""

# %%
my_second_prediction = {"alpha 16": "?", "alpha 2r": "?"}

# %% demonstration=true alt="Line chart with two logarithmic axes: the norm of B's first gradient against the rank, from 1 to 256, with bars for the spread over five seeds. With alpha over r it falls, to about an eighth from rank 4 to rank 256. With alpha over the square root of r it stays level. With alpha twice the rank it rises, to about eight times."
RANKS = (1, 4, 16, 64, 256)


def first_gradient(rank, scaling, seed):
    """The norm of B's gradient at the start: an adapter on the middle layer, turned digits."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    alpha = scaling * rank  # the layer divides by the rank
    model.middle = LoRALinear(model.middle, rank, alpha)
    nn.functional.cross_entropy(model(turned.train.x), turned.train.y).backward()
    return model.middle.lora_B.grad.norm().item()


rules = {
    "α / r, α = 16": (lambda r: 16 / r, "o-"),
    "α / √r, α = 16": (lambda r: 16 / r**0.5, "s--"),
    "α / r, α = 2r": (lambda r: 2.0, "^:"),
}
show_prediction(my_second_prediction, guess={"alpha 16": "the same", "alpha 2r": "the same"})
figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
for name, (scaling, style) in rules.items():
    norms = torch.tensor(
        [[first_gradient(r, scaling(r), seed) for seed in range(5)] for r in RANKS]
    )
    middle, low, high = norms.median(1).values, norms.amin(1), norms.amax(1)
    axis.errorbar(
        RANKS,
        middle,
        [middle - low, high - middle],
        fmt=style,
        color="black",
        capsize=3,
        label=name,
    )
    print(f"{name:15} from rank 4 to rank 256: {middle[-1] / middle[1]:.2f} times")
axis.set(xscale="log", yscale="log", xlabel="rank r", ylabel="norm of B's first gradient")
axis.set_title("Three rules for the scaling")
axis.set_xticks(RANKS, RANKS)
axis.yaxis.set_major_formatter("{x:g}")
axis.legend()
plt.show()

# %% [markdown]
r"""
$xA$ has $r$ numbers, so the gradient of $B$ has $r$ rows, and its norm grows with $\sqrt r$. Dividing by $r$ makes it too small: at a
high rank training starts slowly, and people concluded that high ranks do not help. **rsLoRA** divides by $\sqrt r$ (Kalajdzievski
2023, arXiv 2312.03732). And $\alpha = 2r$ does not help: it fixes the scaling at 2, so the gradient grows with the rank.

In PEFT it is one entry of the config, `"use_rslora": true`.

## Exercises: `rs_scaling` and `portable_alpha`

*About 4 minutes · difficulty 1 of 5 · 1 point each*

But some programs do not know this entry and always divide by $r$. So give them an $\alpha$ for which dividing by $r$ is
right.

<details><summary>Hint 1: what to look at</summary>
Write down both scalings for <code>alpha = 16, r = 4</code>.
</details>
<details><summary>Hint 2: the idea</summary>
For the second one, call the alpha that you need β. What must β / r be equal to?
</details>
<details><summary>Hint 3: nearly there</summary>
For <code>alpha = 16, r = 4</code> your functions must return 8 and 32.
</details>
"""


# %% exercise="rs_scaling"
def rs_scaling(alpha, r):
    """The scaling of rsLoRA.

    Args:
        alpha: a number.
        r: the rank, a whole number from 1.

    Returns:
        A number, not rounded.
    """
    ### BEGIN SOLUTION
    return alpha / math.sqrt(r)
    ### END SOLUTION


# %% check="rs_scaling"
check.rs_scaling(rs_scaling)


# %% exercise="portable_alpha"
def portable_alpha(alpha, r):
    """The alpha for a reader without ``use_rslora``, which scales by alpha / r.

    Args:
        alpha: of an adapter that was trained with ``use_rslora``.
        r: its rank, a whole number from 1.

    Returns:
        A number, not rounded. With it the reader's scaling is the one used in training.
    """
    ### BEGIN SOLUTION
    return alpha * math.sqrt(r)
    ### END SOLUTION


# %% check="portable_alpha"
check.portable_alpha(portable_alpha)

# %% [markdown]
r"""
## Who reads what

The table says what each program does with an adapter, according to its own source or documents. (They were read for this lesson in November 2026. Software
changes: before you rely on a line, look it up again.)

| reader | what it takes | plain LoRA of one rank | rsLoRA | DoRA, trained biases, other layers | source |
|---|---|---|---|---|---|
| **PEFT** 0.21 | its own folder | yes | yes | yes | run in this lesson |
| **vLLM** | PEFT's folder | yes, up to `max_lora_rank`, which is **16** by default | yes | refuses | `vllm/lora/peft_helper.py`, `vllm/config/lora.py` |
| **SGLang** | PEFT's folder | yes | **ignores the entry**, says nothing | | `srt/lora/lora_config.py`; issue 40835 |
| **llama.cpp** | GGUF, made by `convert_lora_to_gguf.py` from PEFT's folder | yes | **the entry is lost**: only `lora_alpha` is copied | stops with an error at a tensor that is not A or B (except norms) | `convert_lora_to_gguf.py` |
| **Ollama** | `ADAPTER` in a Modelfile: PEFT's folder or GGUF | yes, for some architectures | **not read**; and `lora_alpha` must be a **whole number** | | `convert/convert.go`, docs "Importing a model" |
| **MLX-LM** | its own `adapters.safetensors` and config | `lora_a` is (in, r), `lora_b` is (r, out), as in this course; the config holds `scale` itself | write the scale | DoRA: yes, its own | `mlx_lm/tuner/lora.py`, `utils.py` |
| **diffusers** | PEFT's names, or Kohya's `lora_unet_….lora_down.weight`, `….lora_up.weight` | Kohya: an `.alpha` for **each** module; without it, the rank | write the alpha | DoRA: `dora_scale` | `loaders/lora_conversion_utils.py` |

So there is one file that all readers of PEFT's folders understand: **plain LoRA, one rank (at most 16, unless the reader's
settings are changed), no trained bias, no `use_rslora`, and an α that makes up for that.** Your two functions give you all of it, except for one thing:
"""

# %% demonstration=true
for r in (4, 8, 16, 32, 64):
    alpha = portable_alpha(16, r)
    whole = (
        "a whole number"
        if float(alpha).is_integer()
        else "Ollama's reader takes whole numbers only"
    )
    print(f"r = {r:2}   α = 16 becomes {alpha:8.3f}   {whole}")

# %% [markdown]
r"""
If $\sqrt r$ is not a whole number, write a whole $\alpha$ and multiply $B$ by the factor that is missing. It makes no difference which factor of a
product is scaled.

## Variant 2: direction and length

**DoRA** (Liu et al. 2024, arXiv 2402.09353) splits a weight into lengths and directions. Each row of $W$, the weights of one output, has a
length and a direction. LoRA changes the direction; the $k$ lengths, called *magnitudes* $m$, are parameters of their own:

$$
W' = m \cdot \frac{W + \Delta W}{\lVert W + \Delta W \rVert} \qquad \text{row by row}
$$

At the start $m$ holds the lengths of $W$'s rows and $\Delta W$ is zero, so $W'$ is $W$.
"""

# %% demonstration=true alt="Three lines from one point. W, solid, is the shortest. W plus delta, dashed, points further up and is longer. DoRA's row, broad and grey, points the same way as W plus delta and ends at a circle that marks its own length."
w, delta, m = torch.tensor([2.0, 0.5]), torch.tensor([0.6, 1.6]), 2.6
turned_row = w + delta
dora_row = m * turned_row / turned_row.norm()
figure, axis = plt.subplots(figsize=(4.6, 3.6), layout="constrained")
axis.add_patch(plt.Circle((0, 0), m, fill=False, color="0.7", linestyle=(0, (1, 3))))
looks = {
    "W + ΔW": (turned_row, {"linestyle": "--", "color": "black"}),
    "DoRA": (dora_row, {"color": "0.7", "linewidth": 7, "zorder": 1}),
    "W": (w, {"color": "black"}),
}
for name, (row, look) in looks.items():
    x, y = row.tolist()
    axis.plot([0, x], [0, y], **look)
    axis.annotate(name, (x, y), xytext=(8, -4), textcoords="offset points")
axis.text(0.12, m - 0.22, "length m", color="0.4")
axis.set(xlim=(0, 3.4), ylim=(0, 2.8), aspect="equal", title="One row of a weight, two inputs")
axis.set(xlabel="weight of input 1", ylabel="weight of input 2")
plt.show()

# %% [markdown]
r"""
## Exercise: `dora_weight`

*About 6 minutes · difficulty 2 of 5 · 3 points*

<details><summary>Hint 1: what to look at</summary>
Take one row of the picture. Which number must it be divided by, and which number multiplied by?
</details>
<details><summary>Hint 2: the idea</summary>
A row's length is the square root of the sum of its squares, along the second dimension. You get k of them, and you have k
magnitudes.
</details>
<details><summary>Hint 3: nearly there</summary>
A vector of k numbers lines up with the last dimension of a (k, d) matrix. Which shape makes it line up with the rows? To test it: the lengths of the rows of your result must be those in <code>magnitude</code>.
</details>
"""


# %% exercise="dora_weight"
def dora_weight(W, delta, magnitude):
    """The weight of a DoRA layer.

    Args:
        W: (k, d), the frozen weight of an nn.Linear.
        delta: (k, d), LoRA's change of it, scaled already.
        magnitude: (k,), the length of each row.

    Returns:
        Tensor (k, d). No row of W + delta is zero.
    """
    ### BEGIN SOLUTION
    adapted = W + delta  # (k, d)
    return (
        magnitude[:, None] * adapted / adapted.norm(dim=1, keepdim=True)
    )  # (k, 1) * (k, d) / (k, 1)
    ### END SOLUTION


# %% check="dora_weight"
check.dora_weight(dora_weight)

# %% [markdown]
r"""
> In the middle layer, 256 × 256, $\Delta W$ has rank 4. Every magnitude is moved by a few per cent. What is the rank of DoRA's change,
> $W' - W$: 4, 5, 8 or 256?
"""

# %%
my_third_prediction = "?"

# %% demonstration=true
W = base.middle.weight.detach()
delta = ours.middle.delta_weight().detach()
torch.manual_seed(0)
magnitude = W.norm(dim=1) * (1 + 0.05 * torch.randn(256))
change = (dora_weight(W, delta, magnitude) - W).detach()
show_prediction(my_third_prediction, guess="5")
print("rank of LoRA's change", torch.linalg.matrix_rank(delta, rtol=1e-6).item())
print("rank of DoRA's change", torch.linalg.matrix_rank(change, rtol=1e-6).item())

# %% [markdown]
r"""
5 is tempting: LoRA's 4, and one more for a single vector of magnitudes. But each row of $W$ itself is made longer or shorter, so the change contains rows of $W$, and $W$ has full rank. **No low-rank file can hold
a DoRA adapter.** So a reader has to support DoRA or refuse it; if it refuses, merge the adapter into the weight.

## Variant 3: another start

**PiSSA** (Meng et al. 2024, arXiv 2404.02948) does not start at zero. It cuts $W$ in two: the part with the $r$ largest singular values
becomes $A_0 B_0$ and is trained; the rest is frozen.

$$
W^\top = \underbrace{(W^\top - A_0 B_0)}_{\text{frozen}} + A_0 B_0
$$

One reason to do so: the frozen part can be stored in 4 bits. Then only the part of $W$ without its
largest directions is rounded, and the adapter stays precise.

> The middle layer in 4 bits has an error of some 9 per cent. With PiSSA's cut at rank 16: how large is the error? And if the same is
> done with a matrix of random numbers?
"""

# %%
my_fourth_prediction = {"digits": "?", "random": "?"}

# %% demonstration=true alt="Two line charts side by side: the error of a 4-bit weight against the rank that is kept precise, from 0 to 64. Left, the middle layer trained on digits: plain 4 bits, a level dotted line at about 9 per cent; with PiSSA's start the error falls steeply at small ranks and more slowly afterwards; correcting the rounding error with a singular value decomposition falls more slowly. Right, random numbers: both ways fall on the same, slow line."
LEVELS = torch.distributions.Normal(0, 1).icdf((torch.arange(16) + 0.5) / 16)
LEVELS = (
    LEVELS / LEVELS.max()
)  # 16 values from -1 to 1, closer together where a Gaussian has more


def in_4_bits(W, block=64):
    """W as 4 bits hold it: the largest of each 64 numbers, and for each one of 16 levels."""
    rows = W.reshape(-1, block)
    largest = rows.abs().amax(dim=1, keepdim=True)
    nearest = (rows / largest).unsqueeze(-1).sub(LEVELS).abs().argmin(dim=-1)
    return (LEVELS[nearest] * largest).view_as(W)


def largest_part(W, rank):
    U, S, Vh = torch.linalg.svd(W)
    return (U[:, :rank] * S[:rank]) @ Vh[:rank]


def error(W, stored):
    return ((W - stored).norm() / W.norm()).item()


kept = (0, 2, 4, 8, 16, 32, 64)
torch.manual_seed(0)
matrices = {"digits": W, "random": torch.randn(256, 256)}
figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.6), sharey=True, layout="constrained")
show_prediction(my_fourth_prediction, guess={"digits": "half", "random": "half"})
for axis, (name, M) in zip(axes, matrices.items()):
    plain = in_4_bits(M)
    pissa = [error(M, in_4_bits(M - largest_part(M, r)) + largest_part(M, r)) for r in kept]
    corrected = [error(M, plain + largest_part(M - plain, r)) for r in kept]
    axis.axhline(error(M, plain), linestyle=":", color="black", label="plain 4 bits")
    axis.plot(kept, corrected, "s--", color="0.5", label="plain 4 bits + SVD of the error")
    axis.plot(kept, pissa, "o-", color="black", label="PiSSA's start")
    axis.set(
        xlabel="rank kept precise",
        title={"digits": "trained on digits", "random": "random numbers"}[name],
    )
    print(
        f"{name:7} plain {pissa[0]:.3f}; rank 16: PiSSA {pissa[4]:.3f}, SVD {corrected[4]:.3f}"
    )
axes[0].set(ylabel="relative error", ylim=(0, None))
axes[0].legend()
plt.show()

# %% [markdown]
r"""
It is tempting to expect the same gain twice, since the same method is applied. But the gain comes from the **weight** as well as from the method. Training has concentrated much of $W$ in a few directions. Without them the numbers that are
left are smaller and more alike, and 4 bits represent them better. Random numbers have no such directions, and there PiSSA gains no more than any other
correction of the same size. (This is one weight of a small network, trained in the first cell. For another weight, its singular values decide how large
the gain is.)

## Exercise: `pissa_as_lora`

*About 6 minutes · difficulty 3 of 5 · 2 points*

Back to the sixth folder, which ruined the base. A PiSSA adapter belongs to a base from which a part was subtracted, and only you have that base. Everybody else has $W$.
What change must *they* add to it?

Everything here has scaling 1, for the input and for the result.

<details><summary>Hint 1: what to look at</summary>
Write down the weight with which the trained model computes: the frozen part plus the adapter. Subtract W.
</details>
<details><summary>Hint 2: the idea</summary>
What you get is a difference of two products, and an adapter holds one product. You have met that before: the third question at the
beginning.
</details>
<details><summary>Hint 3: nearly there</summary>
Two pairs side by side give a sum. Where must a minus sign go, and how often, to make it a difference?
</details>
"""


# %% exercise="pissa_as_lora"
def pissa_as_lora(A0, B0, A1, B1):
    """A trained PiSSA adapter as a plain LoRA adapter of the untouched weight.

    Args:
        A0, B0: the start, (d, r) and (r, k). The frozen part is the weight without their
            product.
        A1, B1: after training, in the same shapes.

    Returns:
        ``(A, B)``, (d, 2r) and (2r, k): their product is what has to be added to the untouched
        weight (transposed, as everywhere), exactly.
    """
    ### BEGIN SOLUTION
    A = torch.cat([A1, A0], dim=1)
    B = torch.cat([B1, -B0], dim=0)
    return A, B
    ### END SOLUTION


# %% check="pissa_as_lora"
check.pissa_as_lora(pissa_as_lora)

# %% [markdown]
r"""
Now all the steps together. PiSSA goes on the middle layer and is trained on turned digits. One of your functions turns it into plain LoRA, the other writes
the files, and PEFT loads them over the **untouched** base.
"""

# %% demonstration=true
U, S, Vh = torch.linalg.svd(W.T, full_matrices=False)  # W.T is (d, k), as A @ B is
A0, B0 = U[:, :4] * S[:4].sqrt(), S[:4].sqrt()[:, None] * Vh[:4]

pissa = copy.deepcopy(base)
pissa.middle = LoRALinear(pissa.middle, rank=4, alpha=4)
with torch.no_grad():
    pissa.middle.base_layer.weight -= (A0 @ B0).T
    pissa.middle.lora_A.copy_(A0)
    pissa.middle.lora_B.copy_(B0)
for name in ("up", "head"):
    getattr(pissa, name).requires_grad_(False)
print(f"before training {accuracy(pissa, turned.test):.1%}, as the base")
train(pissa, turned.train, steps=300, lr=3e-3)

plain = copy.deepcopy(base)
plain.middle = LoRALinear(plain.middle, rank=8, alpha=8)
with torch.no_grad():
    A, B = pissa_as_lora(A0, B0, pissa.middle.lora_A, pissa.middle.lora_B)
    plain.middle.lora_A.copy_(A)
    plain.middle.lora_B.copy_(B)
write_peft_adapter(plain, folder / "as_lora", rank=8, alpha=8, target_modules=["middle"])
shipped, did = peft.load(base, folder / "as_lora")
print(f"after training  {accuracy(pissa, turned.test):.1%}")
print(f"as plain LoRA   {accuracy(shipped, turned.test):.1%}, PEFT {did}")

# %% [markdown]
r"""
## A finding and its control

A paper looked at the singular vectors of fine-tuned weights and found **intruder dimensions**: after LoRA, among the largest directions of the
weight there are some that resemble none of the original's. After full fine-tuning there are hardly any, and where there are more intruders, more was forgotten
(Shuttleworth et al. 2024, arXiv 2410.21228).

The measure is, for each of the ten largest directions of $W'$, its largest $|\cos|$ with any direction of $W$. A small value means an intruder. In the next cell the
middle layer is adapted to turned digits at rank 4, and in full.

> A third change has learned **nothing**: random numbers, of the same rank and the same size as LoRA's $\Delta W$. Will it
> have no intruders, fewer than LoRA, or at least as many?
"""

# %%
my_fifth_prediction = "?"

# %% demonstration=true alt="Dot plot of how much each of the ten largest directions of a weight resembles any original direction, from 0 to 1, for three seeds each. Full fine-tuning: nearly all between 0.6 and 1. LoRA at rank 4: several between 0.3 and 0.6. Random changes of the same rank and size as LoRA's: several near 0.2, which is where a grey band marks directions drawn at random."
originals = torch.linalg.svd(W)[0]  # columns: the output directions of W


def resemblance(changed):
    """For a weight's ten largest directions, the largest |cos| with any direction of W."""
    return (torch.linalg.svd(changed)[0][:, :10].T @ originals).abs().amax(dim=1)


def tuned(seed, rank=None):
    """The middle layer's weight after 400 steps: in full, or with LoRA on all three layers."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base)
    if rank:
        for name in ("up", "middle", "head"):
            setattr(model, name, LoRALinear(getattr(model, name), rank, alpha=2 * rank))
    train(model, turned.train, steps=400, lr=1e-2 if rank else 3e-3, seed=seed)
    right = accuracy(model, turned.test)
    layer = model.middle
    return (layer.to_linear() if rank else layer).weight.detach(), right


def random_change(like, rank, seed):
    """Random numbers of this rank, as large as `like`."""
    torch.manual_seed(seed)
    change = torch.randn(256, rank) @ torch.randn(rank, 256)
    return change * like.norm() / change.norm()


found = {"full": [], "LoRA, rank 4": [], "random, rank 4": []}
for seed in range(3):
    full, right_full = tuned(seed)
    lora, right_lora = tuned(seed, rank=4)
    found["full"].append(resemblance(full))
    found["LoRA, rank 4"].append(resemblance(lora))
    found["random, rank 4"].append(resemblance(W + random_change(lora - W, 4, seed)))
    sizes = [((changed - W).norm() / W.norm()).item() for changed in (full, lora)]
    print(f"seed {seed}: full {right_full:.1%} right, |ΔW| / |W| {sizes[0]:.2f};", end=" ")
    print(f"LoRA {right_lora:.1%} right, {sizes[1]:.2f}")
directions = torch.randn(1000, 256, generator=torch.Generator().manual_seed(0))
by_chance = (nn.functional.normalize(directions, dim=1) @ originals).abs().amax(dim=1)

print()
show_prediction(my_fifth_prediction, guess="none")
figure, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
axis.axhspan(
    *by_chance.quantile(torch.tensor([0.05, 0.95])).tolist(),
    color="0.85",
    label="a random direction",
)
for place, (name, seeds) in enumerate(found.items()):
    for seed, values in enumerate(seeds):
        across = place + 0.16 * (seed - 1) + torch.linspace(-0.05, 0.05, 10)
        axis.plot(across, values, "osv"[seed], color="black", markerfacecolor="none")
    counts = [int((values < 0.5).sum()) for values in seeds]
    print(f"{name:15} below 0.5: {counts} of ten, by seed")
axis.set(
    xticks=range(3),
    xticklabels=found,
    ylim=(0, 1.05),
    ylabel="largest |cos| with a direction of W",
)
axis.set_title("The ten largest directions of the changed weight, three seeds")
axis.legend(loc="lower left")
plt.show()

# %% [markdown]
r"""
"None" is tempting, since nothing was learned that could intrude. But the change that has learned nothing has as many intruders as LoRA, or more. So on this weight, *any* change of low rank that is large compared with
$W$ brings intruders: its few directions are strong enough to be among the largest. The measure alone says nothing about learning or forgetting. Full
fine-tuning spreads a smaller change over many directions.

This is one small network. It does not refute the paper, whose models are a thousand times larger, and which has more evidence than this. It shows
what to ask of any such finding: **what would the measure say if nothing had been learned?** And note the grey band: in 256 dimensions even a direction drawn at
random resembles some original by 0.2. In 16 dimensions that would be 0.5, and nothing would look like an intruder.
"""

# %% [markdown]
r"""
## The claims audit, second part

*About 8 minutes · no points*

In lesson [05](../05_counting/05_counting.ipynb) you could check claims with a formula. These are from guides, from the trade press, and from the texts on which this course is based.
Call each one **holds**, **depends**, **wrong**, or **no source** (it might be true, but nobody says how they know).

| | claim | from |
|---|---|---|
| A | "Most billion-parameter models reach peak specialized IQ at exactly Rank 16." | news list of a LoRA chapter, attributed to a company's research |
| B | "Can load 1,000 LoRAs on a single GPU without memory overhead." | the same list |
| C | "Specialized legal LoRAs outperform GPT-4o on bar-exam reasoning by 40 %." | the same list |
| D | "The resulting LoRA adapter is just a few megabytes in size." | the same chapter |
| E | "Set alpha = 2 r: this prevents the update gradients from exploding or vanishing." | several guides to fine-tuning |
| F | "Some libraries set lora_alpha to 2 r by default." | course notes |
| G | "Merge: you simply compute $W = W_0 + BA$." | the same course notes |
| H | "Multiple LoRA adapters can be trained for different tasks while sharing the base model." | an introduction |
"""

# %%
my_verdicts = dict.fromkeys("ABCDEFGH", "?")

# %% [markdown]
r"""
Now go through them one by one. You can still change your verdict before you run the next cell.

**A** · *exactly rank 16.* No such paper could be found. But the claim can be tested, if only on a small scale: the same task, rank after rank.
"""

# %% demonstration=true
show_prediction(my_verdicts["A"], guess="depends")
for rank in (1, 4, 16, 64):
    scores = []
    for seed in range(3):
        torch.manual_seed(seed)
        model = copy.deepcopy(base)
        model.head.requires_grad_(False)  # with its ten outputs it has no room for rank 16
        for name in ("up", "middle"):
            setattr(model, name, LoRALinear(getattr(model, name), rank, alpha=8 * rank))
        train(model, turned.train, steps=300, lr=3e-3, seed=seed)
        scores.append(accuracy(model, turned.test))
    print(f"rank {rank:2}: {min(scores):.1%} to {max(scores):.1%}")
print("A: no source")

# %% [markdown]
r"""
On this task accuracy does not peak at 16. Which rank is enough depends on the task, as you measured in lesson [08](../08_fine_tuning/08_fine_tuning.ipynb). If one sentence says "exactly", "most" and "IQ",
ask for the measurements.

**B** · *1,000 adapters without memory overhead.* Take lesson [05](../05_counting/05_counting.ipynb)'s count for a model of 7 billion values.
"""

# %% demonstration=true
show_prediction(my_verdicts["B"], guess="holds")
one = 32 * 2 * 8 * (4096 + 4096)  # 32 blocks, q and v, rank 8
print(f"one adapter: {one:,} values, {2 * one / 1e6:.1f} MB in 16 bit")
print(
    f"a thousand: {2000 * one / 1e9:.1f} GB; the model itself {2 * 6_738_415_616 / 1e9:.1f} GB"
)
print("B: wrong, and no source for it either")

# %% [markdown]
r"""
Some systems do serve thousands of adapters from one base (S-LoRA, arXiv 2311.03285: it keeps them in the machine's main memory and fetches those that are asked for).
But the adapters do take memory.

**C** · *40 % better than GPT-4o.*
"""

# %% demonstration=true
show_prediction(my_verdicts["C"], guess="depends")
for before in (0.50, 0.70, 0.75):
    print(
        f"from {before:.0%}: 40 % more is {1.4 * before:.0%}, 40 points are {before + 0.4:.0%}"
    )
print("C: no source")

# %% [markdown]
r"""
No post of that name could be found. The claim does not say what was measured, on which questions, or 40 % of what, so it cannot be checked. If the
starting point is good, it even leads beyond 100 %. Such a claim can be made in a way that can be checked: one paper compares fine-tuned models with GPT-4
on 260 legal tasks, in a table with a row for each (arXiv 2407.16615).

**D** · *a few megabytes.*
"""

# %% demonstration=true
show_prediction(my_verdicts["D"], guess="holds")
block = {"q": (4096, 4096), "k": (4096, 4096), "v": (4096, 4096), "o": (4096, 4096)}
block |= {"gate": (4096, 11008), "up": (4096, 11008), "down": (11008, 4096)}
for what, names, rank in (
    ("q, v", "qv", 8),
    ("all seven", block, 16),
    ("all seven", block, 256),
):
    values = 32 * sum(rank * sum(block[name]) for name in names)
    print(f"7 billion values, {what:9} rank {rank:3}: {2 * values / 1e6:8,.1f} MB in 16 bit")
print("D: depends")

# %% [markdown]
r"""
From a few megabytes to more than a gigabyte, for the same model.

**E** · *alpha = 2 r keeps gradients from exploding or vanishing.* You have drawn the picture.
"""

# %% demonstration=true
show_prediction(my_verdicts["E"], guess="holds")
few, many = ([first_gradient(r, 2.0, seed) for seed in range(5)] for r in (4, 256))
print(f"α = 2r, rank 4 to 256: the gradient of B grows {sum(many) / sum(few):.1f} times")
print("E: wrong; what keeps the gradient level is alpha proportional to the square root of r")

# %% [markdown]
r"""
It may still be a good starting point for the ranks that people use, 8 to 64, where the gradient changes by a factor below 3. But the reason given for it is wrong.

**F** · *a default of 2 r.* Ask the library.
"""

# %% demonstration=true
show_prediction(my_verdicts["F"], guess="holds")
print("PEFT's defaults:", peft.defaults("r", "lora_alpha", "lora_dropout", "use_rslora"))
print("F: depends on the library; of the most widely used one it is not true")

# %% [markdown]
r"""
MLX-LM has no alpha at all: its `scale` is 20 unless you say otherwise. A default holds for one version of one program.

**G** · *$W = W_0 + BA$.*
"""

# %% demonstration=true
show_prediction(my_verdicts["G"], guess="holds")
forgetful = copy.deepcopy(base)
with torch.no_grad():
    for name in ("up", "middle", "head"):
        layer = getattr(ours, name)
        getattr(forgetful, name).weight += (layer.lora_A @ layer.lora_B).T
print(
    f"the adapter of this lesson, merged without its scaling of {ours.up.scaling:g}:", end=" "
)
print(f"{accuracy(forgetful, turned.test):.1%} right, not {accuracy(ours, turned.test):.1%}")
print("G: wrong, except where alpha equals r")

# %% [markdown]
r"""
The same notes use $\alpha / r$ in their forward pass, a page earlier.

**H** · *many adapters, one base.*
"""

# %% demonstration=true
show_prediction(my_verdicts["H"], guess="depends")
untouched = copy.deepcopy(base.state_dict())
another = copy.deepcopy(base)
read_peft_adapter(another, folder / "from_peft")
same = all(torch.equal(untouched[name], tensor) for name, tensor in base.state_dict().items())
print("after loading another adapter, the base is unchanged to the last bit:", same)
print("H: holds")

# %% [markdown]
r"""
That is what the whole course has been about.

## What to remember

- A file that loads need not work. Write it exactly, and run what you ship. Names, orientation, alpha and initialisation are where it breaks, mostly without an error.
- The portable file is plain LoRA: one rank, no bias, no flags. rsLoRA can be written as plain LoRA with another alpha, PiSSA with twice the rank; DoRA cannot.
- Ask of a finding what the measure would say if nothing had been learned, and of a claim where its measurements are.

**Next:** [12 · Encore](../12_encore/12_encore.ipynb) puts your own functions to work on a language model of 135 million parameters.
"""
