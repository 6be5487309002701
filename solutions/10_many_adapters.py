# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 10 · Many adapters

At the end of this lesson you can serve every row of a batch with its own adapter, from one base. You can say which of four
ways to do that suits which kind of batch. And you can make one adapter out of several, without training.

*About 45 minutes · difficulty 4 of 5 · builds on: [09](../09_transformer/09_transformer.ipynb) for the model,
[03](../03_two_thin_products/03_two_thin_products.ipynb) for the cost of thin products*

## From memory

Answer these before you open them.

<details><summary>09 · An adapter file has lost every B, and the loader only warns. What does the model compute, and why?</summary>
What the base computes: each new B is zero, so the update is zero, too.
</details>
<details><summary>01 · A is (d, r₁) and B is (r₁, k). What is the highest rank that A B can have? And the sum of two such products, with r₁ and r₂?</summary>
r₁ (if d and k are not smaller), and r₁ + r₂ for the sum.
</details>
<details><summary>09 · You want adapters on <code>q_proj</code>, and the rule is <code>name.endswith("q_proj")</code>. Does a layer called <code>seq_proj</code> get one?</summary>
Yes: se<b>q_proj</b> ends in these six characters. The rule must ask for a dot before them.
</details>
"""

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.base import load_base
from autograde.lesson_kit.language import as_ids, learn, loss_on, write_lines
from autograde.lesson_kit.predictions import show_prediction
from autograde.lesson_kit.text import LANGUAGES
from lora_ref.layer import LoRALinear

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## One base in memory

Six customers want the small GPT of lesson [09](../09_transformer/09_transformer.ipynb), each in another language. With full
fine-tuning you have to keep six models. With LoRA you keep one base that does not change, and six adapters, here of rank 4
on all layers.

> How many such adapters need as much memory as a second copy of the base?
"""

# %%
my_prediction = "?"

# %% demonstration=true
base, characters = load_base(device)
linears = [
    part
    for name, part in base.named_modules()
    if isinstance(part, nn.Linear) and "blocks" in name
]
numbers = sum(p.numel() for p in base.parameters())
one_adapter = sum(4 * (part.in_features + part.out_features) for part in linears)
show_prediction(my_prediction, guess="several hundred")
print(f"the base has {numbers:,} parameters, one adapter {one_adapter:,}")
print(f"{numbers / one_adapter:.0f} adapters are as large as the base")

# %% [markdown]
r"""
"Several hundred" is tempting, and for a large model it is the right order of magnitude. But this base is tiny. The wider a
layer, the smaller its adapter in comparison: $r(d + k)$ parameters against $dk$. With a large base, memory for adapters is
hardly a problem any more. The question for a service is how one layer handles many of them.

## Exercise: `MultiLoRALinear`

*About 12 minutes · difficulty 3 of 5 · 4 points: 2 for what it computes, 1 for what is registered and trains, 1 for names*

Write a layer that holds any number of adapters, each under a name. At any time at most one of them is active. You may use
`LoRALinear`, which is imported above. When your work is graded, `MultiLoRALinear` from `lora_ref` is refused.

<details><summary>Hint 1: what to look at</summary>
Give a module a plain dict of Parameters, <code>module.adapters = {"de": nn.Parameter(torch.ones(2))}</code>, and look at
<code>list(module.parameters())</code>. What would an optimiser get, and what would be saved?
</details>
<details><summary>Hint 2: the idea</summary>
PyTorch has containers that work like a dict and register what they hold: one for Parameters, one for modules.
</details>
<details><summary>Hint 3: nearly there</summary>
Three things happen at different times: an adapter is made (once), activated (often) and used (in every call of forward). For
an unknown name, the error must come when you activate it.
</details>
"""


# %% exercise="MultiLoRALinear"
class MultiLoRALinear(nn.Module):
    """A frozen ``nn.Linear`` from d to k features, with any number of named adapters.

    Args:
        base_layer: an ``nn.Linear``, with or without bias. Its weight and bias are frozen.

    Attributes:
        base_layer: the layer that was passed in.
        active: the name of the adapter that forward uses, or None for the base alone. None
            at the start.
    """

    def __init__(self, base_layer):
        super().__init__()
        ### BEGIN SOLUTION
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.scaling = {}
        self.active = None
        ### END SOLUTION

    def add(self, name, rank, alpha):
        """Add an adapter: two new parameters of its own, A random and B zero. `active` stays.

        Args:
            name: a string, such as "de".
            rank, alpha: as in LoRALinear; they may differ from one adapter to the next.

        Raises:
            ValueError (or KeyError): there is an adapter with this name already.
        """
        ### BEGIN SOLUTION
        if name in self.scaling:
            raise ValueError(f"there is an adapter {name!r} already")
        fresh = LoRALinear(self.base_layer, rank=rank, alpha=alpha)
        self.lora_A[name], self.lora_B[name] = fresh.lora_A, fresh.lora_B
        self.scaling[name] = alpha / rank
        ### END SOLUTION

    def activate(self, name):
        """Use this adapter from now on, or for None the base alone.

        Raises:
            KeyError (or ValueError): there is no adapter with this name. Then `active` does
                not change.
        """
        ### BEGIN SOLUTION
        if name is not None and name not in self.scaling:
            raise KeyError(f"there is no adapter {name!r}")
        self.active = name
        ### END SOLUTION

    def forward(self, x):
        """x (..., d) to (..., k): base(x), plus the update of the active adapter, if any."""
        ### BEGIN SOLUTION
        out = self.base_layer(x)
        if self.active is None:
            return out
        A, B = self.lora_A[self.active], self.lora_B[self.active]
        return out + self.scaling[self.active] * ((x @ A) @ B)
        ### END SOLUTION


# %% check="MultiLoRALinear"
check.MultiLoRALinear(MultiLoRALinear)

# %% [markdown]
r"""
## Six languages

Now your layer wraps every `nn.Linear` in the blocks of the GPT. Each language gets an adapter in each of these layers. While
the model trains on a language, only that language's adapters are active, so only they get a gradient: a gradient reaches
only what took part in the forward pass.
"""

# %% demonstration=true
import hashlib


def fingerprint(model):
    """A hash of every bit of the model's own parameters, without the adapters."""
    own = [p for name, p in sorted(model.named_parameters()) if id(p) not in of_adapters]
    return hashlib.sha256(
        b"".join(p.detach().cpu().numpy().tobytes() for p in own)
    ).hexdigest()[:16]


def share(model):
    """Wrap every nn.Linear in the blocks in your layer. Returns the new layers."""
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.Linear) and name.startswith("blocks."):
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, MultiLoRALinear(part))
    return [part for part in model.modules() if isinstance(part, MultiLoRALinear)]


model, _ = load_base(device)
model.requires_grad_(False)
layers, of_adapters = [], set()
before_training = fingerprint(model)
layers = share(model)
print(f"{len(layers)} layers")

# %% demonstration=true
SIX = ["da", "sv", "nl", "de", "es", "pt"]
RANK, ALPHA, SEEDS = 4, 8, (0, 1)
data = {language: as_ids(language, characters, device) for language in SIX}
factors = {}  # for each adapter, its Parameters in all layers, in order


def activate(name):
    for layer in layers or share(model):
        layer.activate(name)


def train_all(seed):
    """An adapter for each language, one after the other, on the one base."""
    torch.manual_seed(seed)
    for language in SIX:
        adapter = f"{language}_{seed}"
        there = {id(p) for p in model.parameters()}
        for layer in layers or share(model):
            layer.add(adapter, RANK, ALPHA)
        factors[adapter] = [p for p in model.parameters() if id(p) not in there]
        of_adapters.update(id(p) for p in factors[adapter])
        activate(adapter)
        learn(model, data[language][0], steps=80, seed=seed)
        line = write_lines(model, characters, ["Sa"])[0]
        print(f"{adapter}   loss {loss_on(model, data[language][1]):.2f}   {line}", flush=True)


train_all(seed=0)

# %% demonstration=true
train_all(seed=1)  # once more with another seed, to see what depends on it

# %% [markdown]
r"""
### Whose adapter for whose text?

Six adapters and six languages give a table of 36 losses, on names that no adapter has seen: a row for each adapter, a column
for each language. On the diagonal are each adapter's losses on its own language.

> 1. Is the smallest loss of each column on the diagonal?
> 2. For a Portuguese text, which of the *other* adapters does best? And for a Dutch one?
> 3. How many of the 36 are worse than no adapter at all?
"""

# %%
my_second_prediction = {
    "diagonal": "?",
    "Portuguese": "?",
    "Dutch": "?",
    "worse than none": "?",
}


# %% demonstration=true alt="Heat map of held-out losses, a row for each adapter and a column for each language, with a first row for no adapter at all. In every column the lowest loss, framed, is that of the language's own adapter. The second lowest is that of a related language: Danish and Swedish, Dutch and German, Spanish and Portuguese form three dark square blocks. The row without an adapter is the lightest: it has the highest losses."
def losses(adapter):
    activate(adapter)
    return [loss_on(model, data[language][1]) for language in SIX]


tables = {
    seed: torch.tensor([losses(f"{adapter}_{seed}") for adapter in SIX]) for seed in SEEDS
}
none = torch.tensor(losses(None))
diagonal = sum((table.argmin(0) == torch.arange(6)).sum().item() for table in tables.values())
show_prediction(
    my_second_prediction,
    guess={
        "diagonal": "yes",
        "Portuguese": "Spanish",
        "Dutch": "German",
        "worse than none": "about ten",
    },
)
print()
total = 6 * len(SEEDS)
print(f"the smallest loss of a column is on the diagonal {diagonal} times out of {total}\n")
for column, language in enumerate(SIX):
    second = []
    for table in tables.values():
        others = table[:, column].clone()
        others[column] = float("inf")
        second.append(LANGUAGES[SIX[others.argmin()]])
    print(f"{LANGUAGES[language]:10} next best adapter, seed by seed: {', '.join(second)}")
worse = sum((table > none).sum().item() for table in tables.values())
print(f"\nworse than no adapter: {worse} of {6 * total} losses")

table = torch.cat([none[None], torch.stack(list(tables.values())).mean(0)])
figure, axis = plt.subplots(figsize=(7, 5), layout="constrained")
image = axis.imshow(table, cmap="gray", aspect="auto")
for row in range(7):
    for column in range(6):
        value = table[row, column]
        colour = "black" if value > (table.min() + table.max()) / 2 else "white"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
        if row == column + 1:
            axis.add_patch(
                plt.Rectangle(
                    (column - 0.47, row - 0.47),
                    0.94,
                    0.94,
                    fill=False,
                    edgecolor="white",
                    linewidth=2,
                )
            )
axis.set_xticks(range(6), [LANGUAGES[language] for language in SIX])
axis.set_yticks(range(7), ["no adapter", *(LANGUAGES[language] for language in SIX)])
axis.set(
    xlabel="text",
    ylabel="adapter",
    title=f"Held-out loss in nats per character (mean of {len(SEEDS)} seeds)",
)
figure.colorbar(image)
plt.show()

# %% [markdown]
r"""
Nobody told the model which languages are related. But the second-smallest loss of each column shows it. It is tempting to
expect harm from an adapter for the wrong language. But here each of them is better than none: part of what an adapter has
learned is not about its own language, only that the text is not English.

Twelve sets of adapters have now been trained on this base. Has it changed?
"""

# %% demonstration=true
print("before:", before_training)
print("after: ", fingerprint(model))
activate(None)
print(
    "the same loss without an adapter:",
    loss_on(model, data["de"][1]) == loss_on(base, data["de"][1]),
)

# %% [markdown]
r"""
## One batch, several languages

So far you switch adapters and serve one customer after the other. But a GPU is used well only when many rows go through it
together, and the rows that wait may need different adapters. So a batch comes with a list of ids, one for each row: the
index of its adapter, or −1 for none.

The $m$ adapters of a layer are kept in two tensors: every $A$ in one of shape $(m, d, r)$, every $B$ in one of shape
$(m, r, k)$. Watch what indexing does with a list of ids:
"""

# %% demonstration=true
A = torch.tensor([[[10.0]], [[20.0]], [[30.0]]])  # m = 3 adapters, d = r = 1
ids = torch.tensor([0, 2, -1, 0])
print(A[ids].flatten())

# %% [markdown]
r"""
The third row asked for no adapter and got the last one, without an error or a warning: a customer who wanted plain English
gets the language of the last adapter in the tensor.

## Exercise: `route`

*About 12 minutes · difficulty 4 of 5 · 4 points: 2 for the values, 1 for ids that stand for no adapter, 1 for doing it without a loop over rows*

Compute the adapters' part for such a batch. Do not loop over the rows: for 1,000 rows that would be 2,000 tiny products. (A
loop over the $m$ adapters is allowed.) When your work is graded, `route` from `lora_ref` is refused.

<details><summary>Hint 1: what to look at</summary>
Shapes first. <code>x</code> is <code>(n, d)</code>; what is the shape of <code>A[adapter_ids]</code>? By which matrix must each
row of x be multiplied?
</details>
<details><summary>Hint 2: the idea</summary>
A batched product, <code>torch.bmm</code> or <code>torch.einsum</code>, multiplies n pairs of matrices at once. A vector can be
seen as a matrix with one row.
</details>
<details><summary>Hint 3: nearly there</summary>
For a row with −1 you may compute anything, as long as you set it to zero at the end. Which tensor, made from
<code>adapter_ids</code>, is 1 where a row has an adapter and 0 where it has none? And do not change <code>adapter_ids</code>:
it belongs to the caller.
</details>
"""


# %% exercise="route"
def route(x, A, B, scaling, adapter_ids):
    """The adapters' part of a layer, for a batch whose rows use different adapters.

    Args:
        x: tensor of shape (n, d); n may be 0.
        A: (m, d, r), B: (m, r, k), scaling: (m,); m is at least 1.
        adapter_ids: int64 tensor of shape (n,), values from -1 to m - 1. It is not changed.

    Returns:
        Tensor of shape (n, k). With a = adapter_ids[i], row i is
        scaling[a] * (x[i] @ A[a]) @ B[a]; where a is -1, it is zero.

    Raises:
        Any exception for an id below -1 or above m - 1.
    """
    ### BEGIN SOLUTION
    if ((adapter_ids < -1) | (adapter_ids >= len(A))).any():
        raise IndexError(f"adapter_ids go from -1 to {len(A) - 1}")
    has_one = adapter_ids >= 0
    a = adapter_ids.clamp(min=0)  # -1 becomes 0; has_one makes its row zero below
    thin = torch.bmm(x[:, None, :], A[a])  # (n, 1, d) @ (n, d, r) -> (n, 1, r)
    out = torch.bmm(thin, B[a])[:, 0]  # (n, 1, r) @ (n, r, k) -> (n, 1, k) -> (n, k)
    return (scaling[a] * has_one)[:, None] * out
    ### END SOLUTION


# %% check="route"
check.route(route)

# %% [markdown]
r"""
Now use your function in the model: each layer computes its base once for all rows and adds to each row its adapter's part.
One batch has seven rows in seven languages, and each pass writes one character of every row.
"""


# %% demonstration=true
class RoutedLinear(nn.Module):
    """base(x), plus for each text of the batch the part of its own adapter."""

    ids = None  # (n,): the adapter of each text

    def __init__(self, base_layer, adapters):
        super().__init__()
        self.base = base_layer
        self.A = torch.stack([A for A, _, _ in adapters])  # (m, d, r)
        self.B = torch.stack([B for _, B, _ in adapters])  # (m, r, k)
        self.scaling = torch.tensor([float(s) for _, _, s in adapters], device=self.A.device)

    def forward(self, x):
        n, T, d = x.shape
        ids = RoutedLinear.ids.repeat_interleave(T)  # (n T,): every character of a text
        part = route(x.reshape(n * T, d), self.A, self.B, self.scaling, ids)  # (n T, k)
        return self.base(x) + part.view(n, T, -1)


def factors_of(adapter):
    """(A, B, scaling) of an adapter for each layer, however your layer stores them."""
    found = []
    activate(adapter)
    for layer, one, two in zip(layers, factors[adapter][::2], factors[adapter][1::2]):
        d, k = layer.base_layer.in_features, layer.base_layer.out_features
        rows = torch.eye(d, device=device)
        delta = (layer(rows) - layer.base_layer(rows)).detach()  # (d, k)
        pairs = [(a, b) for a in (one, two, one.T, two.T) for b in (one, two, one.T, two.T)]
        fitting = [(a, b) for a, b in pairs if a.shape == (d, RANK) and b.shape == (RANK, k)]
        errors = [(a @ b * ALPHA / RANK - delta).norm().item() for a, b in fitting]
        A, B = fitting[errors.index(min(errors))]
        found.append((A.detach(), B.detach(), ALPHA / RANK))
    return found


def with_adapters(adapters):
    """A base with these adapters; each is a list with (A, B, scaling) for every layer."""
    served, _ = load_base(device)
    names = [
        name
        for name, part in served.named_modules()
        if isinstance(part, nn.Linear) and "blocks" in name
    ]
    for i, name in enumerate(names):
        parent, _, child = name.rpartition(".")
        layer = RoutedLinear(served.get_submodule(name), [adapter[i] for adapter in adapters])
        setattr(served.get_submodule(parent), child, layer)
    return served


trained = {language: factors_of(f"{language}_0") for language in SIX}
served = with_adapters(list(trained.values()))
for start in ("Sa", "No", "Am"):
    RoutedLinear.ids = torch.tensor([-1, *range(6)], device=device)
    lines = write_lines(served, characters, [start] * 7, seed=5)
    for language, line in zip(["en", *SIX], lines):
        print(f"{LANGUAGES[language]:10} {line}")
    print()

# %% [markdown]
r"""
## Four ways, four kinds of batches

`route` can be written in several ways, and all of them are in use:

| way | what it does | known from |
|---|---|---|
| gather | copies the matrices of its adapter for every row, then computes one batched product | what you may have written |
| loop | for each adapter: finds its rows, computes, puts the results back | PEFT's mixed batches |
| side by side | sends all rows through all adapters, as through one adapter of rank $mr$, and sets to zero what does not belong to the row | small services with few adapters |
| segments | sorts the rows by adapter, computes each group, undoes the sorting | serving systems, with one kernel for all groups |

Four kinds of batches are common in papers on serving: **distinct** (the rows use as many different adapters as there are),
**identical** (all rows use the same one), **uniform** (drawn at random), **skewed** (a few are popular, most are rare). The
code is in `autograde/lesson_kit/routing.py`; read it after you have written your own.

Count first, for a layer of 256 → 256 features, rank 8, a batch of 256 rows, and 32 adapters:
"""

# %% demonstration=true
from autograde.lesson_kit.routing import WAYS, WORKLOADS, counted, milliseconds, workload

d, k, r, n, m = 256, 256, 8, 256, 32
print(f"{'way':13} {'million FLOPs':>14} {'numbers copied':>15}")
for way in WAYS:
    flops, copied = counted(way.__name__, n, m, d, k, r)
    print(f"{way.__name__:13} {flops / 1e6:14.1f} {copied:15,}")
print(f"{'(the base)':13} {2 * n * d * k / 1e6:14.1f}")

# %% [markdown]
r"""
Three of them need the same number of operations; *side by side* needs $m$ times as many. *Gather* copies a pair of matrices
for each row. *Loop* and *segments* copy little, but do their work in many small pieces, one after the other.

> Which way is fastest on a distinct batch, and which on an identical one? And if the number of adapters grows from 1 to 128,
> with ids drawn uniformly: which way is fastest with 1 adapter, which with 128?
"""

# %%
my_third_prediction = {
    "distinct": "?",
    "identical": "?",
    "1 adapter": "?",
    "128 adapters": "?",
}


# %% demonstration=true
def arguments(kind, n, m):
    torch.manual_seed(0)
    tensors = torch.randn(n, d), torch.randn(m, d, r), torch.randn(m, r, k), torch.rand(m)
    return *(t.to(device) for t in tensors), workload(kind, n, m).to(device)


show_prediction(
    my_third_prediction,
    guess={
        "distinct": "gather",
        "identical": "gather",
        "1 adapter": "gather",
        "128 adapters": "side by side",
    },
)
print()
print(
    f"milliseconds, {n} rows, {m} adapters\n{'':11}"
    + "".join(f"{way.__name__:>13}" for way in WAYS)
)
for kind in WORKLOADS:
    batch = arguments(kind, n, m)
    took = [milliseconds(way, batch, repeats=15) for way in WAYS]
    fastest = WAYS[took.index(min(took))].__name__
    shown = "".join(f"{ms:13.2f}" for ms in took)
    used = len(batch[-1].unique())
    print(f"{kind:11}{shown}   {used:2} used; fastest: {fastest}", flush=True)

# %% demonstration=true alt="Two line charts on logarithmic axes: milliseconds against the number of adapters, from 1 to 128, for four ways to route, left for 32 rows and right for 256 rows. Side by side is the fastest with few adapters and rises steeply with their number. Gather is nearly flat, lower for 32 rows than for 256. Loop and segments start between the two and rise with the number of adapters, segments more slowly. No way is the fastest everywhere."
styles = dict(zip(("gather", "loop", "side_by_side", "segments"), ("-", "--", ":", "-.")))
marks = dict(zip(styles, "osD^"))
counts = [1, 2, 4, 8, 16, 32, 64, 128]
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
for axis, rows in zip(axes, (32, 256)):
    for way in WAYS:
        name = way.__name__
        took = [
            milliseconds(way, arguments("uniform", rows, count), repeats=15)
            for count in counts
        ]
        axis.plot(
            counts,
            took,
            styles[name] + marks[name],
            color="black",
            markerfacecolor="white",
            label=name,
        )
    axis.set(
        xscale="log", yscale="log", xlabel="number of adapters", title=f"{rows} rows, uniform"
    )
    axis.set_xticks(counts, counts)
    axis.yaxis.set_major_formatter("{x:g}")
axes[0].set_ylabel("milliseconds per batch")
axes[0].legend()
plt.show()

# %% [markdown]
r"""
*Gather* is tempting because it has no loop, and *side by side* because it is one large product. But no way wins everywhere.
With few adapters, the wasted operations of *side by side* cost less than searching, sorting or copying. With many, its time
grows with $m$, as the count says. The time of *gather* depends on the number of rows, not on the number of adapters. *Loop*
and *segments* have one piece of work for each adapter in use, so they do well when many rows use the same adapter. Where
the lines cross depends on the machine, the sizes and the rows: a serving system measures before it chooses. `route` in
`lora_ref` uses three of these ways: *gather* if each row is a whole text, since the copy is small compared with a text;
otherwise *side by side* while the rank of all adapters together is small, and *segments* beyond that.

## One adapter out of several

You have one adapter for Spanish and one for Portuguese, and you want *one* for both. Write $s_i$ for the scaling of adapter
$i$. The two updates can be added, with weights $w_1$ and $w_2$:

$$w_1 s_1 A_1 B_1 + w_2 s_2 A_2 B_2$$

Are there an $A$ and a $B$ that give exactly this sum? Here is the obvious attempt, to add the factors, on adapters with a
single number in each matrix and with weights and scalings of 1:
"""

# %% demonstration=true
A1, B1, A2, B2 = 1.0, 2.0, 3.0, 4.0
print("wanted:              ", A1 * B1 + A2 * B2)
print("sum of the factors:  ", (A1 + A2) * (B1 + B2))
print("A1 * B2 and A2 * B1: ", A1 * B2, "and", A2 * B1)

# %% [markdown]
r"""
If you add the factors, you get two products that you did not want: the cross terms $A_1 B_2$ and $A_2 B_1$.

### Exercise: `combine`

*About 8 minutes · difficulty 3 of 5 · 3 points*

Write a function that does it right: from any number of adapters, with any ranks, it makes one that computes exactly the
weighted sum of their updates.

<details><summary>Hint 1: what to look at</summary>
The question from the beginning: what rank can the sum of two products have? So how many columns must A have in general?
</details>
<details><summary>Hint 2: the idea</summary>
Write out a product of two matrices, (4, 2) times (2, 3), as a sum over the inner axis. Each term is a column of the left
matrix times a row of the right one. Which adapter could each column and each row come from?
</details>
<details><summary>Hint 3: nearly there</summary>
Each weight and each scaling must multiply its product exactly once. Should it go into both matrices, or into one of them?
Does your way also work for a negative weight?
</details>
"""


# %% exercise="combine"
def combine(adapters, weights):
    """One adapter that computes exactly the weighted sum of several.

    Args:
        adapters: a list of (A, B, scaling): A of shape (d, r_i), B of shape (r_i, k), scaling
            a number. Ranks may differ.
        weights: as many numbers, which may be negative or zero.

    Returns:
        (A, B, scaling), such that scaling * A @ B is the sum of all
        weights[i] * scaling_i * A_i @ B_i. Weights and scalings may go into any of the
        three. The new rank is at most the sum of the ranks. The given adapters are not
        changed.
    """
    ### BEGIN SOLUTION
    A = torch.cat([A for A, _, _ in adapters], dim=1)  # (d, r_1 + r_2 + ...)
    parts = [w * scaling * B for (_, B, scaling), w in zip(adapters, weights)]
    B = torch.cat(parts, dim=0)  # (r_1 + r_2 + ..., k)
    return A, B, 1.0
    ### END SOLUTION


# %% check="combine"
check.combine(combine)

# %% [markdown]
r"""
Now use the adapters that you have trained. There are six candidates for one adapter that serves both Spanish and Portuguese:
the Spanish one alone, the Portuguese one alone, `combine` with weights 1 or ½, and the factors summed or averaged.

> Which of the candidates is best on both languages together? And which is closest to having no adapter at all?
"""

# %%
my_fourth_prediction = {"best on both": "?", "closest to none": "?"}


# %% demonstration=true
outcome = {}
es, pt = factors_of("es_0"), factors_of("pt_0")


def layer_by_layer(join):
    """The two adapters joined in each layer."""
    return [join(one, two) for one, two in zip(es, pt)]


def factors_times(weight):
    return lambda one, two: (weight * (one[0] + two[0]), weight * (one[1] + two[1]), one[2])


def nothing(one, two):
    return one[0], 0 * one[1], one[2]


candidates = {
    "no adapter": layer_by_layer(nothing),
    "Spanish": es,
    "Portuguese": pt,
    "combine, weights 1": layer_by_layer(lambda one, two: combine([one, two], [1, 1])),
    "combine, weights 1/2": layer_by_layer(lambda one, two: combine([one, two], [0.5, 0.5])),
    "factors summed": layer_by_layer(factors_times(1)),
    "factors averaged": layer_by_layer(factors_times(0.5)),
}
print(f"{'':22} rank   Spanish   Portuguese")
for name, adapter in candidates.items():
    joined = with_adapters([adapter])
    outcome[name] = []
    for language in ("es", "pt"):
        text = data[language][1]
        RoutedLinear.ids = torch.zeros(len(text) // 33, dtype=torch.int64, device=device)
        outcome[name].append(loss_on(joined, text))
    spanish, portuguese = outcome[name]
    rank = adapter[0][0].shape[1]
    print(f"{name:22} {rank:4}   {spanish:7.2f}   {portuguese:10.2f}", flush=True)
print()
show_prediction(
    my_fourth_prediction,
    guess={"best on both": "combine, weights 1", "closest to none": "factors averaged"},
)

# %% demonstration=true alt="Held-out losses on Spanish, as filled dots, and on Portuguese, as empty dots, for no adapter and six candidates. Each language's own adapter is lowest on that language. The average made by combine is low on both. The average of the factors is higher on both, and the sum of the factors is nearly as high as no adapter at all."
figure, axis = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
for row, (spanish, portuguese) in enumerate(outcome.values()):
    axis.plot([spanish, portuguese], [row, row], "-", color="0.7", zorder=0)
    axis.plot(spanish, row, "o", color="black", label="Spanish" if row == 0 else None)
    axis.plot(
        portuguese,
        row,
        "o",
        color="black",
        markerfacecolor="white",
        label="Portuguese" if row == 0 else None,
    )
axis.set_yticks(range(len(outcome)), outcome)
axis.invert_yaxis()
axis.set(xlabel="held-out loss (nats per character)", title="One adapter for two languages")
axis.legend(loc="center")
plt.show()

# %% [markdown]
r"""
It is tempting to add both in full. But each was trained to be used alone, and together they change the base too much. The
sum that `combine` makes is exact, and at half weight it serves both languages: each one less well than its own adapter, but
better than the adapter of the other. Averaging the factors gives a quarter of each update and a quarter of the cross terms,
and is worse on both languages. Summing the factors adds the cross terms at full size, and most of what was learned is lost.

### What a library does

PEFT joins adapters with `add_weighted_adapter`. Its argument `combination_type` has eleven possible values. The next cell
tries four of them on one of your layers, and compares each result with the sum that you want (error relative to the norm of
that sum):
"""

# %% demonstration=true
import warnings

import peft

one, two = factors_of("es_0")[0], factors_of("pt_0")[0]  # of the first layer
d, k = one[0].shape[0], one[1].shape[1]
wanted = sum(0.5 * s * A @ B for A, B, s in (one, two))  # (d, k)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["0"])
    theirs = peft.get_peft_model(
        nn.Sequential(nn.Linear(d, k, bias=False)), config, adapter_name="es"
    )
    theirs.add_adapter("pt", config)
    layer = theirs.base_model.model[0]
    for name, (A, B, _) in (("es", one), ("pt", two)):
        layer.lora_A[name].weight.data.copy_(A.T)
        layer.lora_B[name].weight.data.copy_(B.T)
    for kind in ("linear", "cat", "svd", "ties"):
        density = {"density": 0.5} if kind == "ties" else {}
        theirs.add_weighted_adapter(
            ["es", "pt"], [0.5, 0.5], kind, combination_type=kind, **density
        )
        got = layer.get_delta_weight(kind).T  # (d, k)
        error = ((got - wanted.cpu()).norm() / wanted.cpu().norm()).item()
        print(f"{kind:7} rank {layer.lora_A[kind].weight.shape[0]}   error {error:.3f}")

# %% [markdown]
r"""
`cat` is your `combine`. `linear` sums the factors, each multiplied by the square root of its weight: it is cheap, and a
rough approximation, as PEFT's own documentation says. `svd`, the default, computes the exact sum and truncates it to the
larger of the two ranks. `ties` first sets half of the entries of each factor to zero. Each has its use, as long as you know
which one you call.
"""

# %% [markdown]
r"""
## What to remember

- Adapters are cheap to keep: there is one frozen base, and it stays the same bit for bit, however many adapters you train.
- A row without an adapter needs care: as an index, −1 means the last adapter. The fastest way to route depends on the batch.
- With the factors side by side, the sum of adapters is exact, and the ranks add up. If you add the factors instead, you get
  cross terms.

**Next:** [11 · The ecosystem](../11_ecosystem/11_ecosystem.ipynb) moves an adapter from this course into the libraries that
other people use.
"""
