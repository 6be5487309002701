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

At the end of this lesson you can find a bug that passes its test, say at which sizes it raises and at which it is silently wrong, and
write the test that exposes a wrong LoRA layer.

*About 50 minutes · difficulty 2 of 5 · builds on: [00](../00_start_here/00_start_here.ipynb),
[01](../01_low_rank/01_low_rank.ipynb)*

## From memory

Answer these before you open them.

<details><summary>00 · What is the shape of the weight of nn.Linear(5, 3)?</summary>
(3, 5), one row for each output.
</details>
<details><summary>00 · Why should you test code with layers that are not square?</summary>
On a square weight a forgotten transpose runs: every shape fits, and only the values are wrong.
</details>
<details><summary>01 · A is (64, 4) and B is (4, 32). What shape has their product, and what is the largest rank it can have?</summary>
(64, 32), and 4: each of its rows is a combination of the four rows of B.
</details>
"""

# %%
from collections import Counter

import numpy as np
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.outcomes import draw_outcomes
from autograde.lesson_kit.predictions import show_prediction
from autograde.lesson_kit.tables import Table, draw_tables

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## It passes its author's test: find the bug

LoRA keeps a layer as it is and adds the output of two thin matrices to what it computes. For an $x$ of shape $(\ldots, d)$ and a base
layer with $d$ inputs and $k$ outputs,

$$h = \text{base}(x) + \frac{\alpha}{r}\,(x A)\,B \qquad A: (d, r) \quad B: (r, k)$$

$A$ starts with random values and $B$ with zeros. So at the start nothing is added, and the new layer returns what its base returns. Here
is somebody's first attempt at it, which we call **Attempt #1**, and the test that its author wrote.
"""


# %% demonstration=true
class AttemptOne(nn.Module):
    """LoRA around a linear layer."""

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


torch.manual_seed(2)
base = nn.Linear(6, 6)
layer = AttemptOne(base)
x = torch.randn(6)
print("at the start, the layer returns what its base returns:", end=" ")
print(torch.allclose(layer(x), base(x)))

# %% [markdown]
r"""
The test passes, and yet the layer is wrong. Read the class beside the formula, line by line, before you go on.

> Which line is wrong, and what is wrong with it?
"""

# %%
my_finding = "?"

# %% [markdown]
r"""
Whatever you have found, try the author's test on more inputs. The layer is the same as above: `AttemptOne` around an `nn.Linear(6, 6)`,
not trained yet.

> `x` has the shape `(6,)`, `(1, 6)`, `(3, 6)` and `(2, 1, 6)`. How many of the four calls raise an error? In how many does the test say
> `True`?
"""

# %%
my_prediction = {"raise": "?", "say True": "?"}

# %% demonstration=true
show_prediction(my_prediction, guess={"raise": 0, "say True": 4})
print()
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
It was tempting to say that none would raise and all would agree: the sizes are all 6, and $B$ is zero. But one call raises. In the other
three the test says `True`. Now look at their shapes: where the base gives one row, the layer gives six, and the test calls the two equal.

`torch.allclose` **broadcasts**: where two shapes differ, torch stretches them until they fit, if its rule allows that. So the test
stretched the base's output until it matched the layer's. And why does the layer return six rows? What did you find?
"""

# %% demonstration=true
show_prediction(my_finding, guess="B starts at zero, so nothing will ever be learned")

# %% [markdown]
r"""
The zero looks suspicious, but it is what the formula asks for. (Lesson [04](../04_lora_linear/04_lora_linear.ipynb) shows that a layer
with this start learns all the same.) The bug is the last `*` in `forward`. It multiplies entry by entry, where the formula has a matrix
product. And `*` broadcasts too: it stretched `x` to the six rows of `A @ B`. The zeros in $B$ only hide the bug.
"""

# %% [markdown]
r"""
## What the formula does, by hand

In this example all sizes differ, and the numbers are easy to check: $d = 3$, $k = 2$, $r = 1$, $\alpha = 2$.

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 \\ 0 \\ 2 \end{pmatrix} \qquad
B = \begin{pmatrix} 10 & 1 \end{pmatrix} \qquad
\text{base}(x) = \begin{pmatrix} 500 & 600 \end{pmatrix}
$$

1. **shape** · $x$ is $(3)$, $A$ is $(3, 1)$, $B$ is $(1, 2)$. The inner sizes agree, 3 with 3 and 1 with 1, so the result is $(2)$.
2. **product** · $xA = 1 \cdot 1 + 2 \cdot 0 + 3 \cdot 2 = 7$, one number, because the rank is 1. Then
   $7\,B = \begin{pmatrix} 70 & 7 \end{pmatrix}$.
3. **scale** · by $\alpha / r = 2$: $\begin{pmatrix} 140 & 14 \end{pmatrix}$.
4. **add** · to what the base returns: $h = \begin{pmatrix} 640 & 614 \end{pmatrix}$.

In step 2 **every input takes part in every output**: a matrix product multiplies pairs of numbers and sums the results. An entry-by-entry
product multiplies pairs too, but it does not sum.
"""

# %% demonstration=true
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
    print("(A @ B) * x   raises:\n  ", error)

# %% [markdown]
r"""
The layer here is not square, so `*` raises. That is the lucky case. When are you not so lucky?
"""

# %% [markdown]
r"""
## Exercise: `product_shape`

*About 5 minutes · difficulty 2 of 5 · 2 points*

Whatever the values of `A` and `B` are, their product has shape $(d, k)$. Write a function that returns the shape of `(A @ B) * x`, or
`None` where torch raises an error. Only this product counts here, without the base layer.

<details><summary>Hint 1: what to look at</summary>
Multiply <code>torch.ones(3, 4)</code> with <code>torch.ones(4)</code>, with <code>torch.ones(3, 1)</code>, and with
<code>torch.ones(3)</code>. Which of them run, and what shape comes out?
</details>
<details><summary>Hint 2: the idea</summary>
Broadcasting writes the two shapes under one another, <em>aligned on the right</em>, and puts 1 where the shorter one
has no size. Then it looks at each pair of sizes by itself.
</details>
<details><summary>Hint 3: nearly there</summary>
Two sizes fit when they are equal or when one of them is 1. You may write that as a loop. But torch also has a function for this rule: it
takes shapes, and it raises an error that you can catch.
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

Somebody will notice an output of the wrong shape sooner or later. Find sizes at which Attempt #1 gives no sign at all: it runs, its output
has the right shape, and the values are wrong. The check runs Attempt #1 with your sizes.

<details><summary>Hint 1: what to look at</summary>
The output of a right layer has shape <code>x_shape[:-1] + (k,)</code>. When is that what your
<code>product_shape</code> says?
</details>
<details><summary>Hint 2: the idea</summary>
You do not have to guess the sizes. Let <code>d</code>, <code>k</code> and a batch size run from 1 to 5 in three loops, and print those for
which the two shapes are equal.
</details>
<details><summary>Hint 3: nearly there</summary>
Some of the cases that you find have a size of 1 and turn out to be right. Write one of them out: how many terms does the sum over its
inputs have? Then take a case with larger sizes.
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
## What the two products do

Here is a silent case of size 3, with small whole numbers. On the left are the two factors; on the right are the results of `*` and of the
matrix product. Violet is above zero, orange below.
"""

# %% demonstration=true alt="Four tables of 3 by 3 whole numbers. A @ B, whose rows are inputs and whose columns are outputs. x, whose rows are examples and whose columns are inputs. In the entry-by-entry product the framed entry is minus 3, made of the framed entries of the factors, minus 1 and 3. In the matrix product the framed entry at the same place is 6, made of the whole dashed column of A @ B and the whole dashed row of x."
AB = torch.tensor([[1, 0], [0, 1], [1, -1]]) @ torch.tensor([[1, 2, 0], [-1, 0, 1]])
x = torch.tensor([[1, 0, 2], [3, -1, 1], [0, 2, 1]])
here = [(1, 0)]
draw_tables(
    Table("A @ B", AB, "input", "output", framed=here, dashed=(0, 0, 3, 1)),
    Table("x", x, "example", "input", framed=here, dashed=(1, 0, 1, 3)),
    Table("(A @ B) * x", AB * x, "input? example?", "output? input?", framed=here),
    Table("x @ (A @ B)", x @ AB, "example", "output", framed=here),
)

# %% [markdown]
r"""
Read the labels of the axes. In `A @ B` a row belongs to an *input*; in `x` a row belongs to an *example* of the batch. `*` lays the two on
top of each other and multiplies input 1 with example 1, only because both have the number 1: the framed entry is $-1 \cdot 3 = -3$. The
matrix product takes everything that is dashed, the whole row of $x$ and the whole column of $AB$, all inputs of that example:
$3 \cdot 1 + (-1) \cdot (-1) + 1 \cdot 2 = 6$. Not even the sign agrees.

The two axes that `*` pairs have nothing in common but their size. Only when the sizes differ does torch raise an error.
"""

# %% [markdown]
r"""
## Where it hides

The next cell tries all sizes at once: every layer with $d$ from 1 to 8 and $k$ from 1 to 8, and four shapes of $x$. It calls *your*
`product_shape`.
"""


# %% demonstration=true alt="Four maps over d and k from 1 to 8, one for each shape of x: (d,), (1, d), (4, d) and (2, 4, d). Most cells are white: Attempt #1 raises. In the first two maps the diagonal and the column k = 1 are hatched: it runs and returns another shape. In the last two maps there is one hatched cell and one black cell, where the shape is right and the values are wrong. The row d = 1 is hatched in the first map and grey, which means right, in the others."
def outcome(x_shape, d, k):
    """What Attempt #1 does with these sizes, once B is not zero."""
    shape = product_shape(x_shape, d, k)
    if shape is None:
        return "raises"
    if tuple(shape) != (*x_shape[:-1], k):
        return "runs, another shape"
    return "runs, and is right" if d == 1 else "right shape, wrong values"


sizes = [(d, k) for d in range(1, 9) for k in range(1, 9)]
leads = {"(d,)": (), "(1, d)": (1,), "(4, d)": (4,), "(2, 4, d)": (2, 4)}
found = {
    name: {(d, k): outcome((*lead, d), d, k) for d, k in sizes} for name, lead in leads.items()
}
draw_outcomes(found)
counted = Counter(what for outcomes in found.values() for what in outcomes.values())
for what, times in counted.most_common():
    print(f"{what:26} {times:3} of {counted.total()}")

# %% [markdown]
r"""
Three quarters of these raise, so a test with random sizes would soon find the bug. But people do not choose sizes at random: it is
quickest to type one small number for all of them.

There is a reason why the grey row, $d = 1$, is right: with a single input the sum has only one term, so the two products are the same.
"""

# %% [markdown]
r"""
## It even learns

Perhaps training gives the bug away? Take your silent case, a target that a right LoRA layer could reach, and Attempt #1.

> By how much will 500 steps of training reduce the loss: not at all, to a half, or nearly to zero?
"""

# %%
my_second_prediction = "?"

# %% [markdown]
r"""
Run it. The last line of the output measures the loss once more on the *same rows* in another order.
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
show_prediction(my_second_prediction, guess="not at all, since the layer is wrong")
print(f"loss at the start              {losses[0]:7.1f}")
print(f"loss after 500 steps           {losses[-1]:7.1f}")
print(f"loss, the rows moved on by one {turned:7.1f}")

# %% [markdown]
r"""
Nearly to zero: it even learns. A wrong layer can have gradients like any other, and the loss falls. But what it learned is useless: with
the same rows in another order the error is back, and usually larger than before training. Row 1 of $AB$ acts on whatever stands in row 1
of the batch, so Attempt #1 has learned *places in a batch*. A right layer treats each row by itself, and the order changes nothing.

So the bug hides in three ways. At $B = 0$ it adds nothing. On the sizes that people choose it broadcasts. And it raises only on sizes
that nobody tried.
"""

# %% [markdown]
r"""
## Exercise: `exposes`

*About 12 minutes · difficulty 3 of 5 · 4 points*

Now you write the test, and the check tests your test. It calls your function with layer classes, all with the same name and the same
parameters: several right ones, written in different ways, and many wrong ones. One of the wrong ones is Attempt #1. The others have
mistakes in the scaling, in what they do with the base layer, in the product, or in the sizes and shapes that they can take. Each of them
hides from some tests.

You get two points for exposing Attempt #1 and accepting every right layer, and two for exposing all the others. Only what a layer computes
counts here; what it freezes and how $A$ starts come in lesson
[04](../04_lora_linear/04_lora_linear.ipynb).

You can set an adapter's values like this:

```python
with torch.no_grad():
    layer.lora_B.uniform_(-1, 1)
```

<details><summary>Hint 1: what to look at</summary>
Take the three ways above in which the bug hides. What must a test do so that none of them works? Then go through the formula, letter by letter: at which
values of α and r does a mistake in the scaling make no difference?
</details>
<details><summary>Hint 2: the idea</summary>
Make a layer in which you know every number, compute from the formula what it should return, and compare shape and values. Do that for
several layers and several shapes of x, and return False only when all of them agree.
</details>
<details><summary>Hint 3: nearly there</summary>
A layer that raises is wrong, so put the call inside <code>try</code>. Sums in another order differ in their last digits:
<code>torch.allclose</code> has a parameter <code>atol</code> for this. And you have seen what it does with shapes.
</details>
"""


# %% exercise="exposes"
def exposes(layer_class):
    """A test for LoRA layers: does it find something wrong?

    Args:
        layer_class: ``layer_class(base, rank=…, alpha=…)``, with an nn.Linear as base, makes a
            layer. The layer has ``base_layer`` and the Parameters ``lora_A`` of shape (d, r)
            and ``lora_B`` of shape (r, k). lora_B is zero at first; you may set both.

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
Compare this with the author's test at the top, which passed three inputs out of four. It looked only at a new layer, and a new layer adds
nothing, whether it is right or wrong. Remember how your test works: you will want it again in lesson
[04](../04_lora_linear/04_lora_linear.ipynb), when you build the layer yourself.
"""

# %% [markdown]
r"""
## What to remember

- `*` multiplies entry by entry; `@` also sums. If the sizes happen to fit, `*` broadcasts and raises no error.
- At $B = 0$ every LoRA layer equals its base. A test that leaves $B$ at zero tests the base.
- Equal sizes hide mistakes. Test with sizes that all differ, and compare shapes as well as values.

**Next:** [03 · Two thin products](../03_two_thin_products/03_two_thin_products.ipynb) puts the right product in its place, in the order that makes it cheap.
"""
