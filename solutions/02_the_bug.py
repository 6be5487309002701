# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 02 · The bug

At the end of this lesson you can say, for any sizes, whether a wrong product raises, runs, or runs and lies, and you
can write the test that exposes a wrong LoRA layer.

*About 50 minutes · difficulty 2 of 5 · builds on: [00](../00_start_here/00_start_here.ipynb),
[01](../01_low_rank/01_low_rank.ipynb)*
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Patch, Rectangle
from torch import nn

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## A layer to look into

LoRA keeps a layer as it is and adds a change of low rank to what it computes. For an $x$ of shape $(\ldots, d)$ and a
base layer with $d$ inputs and $k$ outputs,

$$h = \text{base}(x) + \frac{\alpha}{r}\,(x A)\,B \qquad A: (d, r) \quad B: (r, k)$$

$A$ starts random and $B$ starts at zero. So at the start nothing is added, and the new layer returns what its base
returns. Here is somebody's first attempt at it. We call it **Attempt #1**.
"""


# %%
class AttemptOne(nn.Module):
    """A LoRA layer with a bug."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        for parameter in base_layer.parameters():
            parameter.requires_grad = False

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (self.lora_A @ self.lora_B) * x


# %% [markdown]
r"""
## Predict first

The bug is the last `*`: it multiplies entry by entry, where the formula has a matrix product. You would expect to
notice.

> The author wraps `nn.Linear(6, 6)` and runs the first test that comes to mind: *at the start, does the layer return
> what its base returns?* The test is `torch.allclose(layer(x), base(x))`, for an `x` of shape `(6,)`, `(1, 6)`,
> `(3, 6)` and `(2, 1, 6)`. How many of the four calls raise an error? In how many does the test say `True`?
"""

# %%
my_prediction = {"raise": "?", "say True": "?"}

# %%
torch.manual_seed(2)
base = nn.Linear(6, 6)
layer = AttemptOne(base)

print("you predicted:", my_prediction, "\n")
for x_shape in [(6,), (1, 6), (3, 6), (2, 1, 6)]:
    x = torch.randn(x_shape)
    try:
        same = torch.allclose(layer(x), base(x))
        shapes = f"{str(tuple(layer(x).shape)):9}  base: {str(tuple(base(x).shape)):9}"
        print(f"x {str(x_shape):9}  layer: {shapes}  equal: {same}")
    except RuntimeError as error:
        print(f"x {str(x_shape):9}  raises: {error}")

# %% [markdown]
r"""
One raises, and three say `True`. Look at the shapes of those three: where the base gives one row, the layer gives
six, and the test calls the two equal.

Nothing here is broken. `*` and `torch.allclose` both **broadcast**: where two shapes differ, torch stretches them
until they fit, if its rule allows that. The bug stretched the layer's output, and the test stretched the base's to
match.
"""

# %% [markdown]
r"""
## What the formula does, by hand

Sizes that differ, numbers that you can check: $d = 3$, $k = 2$, $r = 1$, $\alpha = 2$.

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 \\ 0 \\ 2 \end{pmatrix} \qquad
B = \begin{pmatrix} 10 & 1 \end{pmatrix} \qquad
\text{base}(x) = \begin{pmatrix} 500 & 600 \end{pmatrix}
$$

1. **shape** · $x$ is $(3)$, $A$ is $(3, 1)$, $B$ is $(1, 2)$. The threes meet, then the ones: the result is $(2)$.
2. **product** · $xA = 1 \cdot 1 + 2 \cdot 0 + 3 \cdot 2 = 7$, one number, because the rank is 1. Then
   $7\,B = \begin{pmatrix} 70 & 7 \end{pmatrix}$.
3. **scale** · by $\alpha / r = 2$: $\begin{pmatrix} 140 & 14 \end{pmatrix}$.
4. **add** · to what the base returns: $h = \begin{pmatrix} 640 & 614 \end{pmatrix}$.

In step 2 **every input takes part in every output**: a matrix product pairs them and sums. Entry by entry there are
pairs too, and no sum.
"""

# %%
x = torch.tensor([1.0, 2.0, 3.0])
A = torch.tensor([[1.0], [0.0], [2.0]])
B = torch.tensor([[10.0, 1.0]])

thin = x @ A
print("product      ", thin.tolist(), "then", (thin @ B).tolist())
print("scaled       ", (2 / 1 * (thin @ B)).tolist())
print("A @ B        ", (A @ B).tolist())
try:
    print((A @ B) * x)
except RuntimeError as error:
    print("(A @ B) * x   raises:", error)

# %% [markdown]
r"""
Here, with a layer that is not square, `*` raises. That is the lucky case. When is it that you are not so lucky?
"""

# %% [markdown]
r"""
## Exercise: `product_shape`

*About 5 minutes · difficulty 2 of 5 · 2 points*

Whatever `A` and `B` hold, their product has shape $(d, k)$. Say what shape `(A @ B) * x` has, or that torch raises.
This is about the product alone: leave the base layer out of it.

<details><summary>Hint 1: what to look at</summary>
Multiply <code>torch.ones(3, 4)</code> with <code>torch.ones(4)</code>, with <code>torch.ones(3, 1)</code>, and with
<code>torch.ones(3)</code>. Which of them run, and what shape comes out?
</details>
<details><summary>Hint 2: the idea</summary>
Broadcasting writes the two shapes under one another, <em>aligned on the right</em>, and puts 1 where the shorter one
has nothing. Then it looks at each pair of sizes by itself.
</details>
<details><summary>Hint 3: nearly there</summary>
Two sizes fit when they are equal or when one of them is 1. You may write that as a loop, but torch knows its own
rule: there is a function that takes shapes, and an error that you can catch.
</details>
"""


# %% exercise="product_shape"
def product_shape(x_shape, d, k):
    """The shape of ``(A @ B) * x``, where A @ B has shape (d, k).

    Args:
        x_shape: tuple of ints, the shape of x: any number of leading sizes, none included, and
            then d. A leading size may be 0: an empty batch.
        d: in_features, an int.
        k: out_features, an int.

    Returns:
        The shape as a tuple of ints, or None where torch raises.
    """
    ### BEGIN SOLUTION
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None
    ### END SOLUTION


# %% check="product_shape"
check.product_shape(product_shape)

# %% [markdown]
r"""
## Exercise: `silent_case`

*About 4 minutes · difficulty 2 of 5 · 2 points*

An output of the wrong shape will be noticed sooner or later. Find sizes at which Attempt #1 gives no sign at all: it
runs, its output has the shape that it should have, and the values are wrong. The check runs Attempt #1 with your
sizes.

<details><summary>Hint 1: what to look at</summary>
The output of a right layer has shape <code>x_shape[:-1] + (k,)</code>. When is that what your
<code>product_shape</code> says?
</details>
<details><summary>Hint 2: the idea</summary>
You need not think of the sizes: let <code>d</code>, <code>k</code> and a batch size run from 1 to 5 in three loops,
and print those for which the two shapes are equal.
</details>
<details><summary>Hint 3: nearly there</summary>
Some of what you find has a size of 1 and turns out to be right. Write such a case out: how many terms has the sum
over its inputs? Take one with larger sizes.
</details>
"""


# %% exercise="silent_case"
def silent_case():
    """Sizes at which Attempt #1 is wrong and nobody notices.

    Returns:
        ``(d, k, x_shape)``: the ints d and k, and a tuple of ints that ends in d. With these
        sizes, and with B not zero, Attempt #1 runs, its output has shape ``x_shape[:-1] +
        (k,)``, and its values are wrong. Any sizes will do; small ones keep the cells below
        quick.
    """
    ### BEGIN SOLUTION
    return 8, 8, (8, 8)
    ### END SOLUTION


# %% check="silent_case"
check.silent_case(silent_case)

# %% [markdown]
r"""
## Your case, looked at

The four panels show your sizes with random numbers, darker for larger. Left, the two factors; right, what `*` makes
of them and what the matrix product makes of them. The same entry is framed in both results.
"""

# %% demonstration=true alt="Four grey heat maps. A @ B, its rows are inputs and its columns outputs. x, its rows are rows of the batch and its columns inputs. The entry-by-entry product, in which one framed entry depends on one framed entry of A @ B and one of x. The matrix product, whose framed entry depends on a whole framed column of A @ B and a whole framed row of x; the two results look unlike."
d, k, x_shape = silent_case()
torch.manual_seed(2)
AB = torch.randn(d, 2) @ torch.randn(2, k)
x = torch.randn(x_shape).reshape(-1, d)[: x_shape[-2]]
row, column = 1, 0

panels = [
    ("A @ B", AB, "input", "output"),
    ("x", x, "row of the batch", "input"),
    ("(A @ B) * x", AB * x, "input? row?", "output? input?"),
    ("x @ (A @ B)", x @ AB, "row of the batch", "output"),
]
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for axis, (title, values, down, across) in zip(axes, panels, strict=True):
    axis.imshow(values, cmap="Greys")
    axis.set(title=title, ylabel=down, xlabel=across, xticks=[], yticks=[])
    axis.add_patch(
        Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, fill=False, lw=2.5, ec="black")
    )
    axis.add_patch(
        Rectangle((column - 0.38, row - 0.38), 0.76, 0.76, fill=False, lw=1, ec="white")
    )
axes[0].add_patch(
    Rectangle((column - 0.48, -0.48), 0.96, d - 0.04, fill=False, lw=1.5, ls="--", ec="black")
)
axes[1].add_patch(
    Rectangle((-0.48, row - 0.48), d - 0.04, 0.96, fill=False, lw=1.5, ls="--", ec="black")
)
plt.show()

# %% [markdown]
r"""
Read the labels of the axes. In `A @ B` a row belongs to an *input*; in `x` a row belongs to one *example of the
batch*. `*` lays the two on top of one another and multiplies input 1 with example 1, only because both are number 1.
The framed entry of its result comes from the two framed entries, and nothing else. The matrix product takes all that
is dashed: the whole row of $x$ and the whole column of $AB$, every input of that example.

The axes that `*` pairs have nothing in common but their sizes. Let the sizes differ, and torch says so.
"""

# %% [markdown]
r"""
## Where it hides

Now all the sizes at once: every layer from $d = 1$ to 8 and $k = 1$ to 8, and four shapes of $x$. The map asks *your*
`product_shape`.
"""

# %% demonstration=true alt="Four maps over d and k from 1 to 8, one for each shape of x: (d,), (1, d), (4, d) and (2, 4, d). Most cells are white: Attempt #1 raises. In the first two maps the diagonal and the column k = 1 are hatched: it runs and returns another shape. In the last two maps there is one hatched cell and one black cell, where the shape is right and the values are wrong. The row d = 1 is hatched in the first map and grey, which means right, in the others."
SIZES = range(1, 9)
RAISES, OTHER_SHAPE, RIGHT, SILENT = range(4)
LOOKS = {
    RAISES: ("raises", "white", ""),
    OTHER_SHAPE: ("runs, another shape", "white", "////"),
    RIGHT: ("runs, and is right", "silver", ""),
    SILENT: ("right shape, wrong values", "black", ""),
}


def outcome(x_shape, d, k):
    """What Attempt #1 does with these sizes, once B is not zero."""
    shape = product_shape(x_shape, d, k)
    if shape is None:
        return RAISES
    if tuple(shape) != (*x_shape[:-1], k):
        return OTHER_SHAPE
    return RIGHT if d == 1 else SILENT


leads = [("(d,)", ()), ("(1, d)", (1,)), ("(4, d)", (4,)), ("(2, 4, d)", (2, 4))]
found = {
    name: {(d, k): outcome((*lead, d), d, k) for d in SIZES for k in SIZES}
    for name, lead in leads
}

figure, axes = plt.subplots(1, 4, figsize=(12, 3.9), layout="constrained", sharey=True)
for axis, (name, outcomes) in zip(axes, found.items(), strict=True):
    for (d, k), kind in outcomes.items():
        _, colour, hatch = LOOKS[kind]
        axis.add_patch(
            Rectangle((k - 0.5, d - 0.5), 1, 1, fc=colour, ec="grey", hatch=hatch, lw=0.5)
        )
    axis.set(
        title=f"x of shape {name}",
        xlabel="k, outputs",
        xticks=SIZES,
        yticks=SIZES,
        aspect="equal",
    )
    axis.set(xlim=(0.5, 8.5), ylim=(0.5, 8.5))
axes[0].set_ylabel("d, inputs")
legend = [
    Patch(fc=colour, ec="grey", hatch=hatch, label=name)
    for name, colour, hatch in LOOKS.values()
]
figure.legend(handles=legend, loc="outside lower center", ncols=4, frameon=False)
plt.show()

kinds = np.array([list(outcomes.values()) for outcomes in found.values()])
for kind, (name, _, _) in LOOKS.items():
    print(f"{name:26} {np.sum(kinds == kind):3} of {kinds.size}")

# %% [markdown]
r"""
Three quarters of these raise, so sizes drawn by chance would soon find the bug. But people do not draw sizes by
chance: one small number, used for everything, is the shortest thing to type.

The grey row, $d = 1$, is right for a reason: with a single input there is only one term to sum, and a sum of one term
is that term.
"""

# %% [markdown]
r"""
## It even learns

Perhaps training would give the bug away? Take your silent case, a target that a right LoRA layer could reach, and
Attempt #1. Before you run the cell: will the loss go down?
"""

# %% demonstration=true
d, k, x_shape = silent_case()
torch.manual_seed(2)
layer = AttemptOne(nn.Linear(d, k), rank=4, alpha=8).to(device)
x, change = torch.randn(x_shape).to(device), (torch.randn(d, 1) @ torch.randn(1, k)).to(device)
with torch.no_grad():
    target = layer.base_layer(x) + x @ change

optimizer = torch.optim.Adam([layer.lora_A, layer.lora_B], lr=0.02)
losses = []
for _ in range(500):
    loss = (layer(x) - target).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

with torch.no_grad():
    turned = (layer(x.roll(1, dims=-2)) - target.roll(1, dims=-2)).square().mean().item()
print(f"loss at the start              {losses[0]:7.1f}")
print(f"loss after 500 steps           {losses[-1]:7.1f}")
print(f"loss, the rows moved on by one {turned:7.1f}")

# %% [markdown]
r"""
The loss goes down, but nothing of use was learned. The last line asks about the *same rows* in another order, and the
error is back, as a rule larger than before training. Row 1 of $AB$ acts on whatever stands in row 1 of the batch, so
Attempt #1 has learned *places in a batch*. A right layer treats each row by itself: for it, the order changes
nothing.

Three disguises, then. At $B = 0$ the bug adds nothing. On the sizes that people pick it broadcasts. And it raises
only on the sizes that nobody tried.
"""

# %% [markdown]
r"""
## Exercise: `exposes`

*About 12 minutes · difficulty 3 of 5 · 4 points*

Now you write the test, and the check tests it. It hands your function layer classes, all of the same name and with
the same parameters: several right ones, written in different ways, and many wrong ones. One of the wrong ones is
Attempt #1. The others have mistakes of other kinds: in the scaling, in what becomes of the base layer, in the
product, in the sizes and shapes that they can take. Each of them hides from some tests.

Two points are for exposing Attempt #1 and accepting every right layer, two for all the others. Only what a layer
computes counts here: what is frozen and how $A$ starts is the business of lesson 04.

You can set an adapter's values like this:

```python
with torch.no_grad():
    layer.lora_B.uniform_(-1, 1)
```

<details><summary>Hint 1: what to look at</summary>
Go through the disguises above and ask of each: what must a test do so that it does not work? Then go through the
formula, letter by letter: at which values of α and r does a mistake in the scaling make no difference?
</details>
<details><summary>Hint 2: the idea</summary>
Make a layer whose every number you know, work out what it should return from the formula, and compare shape and
values. Do that for several layers and several shapes of x, and say False only when all of them agree.
</details>
<details><summary>Hint 3: nearly there</summary>
A layer that raises is wrong, so the call belongs inside <code>try</code>. Sums in another order differ in their last
digits: <code>torch.allclose</code> has a parameter <code>atol</code>. And you have seen what it does with shapes.
</details>
"""


# %% exercise="exposes"
def exposes(layer_class):
    """A test for LoRA layers: does it find something wrong?

    Args:
        layer_class: ``layer_class(base, rank=…, alpha=…)``, with an nn.Linear as base, makes a
            layer. The layer has ``base_layer`` and the Parameters ``lora_A`` of shape (d, r)
            and ``lora_B`` of shape (r, k); lora_B starts at zero, and both may be set.

    Returns:
        True when the layer is wrong: for some sizes, rank, alpha and values of A and B, for a
        base with or without bias, or for some x of shape (..., d), with any number of leading
        axes, none included, it raises, or returns something else than the formula says
        (rounding does not count). False when it is right.
    """
    ### BEGIN SOLUTION
    for d, k, rank, alpha in [(5, 3, 2, 6), (3, 7, 4, 2), (4, 4, 3, 1)]:
        for lead in [(), (6,), (4,), (2, 6)]:
            for bias in (True, False):
                base = nn.Linear(d, k, bias=bias)
                x = torch.randn(*lead, d)
                try:
                    layer = layer_class(base, rank=rank, alpha=alpha)
                    nn.init.normal_(layer.lora_B)
                    out = layer(x)
                except Exception:
                    return True
                expected = base(x) + alpha / rank * (x @ layer.lora_A) @ layer.lora_B
                if out.shape != expected.shape or not torch.allclose(out, expected, atol=1e-5):
                    return True
    return False
    ### END SOLUTION


# %% check="exposes"
check.exposes(exposes)

# %% [markdown]
r"""
And the layer that this lesson began with?
"""

# %% demonstration=true
print("Attempt #1 is exposed:", exposes(AttemptOne))

# %% [markdown]
r"""
Put this beside the author's test at the top, which was content with three inputs out of four. It looked at the one
moment at which a layer, right or wrong, adds nothing. Keep your test: the bug comes back in other clothes when you
build the layer yourself, in lesson 04.
"""

# %% [markdown]
r"""
## What to remember

- `*` pairs entries and `@` sums over pairs. Where sizes agree by chance, `*` broadcasts in silence.
- At $B = 0$ every LoRA layer equals its base. A test that leaves $B$ at zero tests the base.
- Equal sizes hide mistakes. Let everything that may differ differ, and compare shapes as well as values.

**Next:** [03 · Two thin products](../03_two_thin_products/03_two_thin_products.ipynb) puts the right product in
place, in the order that makes it cheap.
"""
