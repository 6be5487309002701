# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 03 · Two thin products

At the end of this lesson you can write what an adapter adds in its cheap order, count what it costs without running
it, and say at which rank it stops being cheap.

*About 40 minutes · difficulty 2 of 5 · builds on: [02 · The bug](../02_the_bug/02_the_bug.ipynb)*
"""

# %%
import math
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first

An adapter adds $s \, x A B$ to the output of its layer: $A$ is $(d, r)$, $B$ is $(r, k)$, and $s$ is the scaling.
Brackets may stand in two places,

$$ (x A) \, B \qquad \text{or} \qquad x \, (A B), $$

and both give the same $k$ numbers, because matrix products are associative.

> Take $d = k = 4096$ and $r = 8$: $A$ and $B$ hold 32,768 numbers each. One row $x$ comes in. With the brackets in one
> place it takes more multiplications and additions than in the other. How many times as many: 1.5, 10, 200 or 2,000?

Write your guess into the next cell, and run it.
"""

# %%
my_prediction = "?"

# %% [markdown]
r"""
## A worked example, small enough to check by hand

With $d = 3$, $k = 4$, $r = 2$ and $s = 0.5$:

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 & 0 \\ 0 & 1 \\ 1 & 1 \end{pmatrix} \qquad
B = \begin{pmatrix} 1 & 0 & 2 & 0 \\ 0 & 1 & 0 & 3 \end{pmatrix}
$$

1. **shape** · $x$ is $(1, 3)$, and the result must be $(1, 4)$.
2. **product** · first the change of the weight, $\Delta W = AB$, which is $(3, 2)(2, 4) \to (3, 4)$. Then
   $x \, \Delta W$, which is $(1, 3)(3, 4) \to (1, 4)$:

   $$
   \Delta W = \begin{pmatrix} 1 & 0 & 2 & 0 \\ 0 & 1 & 0 & 3 \\ 1 & 1 & 2 & 3 \end{pmatrix} \qquad
   x \, \Delta W = \begin{pmatrix} 4 & 5 & 8 & 15 \end{pmatrix}
   $$

3. **scale** · times $s = 0.5$: $\begin{pmatrix} 2 & 2.5 & 4 & 7.5 \end{pmatrix}$.
4. **add** · to what the base layer gives. That is the layer's business, in lesson 04.

Every step is right. Now count the work. A matrix of shape $(a, b)$ times one of shape $(b, c)$ makes $ac$ numbers,
and each of them takes $b$ multiplications and $b$ additions (the first one, to zero, counts too). Together that is
$2abc$ *floating-point operations*, FLOPs for short.

| product | shapes | FLOPs |
|---|---|---|
| $AB$ | $(3, 2)(2, 4)$ | $2 \cdot 3 \cdot 2 \cdot 4 = 48$ |
| $x \, \Delta W$ | $(1, 3)(3, 4)$ | $2 \cdot 1 \cdot 3 \cdot 4 = 24$ |
| both | | $72$ |

The next cell does the same, and lets torch count.
"""


# %%
def count_flops(function, *inputs):
    """The FLOPs of all matrix products in ``function(*inputs)``."""
    with FlopCounterMode(display=False) as counter:
        function(*inputs)
    return counter.get_total_flops()


def full_product_first(x, A, B, scaling):
    """The order of the worked example."""
    delta_W = A @ B  # (d, r) @ (r, k) -> (d, k), as large as the layer's weight
    return scaling * (x @ delta_W)  # (..., d) @ (d, k) -> (..., k)


small_x = torch.tensor([[1.0, 2.0, 3.0]])
small_A = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
small_B = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
print(full_product_first(small_x, small_A, small_B, 0.5))
print(count_flops(full_product_first, small_x, small_A, small_B, 0.5), "FLOPs")

# %% [markdown]
r"""
These four numbers can be had for 28 FLOPs. Finding out how is your first exercise.

## Exercise: `lora_delta`

*About 6 minutes · difficulty 2 of 5 · 3 points: 2 for the right numbers, 1 for the cheap order*

The check counts operations as the cell above did. No clock is involved.

<details><summary>Hint 1: what to look at</summary>
Write <code>x</code>, <code>A</code> and <code>B</code> in a row, and the shape of each below it. Which neighbours
share a size?
</details>
<details><summary>Hint 2: the idea</summary>
Either pair of neighbours may be multiplied first, as long as nobody changes places. The worked example began with one
pair, and made a matrix as large as a weight. What shape does the other pair give?
</details>
<details><summary>Hint 3: nearly there</summary>
Two uses of <code>@</code> and one of <code>*</code>; no transpose, no reshape. <code>@</code> takes care of all
leading axes of <code>x</code>. The scaling is one number, so you may apply it at any step. Where does it have the
fewest numbers to multiply?
</details>
"""


# %% exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    """What a LoRA adapter adds to the output, in the order that takes fewer FLOPs at small r.

    Args:
        x: tensor of shape (..., d), any number of leading axes, none included.
        A: tensor of shape (d, r), the dtype of x.
        B: tensor of shape (r, k), the dtype of x.
        scaling: a Python number, alpha / r already worked out.

    Returns:
        Tensor of shape (..., k) in the dtype of x. The inputs are left unchanged.
    """
    ### BEGIN SOLUTION
    thin = x @ A  # (..., d) @ (d, r) -> (..., r)
    return (scaling * thin) @ B  # (..., r) @ (r, k) -> (..., k)
    ### END SOLUTION


# %% check="lora_delta"
check.lora_delta(lora_delta)

# %% [markdown]
r"""
## Back to your prediction

The same count, on the layer that you were asked about.
"""

# %% demonstration=true
torch.manual_seed(0)
x = torch.randn(1, 4096, device=device)
A = torch.randn(4096, 8, device=device) / 64  # divided by √4096, so that x @ A stays near 1
B = torch.randn(8, 4096, device=device)

thin = count_flops(lora_delta, x, A, B, 2.0)
full = count_flops(full_product_first, x, A, B, 2.0)
print(f"lora_delta          {thin:>12,} FLOPs")
print(f"full product first  {full:>12,} FLOPs, {full / max(thin, 1):,.0f} times as many")
print(f"you predicted       {my_prediction} times as many")

one, other = lora_delta(x, A, B, 2.0), full_product_first(x, A, B, 2.0)
print("the same result, up to rounding:", torch.allclose(one, other, rtol=1e-4, atol=1e-3))
print("the same result, to the last bit:", torch.equal(one, other))

# %% [markdown]
r"""
"Low rank" says that $\Delta W$ *can be written* with few numbers. Multiply it out, and you hold all
$4096 \cdot 4096 = 16{,}777{,}216$ of them again: each has to be made, kept, and multiplied by an entry of $x$. Left as
two factors, it costs what the factors cost.

The results agree up to rounding and not to the last bit: the same terms are added in another order, and floating-point
sums notice. From here on "equal" means *within a tolerance*.

(A count of 0 for `lora_delta` means that it works without matrix products, through `*` and `sum` or in numpy. torch's
counter sees products only.)
"""

# %% [markdown]
r"""
## Exercises: `flops_thin` and `flops_full`

*About 5 minutes · difficulty 2 of 5 · 1 point each*

Counting by running needs a machine with enough memory. Counting from the shapes needs a pencil, and then a line or two
of Python.

<details><summary>Hint 1: what to look at</summary>
Each order has two products. Write down the shapes of both factors of each: four lines in all.
</details>
<details><summary>Hint 2: the idea</summary>
A product of two matrices costs <code>2abc</code>, and the two products of one order are done one after the other. In
which of the four products does the number of rows <code>n</code> take part?
</details>
<details><summary>Hint 3: nearly there</summary>
Try your functions on the worked example, with <code>n = 1, d = 3, k = 4, r = 2</code>. One of them must say 28 and the
other 72. Then try <code>n = 2</code>: does the product of A and B have to be worked out once more for the second row?
</details>
"""


# %% exercise="flops_thin"
def flops_thin(n, d, k, r):
    """FLOPs of n rows through A and then through B, from the shapes alone.

    Args:
        n: rows of x.
        d, k, r: sizes of A (d, r) and B (r, k).

    Returns:
        A number. A multiplication and an addition count as one each; the scaling is not
        counted.
    """
    ### BEGIN SOLUTION
    down = 2 * n * d * r  # (n, d) @ (d, r)
    up = 2 * n * r * k  # (n, r) @ (r, k)
    return down + up
    ### END SOLUTION


# %% check="flops_thin"
check.flops_thin(flops_thin)


# %% exercise="flops_full"
def flops_full(n, d, k, r):
    """FLOPs of multiplying A and B first, once, and then taking n rows through the product.

    Args:
        n: rows of x.
        d, k, r: sizes of A (d, r) and B (r, k).

    Returns:
        A number. A multiplication and an addition count as one each; the scaling is not
        counted.
    """
    ### BEGIN SOLUTION
    form = 2 * d * r * k  # (d, r) @ (r, k)
    use = 2 * n * d * k  # (n, d) @ (d, k)
    return form + use
    ### END SOLUTION


# %% check="flops_full"
check.flops_full(flops_full)

# %% [markdown]
r"""
## The picture: what rank and rows do to the cost

The lines are your two functions; the marks are what torch counted when the products were really run. The layer takes
768 numbers to 3,072. The dotted line is the base layer's own product, $xW$.

Before you run it: does the solid line stay below the dotted one at every rank?
"""

# %% demonstration=true alt="Two line charts with logarithmic axes. Left, FLOPs against rank for 32 rows of a 768 to 3072 layer. Two thin products rise in a straight line from far below the base layer's constant cost and cross it between rank 512 and rank 768. The full product first starts at the base layer's cost and rises above it, always above the two thin products. Counted marks lie on both lines. Right, the cost of the full product first as a multiple of the thin order's, against the number of rows, for ranks 4, 16 and 64. Each curve falls from its value at one row and levels off above 1, lower for larger ranks."
n, d, k = 32, 768, 3072
ranks = [2**i for i in range(10)] + [768]
rows = [2**i for i in range(13)]
thin = [flops_thin(n, d, k, r) for r in ranks]
full = [flops_full(n, d, k, r) for r in ranks]

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
left.plot(ranks, full, "--", color="0.45", label="full product first")
left.plot(ranks, [2 * n * d * k] * len(ranks), ":", color="black", label="the base layer, x W")
left.plot(ranks, thin, "-", color="black", label="two thin products")
for r in (2, 16, 128, 768):
    inputs = [torch.ones(*shape, device=device) for shape in ((n, d), (d, r), (r, k))]
    left.plot(r, count_flops(full_product_first, *inputs, 1.0), "s", color="0.45")
    left.plot(r, count_flops(lora_delta, *inputs, 1.0), "o", color="black")
left.set(
    xscale="log", yscale="log", xlabel="rank r", ylabel="FLOPs", title=f"{n} rows, {d} → {k}"
)
left.legend()

for r, style in ((4, "-"), (16, "--"), (64, ":")):
    times = [flops_full(n, d, k, r) / flops_thin(n, d, k, r) for n in rows]
    right.plot(rows, times, style, color="black", label=f"r = {r}")
right.axhline(1, color="0.7", linewidth=1)
right.set(
    xscale="log",
    yscale="log",
    xlabel="rows n",
    ylabel="times as many FLOPs",
    title="full product first ÷ thin",
)
right.legend()
plt.show()

# %% [markdown]
r"""
**Left.** At small ranks the thin order lies far below the layer that it adapts. It grows in proportion to $r$, and at
some rank it meets the dotted line. The full product *starts* at the dotted line: however small the rank, it takes every
row through a matrix of the base layer's size.

**Right.** More rows share the one product $AB$, so its share of the cost shrinks. The rest stays, because using
$\Delta W$ costs a base layer's work for every row. Worst off is a single row: a language model that writes one token
after the other.
"""

# %% [markdown]
r"""
## Exercise: `largest_cheap_rank`

*About 4 minutes · difficulty 2 of 5 · 1 point*

Where exactly does the solid line meet the dotted one?

<details><summary>Hint 1: what to look at</summary>
The base layer does one product, <code>(n, d)</code> by <code>(d, k)</code>. Write its cost beside that of the two
thin ones. What stands in both?
</details>
<details><summary>Hint 2: the idea</summary>
What is left is a comparison of two whole numbers, one of which grows with the rank. A loop that counts up is a good
answer.
</details>
<details><summary>Hint 3: nearly there</summary>
Try two layers by hand. For 3 → 4 the answer is 1. For 4 → 4 there is a rank at which both cost the same: is
that fewer FLOPs? And what does your function say for 1 → 1?
</details>
"""


# %% exercise="largest_cheap_rank"
def largest_cheap_rank(d, k):
    """The largest rank at which two thin products take fewer FLOPs than the base's product.

    Args:
        d, k: in_features and out_features of the layer, at least 1 each.

    Returns:
        A whole number, the same for every number of rows; 0 where not even rank 1 takes fewer.
    """
    ### BEGIN SOLUTION
    # The largest r with r * (d + k) < d * k. Of whole numbers, "less" is "at most one less".
    return (d * k - 1) // (d + k)
    ### END SOLUTION


# %% check="largest_cheap_rank"
check.largest_cheap_rank(largest_cheap_rank)

# %% [markdown]
r"""
How far are the usual ranks from that limit?
"""

# %%
print("   d        k      largest cheap rank   cost at r = 8, of the base layer's")
for d, k in ((768, 768), (768, 3072), (4096, 4096), (5000, 10000), (12288, 12288)):
    share = flops_thin(1, d, k, 8) / (2 * d * k)
    print(f"{d:>6,} → {k:>6,} {largest_cheap_rank(d, k):>18,} {share:>30.2%}")

# %% [markdown]
r"""
Far. At rank 8 the adapter adds one FLOP to every 48 of the smallest of these layers, and one to every 768 of the layer
as wide as GPT-3's.

## What the count does not show

One per cent more FLOPs is not one per cent more time. A processor also has to read and write the numbers, and a product
with a thin matrix does little arithmetic for each number that it moves. So count those too: below, every operation adds
the size of the tensor that it wrote. The layer is $2048 \to 2048$, with $r = 8$ and 1,024 rows, and everything is
measured against the base layer alone.
"""


# %% demonstration=true
class CountWrites(TorchDispatchMode):
    """Adds up how many numbers torch's operations write. A view writes none."""

    written = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.written += out.numel()
        return out


n, d, k, r = 1024, 2048, 2048, 8
base = nn.Linear(d, k, bias=False, device=device).requires_grad_(False)
# inside a network, gradients flow through x
x = torch.randn(n, d, device=device, requires_grad=True)
A = (torch.randn(d, r, device=device) / d**0.5).requires_grad_()
B = torch.randn(r, k, device=device, requires_grad=True)

layers = {
    "base layer alone": lambda: base(x),
    "with lora_delta": lambda: base(x) + lora_delta(x, A, B, 2.0),
    "with the full product first": lambda: base(x) + full_product_first(x, A, B, 2.0),
}


def costs(layer):
    """FLOPs forward, FLOPs forward and backward, numbers written forward."""
    with CountWrites() as writes, FlopCounterMode(display=False) as flops:
        out = layer()
        forward, written = flops.get_total_flops(), writes.written
        out.sum().backward()
    return np.array([forward, flops.get_total_flops(), written])


measured = {name: costs(layer) for name, layer in layers.items()}
print(f"{'':28} {'FLOPs forward':>14} {'with backward':>14} {'numbers written':>16}")
for name, found in measured.items():
    forward, both, written = found / measured["base layer alone"]
    print(f"{name:28} {forward:14.2f} {both:14.2f} {written:16.2f}")

# %% [markdown]
r"""
The FLOPs say that the thin adapter is nearly free, and that the full product costs as much as the base layer once more.
With the backward pass it is worse than that: the gradient of $\Delta W$ is as large as a weight too.

The last column says where an adapter's cost really lies: in *passes over the output*. The base layer writes its
$(n, k)$ result once. The adapter's second product writes another, and the sum a third. Scaling the wide result in place
of the thin one would write a fourth. (The full product makes four of them, and a $\Delta W$ as large as two.)
`torch.addmm`, which adds a tensor to a product and takes a factor for it, does the scaling, the second product and the
sum in one pass.

There is a time to form $AB$: once, before the model is put to use, to be added to $W$ for good. Then no row pays for
the adapter at all. That is merging, lesson 06.

### Time it yourself

A clock measures your machine and whatever else it is doing, so no check here asks for it. If you are curious, give each
of the three layers to `seconds` in the cell below, and compare the ratios with the table. Expect the thin adapter to
take somewhat more time than its FLOPs say; now you know what for.
"""


# %%
def seconds(layer, repeats=5):
    """The best of several runs: the one that the rest of the machine disturbed least."""
    # a GPU's work is only queued by a call
    finish = torch.cuda.synchronize if device == "cuda" else lambda: None
    best = math.inf
    with torch.no_grad():
        for _ in range(repeats):
            finish()
            start = time.perf_counter()
            layer()
            finish()
            best = min(best, time.perf_counter() - start)
    return best


# %%
# seconds(layers["base layer alone"]) and so on

# %% [markdown]
r"""
## What to remember

- Where the brackets stand in $xAB$ changes the cost and not the result. The cheap order never makes a $(d, k)$ matrix.
- A product $(a, b)(b, c)$ costs $2abc$ FLOPs. Count from the shapes before you reach for a clock.
- At the usual ranks an adapter's arithmetic is next to nothing; what you feel is passes over the output.

**Next:** 04 · LoRALinear puts the base layer, the two thin products and the scaling into one layer.
"""
