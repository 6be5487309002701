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

At the end of this lesson you can compute what an adapter adds in the cheap order, count the cost without running anything, and say at
which rank an adapter stops being cheap.

*About 40 minutes · difficulty 2 of 5 · builds on: [02 · The bug](../02_the_bug/02_the_bug.ipynb)*

## From memory

Answer these before you open them.

<details><summary>01 · A is (d, r) and B is (r, k). How many numbers do they have together, and how many does the weight of the same layer have?</summary>
r (d + k) together; the weight has d k.
</details>
<details><summary>02 · A new LoRA layer returns what its base returns. Why does that say nothing about its product?</summary>
B is zero, so every product with it is zero too, right or wrong.
</details>
<details><summary>02 · At which sizes does (A @ B) * x run, return the right shape, and get the values wrong?</summary>
The layer is square, and x has as many rows as it has inputs (more than one).
</details>
"""

# %%
import math

import numpy as np
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit import costs as kit
from autograde.lesson_kit.predictions import show_prediction

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first: four ways to write one product

An adapter adds $s \, x A B$ to the output of its layer: $A$ is $(d, r)$, $B$ is $(r, k)$, and $s$ is the scaling. Matrix products are
associative: you may put the brackets anywhere, and the result stays the same. The cost does not. Here are four ways to write the product.
Ways 3 and 4 are written as in the paper, where $x$ is a column on the right. The transposes turn rows into columns and back, and they cost
nothing.
"""

# %% demonstration=true
ways = {
    "1": lambda s, x, A, B: s * x @ A @ B,
    "2": lambda s, x, A, B: s * x @ (A @ B),
    "3": lambda s, x, A, B: (s * B.T @ A.T @ x.T).T,
    "4": lambda s, x, A, B: (s * B.T @ (A.T @ x.T)).T,
}

# %% [markdown]
r"""
> Take $d = k = 4096$ and $r = 8$, so that $A$ and $B$ have 32,768 entries each, and one row $x$.
>
> 1. Rank the four by the multiplications and additions that they take, the cheapest first, in one string. Write a tie with `=`, for
>    example `"1 = 2 < 3 < 4"`.
> 2. How many times as many operations does the most expensive way take as the cheapest: 1.5, 20, 200 or 2,000?
"""

# %%
my_order = "?"
my_times = "?"

# %% demonstration=true
torch.manual_seed(0)
x = torch.randn(1, 4096, device=device)
A = torch.randn(4096, 8, device=device) / 64  # divided by √4096, so that x @ A stays near 1
B = torch.randn(8, 4096, device=device)

show_prediction(my_order, guess="1 = 3 < 2 = 4: those without inner brackets are cheap")
show_prediction(my_times, guess=200)
counted = {way: kit.count_flops(function, 2.0, x, A, B) for way, function in ways.items()}
print("\nway   multiplications and additions   times the cheapest")
for way, flops in counted.items():
    print(f"{way:>3} {flops:33,} {flops / min(counted.values()):20,.0f}")

one, two, three, four = (function(2.0, x, A, B) for function in ways.values())
close = [torch.allclose(one, other, rtol=1e-4, atol=1e-3) for other in (two, three, four)]
print("\nall four agree up to rounding:", all(close))
print("1 and 2 agree to the last bit:", torch.equal(one, two))

# %% [markdown]
r"""
Ways 1 and 4 are cheap; ways 2 and 3 take 2,304 times as many operations. You cannot see the cost at a glance: neither way 1 nor way 3 has
inner brackets, and only way 1 is cheap.

Python gives `*` and `@` the same precedence and **reads from left to right**. These are the four ways with the brackets that Python adds:

| way | as Python reads it | what comes first | its shape |
|---|---|---|---|
| 1 | `((s * x) @ A) @ B` | `x` with `A` | $(1, 8)$ |
| 2 | `(s * x) @ (A @ B)` | `A` with `B` | $(4096, 4096)$ |
| 3 | `((s * B.T) @ A.T) @ x.T` | `B.T` with `A.T` | $(4096, 4096)$ |
| 4 | `(s * B.T) @ (A.T @ x.T)` | `A.T` with `x.T` | $(8, 1)$ |

So way 1 is cheap by luck: $x$ happens to be on the left, where Python starts to read. If you write the formula as the paper does, $BAx$,
again without brackets, you get way 3. Brackets say what you mean; use them.

The four results agree up to rounding, but not bit for bit: the ways add the same terms in different orders, and floating-point sums
depend on the order. From here on "equal" means *within a tolerance*.

Where does the factor 2,304 come from? You can count that by hand.

## A worked example, small enough to check by hand

With $d = 3$, $k = 4$, $r = 2$ and $s = 0.5$:

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 & 0 \\ 0 & 1 \\ 1 & 1 \end{pmatrix} \qquad
B = \begin{pmatrix} 1 & 0 & 2 & 0 \\ 0 & 1 & 0 & 3 \end{pmatrix}
$$

1. **shape** · $x$ is $(1, 3)$, and the result must be $(1, 4)$.
2. **product** · in the expensive order, the change of the weight comes first: $\Delta W = AB$, which is $(3, 2)(2, 4) \to (3, 4)$. Then
   $x \, \Delta W$, which is $(1, 3)(3, 4) \to (1, 4)$:

   $$
   \Delta W = \begin{pmatrix} 1 & 0 & 2 & 0 \\ 0 & 1 & 0 & 3 \\ 1 & 1 & 2 & 3 \end{pmatrix} \qquad
   x \, \Delta W = \begin{pmatrix} 4 & 5 & 8 & 15 \end{pmatrix}
   $$

3. **scale** · do this step yourself: which four numbers come out?
4. **add** · to what the base layer gives. That comes in lesson [04](../04_lora_linear/04_lora_linear.ipynb).

Now count the work. A matrix of shape $(a, b)$ times one of shape $(b, c)$ makes $ac$ numbers, and each of them takes $b$ multiplications and
$b$ additions (the first one, to zero, counts too). Together that is $2abc$ *floating-point operations*, FLOPs for short.

| product | shapes | FLOPs |
|---|---|---|
| $AB$ | $(3, 2)(2, 4)$ | $2 \cdot 3 \cdot 2 \cdot 4 = 48$ |
| $x \, \Delta W$ | $(1, 3)(3, 4)$ | count it yourself |

The next cell computes the four numbers and lets torch count the operations.
"""


# %% demonstration=true
def full_product_first(x, A, B, scaling):
    """The order of the worked example."""
    delta_W = A @ B  # (d, r) @ (r, k) -> (d, k), as large as the layer's weight
    return scaling * (x @ delta_W)  # (..., d) @ (d, k) -> (..., k)


small_x = torch.tensor([[1.0, 2.0, 3.0]])
small_A = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
small_B = torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
print(full_product_first(small_x, small_A, small_B, 0.5))
small_flops = kit.count_flops(full_product_first, small_x, small_A, small_B, 0.5)
print(small_flops, "FLOPs, of which x ΔW takes", small_flops - 48)

# %% [markdown]
r"""
You can compute these four numbers with 28 FLOPs.

## Exercise: `lora_delta`

*About 6 minutes · difficulty 2 of 5 · 3 points: 2 for the right numbers, 1 for the cheap order*

Compute what an adapter adds to the output of its layer, in the cheap order. Write the code so that a reader sees what it costs without
knowing the order in which Python reads it. The check counts operations as the cells above did; it measures no time.

<details><summary>Hint 1: what to look at</summary>
Write <code>x</code>, <code>A</code> and <code>B</code> in a row, and the shape of each below it. Which neighbours
share a size?
</details>
<details><summary>Hint 2: the idea</summary>
You may multiply either pair of neighbours first, as long as no matrix changes its place. The worked example began with one pair and
made a matrix as large as a weight. What shape does the other pair give?
</details>
<details><summary>Hint 3: nearly there</summary>
Two uses of <code>@</code> and one of <code>*</code>, no transpose and no reshape: <code>.T</code> would turn all axes of a batch around, and
<code>@</code> takes care of the leading axes of <code>x</code> by itself. The scaling is one number, so you may apply it at any step. Where does
it have the fewest numbers to multiply?
</details>
"""


# %% exercise="lora_delta"
def lora_delta(x, A, B, scaling):
    """What a LoRA adapter adds to the output, in the order that takes fewer FLOPs at small r.

    Args:
        x: tensor of shape (..., d), any number of leading axes, none included.
        A: tensor of shape (d, r), the dtype of x.
        B: tensor of shape (r, k), the dtype of x.
        scaling: a Python number, alpha / r already computed.

    Returns:
        Tensor of shape (..., k) in the dtype of x. The inputs are not changed.
    """
    ### BEGIN SOLUTION
    thin = x @ A  # (..., d) @ (d, r) -> (..., r)
    return (scaling * thin) @ B  # (..., r) @ (r, k) -> (..., k)
    ### END SOLUTION


# %% check="lora_delta"
check.lora_delta(lora_delta)

# %% [markdown]
r"""
## Where the 2,304 come from

Your function and the expensive order, on the layer that you were asked about, 4096 → 4096 at rank 8:
"""

# %% demonstration=true
thin = kit.count_flops(lora_delta, x, A, B, 2.0)
form, use = 2 * 4096 * 8 * 4096, 2 * 1 * 4096 * 4096
print(f"lora_delta         {thin:>12,} FLOPs")
print(f"make A @ B         {form:>12,} FLOPs, {form / max(thin, 1):,.0f} times as many")
print(f"use it for one row {use:>12,} FLOPs, {use / max(thin, 1):,.0f} times as many")

# %% [markdown]
r"""
200 was a good guess if you compared the sizes: $\Delta W$ has 256 times as many entries as $A$ and $B$ together, and each entry is used
once. But before $\Delta W$ can be used it must be computed, and that takes eight times as many operations as using it for one row.
Together: $2048 + 256 = 2304$.

"Low rank" says that $\Delta W$ *can be written* with few numbers. If you multiply the factors, you have all $4096 \cdot 4096 =
16{,}777{,}216$ numbers again; each has to be computed, stored, and multiplied by an entry of $x$. If you keep the two factors apart, you
pay only for the factors.

(A count of 0 for `lora_delta` means that your function works without matrix products, with `*` and `sum` or in numpy. Torch's counter sees
only matrix products.)
"""

# %% [markdown]
r"""
## Exercises: `flops_thin` and `flops_full`

*About 5 minutes · difficulty 2 of 5 · 1 point each*

To count by running the products, you need a machine with enough memory. To count from the shapes alone, you need only a line or two of
Python. Write this count for both orders.

<details><summary>Hint 1: what to look at</summary>
Each order has two products. Write down the shapes of both factors of each: four lines in all.
</details>
<details><summary>Hint 2: the idea</summary>
A product of two matrices costs <code>2abc</code>, and the two products of one order are done one after the other. In
which of the four products does the number of rows <code>n</code> take part?
</details>
<details><summary>Hint 3: nearly there</summary>
Try your functions on the worked example, with <code>n = 1, d = 3, k = 4, r = 2</code>. One of them must return 28 and the other 72. Then try
<code>n = 2</code>: does the product of A and B have to be computed again for the second row?
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

The lines are your two functions; the marks are what torch counted when the products were run. The layer has 768 inputs and 3,072 outputs.
The dotted line is the base layer's own product, $xW$.

Before you run it: does the solid line stay below the dotted one at every rank?
"""

# %% demonstration=true alt="Two line charts with logarithmic axes. Left, FLOPs against rank for 32 rows of a 768 to 3072 layer. Two thin products rise in a straight line from far below the base layer's constant cost and cross it between rank 512 and rank 768. The full product first starts at the base layer's cost and rises above it, always above the two thin products. Counted marks lie on both lines. Right, the cost of the full product first as a multiple of the thin order's, against the number of rows, for ranks 4, 16 and 64. Each curve falls from its value at one row and levels off above 1, lower for larger ranks."
n, d, k = 32, 768, 3072
counted = []
for r in (2, 16, 128, 768):
    inputs = [torch.ones(*shape, device=device) for shape in ((n, d), (d, r), (r, k))]
    both = [kit.count_flops(f, *inputs, 1.0) for f in (lora_delta, full_product_first)]
    counted.append((r, *both))

ranks, rows = [2**i for i in range(10)] + [768], [2**i for i in range(13)]
kit.plot_flops(
    thin={r: flops_thin(n, d, k, r) for r in ranks},
    full={r: flops_full(n, d, k, r) for r in ranks},
    base=2 * n * d * k,
    counted=counted,
    times={
        r: {m: flops_full(m, d, k, r) / flops_thin(m, d, k, r) for m in rows}
        for r in (4, 16, 64)
    },
    title=f"{n} rows, {d} → {k}",
)

# %% [markdown]
r"""
**Left.** At small ranks the thin order costs far less than the layer that it adapts. Its cost grows in proportion to $r$, and at some rank
it meets the dotted line. The full product *starts* at the dotted line: however small the rank is, every row is multiplied by a matrix as
large as the base layer's.

**Right.** The product $AB$ is computed once for all rows, so the more rows there are, the less this part matters. Using the product still
costs as much as the base layer, for every row. A single row is the worst case, and a common one: a language model writes one token at a
time.
"""

# %% [markdown]
r"""
## Exercise: `largest_cheap_rank`

*About 4 minutes · difficulty 2 of 5 · 1 point*

Where exactly does the solid line meet the dotted one? Write a function that returns the largest rank below that point.

<details><summary>Hint 1: what to look at</summary>
The base layer computes one product, <code>(n, d)</code> times <code>(d, k)</code>. Write its cost beside that of the two thin products.
Which factors appear in both?
</details>
<details><summary>Hint 2: the idea</summary>
What is left is a comparison of two whole numbers, one of which grows with the rank. A loop that counts up is a good
answer.
</details>
<details><summary>Hint 3: nearly there</summary>
Try two layers by hand. For 3 → 4 the answer is 1. For 4 → 4 there is a rank at which both cost the same: is that fewer FLOPs? And what does
your function return for 1 → 1?
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
How close to that limit are the ranks that people use?
"""

# %% demonstration=true
print("                  largest       cost at rank 8")
print("   d        k     cheap rank    of the base layer's")
for d, k in ((768, 768), (768, 3072), (4096, 4096), (5000, 10000), (12288, 12288)):
    share = flops_thin(1, d, k, 8) / (2 * d * k)
    print(f"{d:>6,} → {k:>6,} {largest_cheap_rank(d, k):>10,} {share:>15.2%}")

# %% [markdown]
r"""
Far below it. At rank 8 the adapter adds one FLOP to every 48 of the smallest of these layers, and one to every 768 of the last one, which
is as wide as those of GPT-3.

## What the count does not show

One per cent more FLOPs is not one per cent more time. A processor also has to read and write the numbers, and a product with a thin matrix
does little arithmetic for each number that it moves. So the next cell counts the writes too: it adds up the sizes of all tensors that the
operations write. The layer is $2048 \to 2048$, with $r = 8$ and 1,024 rows, and every cost is given as a multiple of the base layer's.
"""

# %% demonstration=true
n, d, k, r = 1024, 2048, 2048, 8
base = nn.Linear(d, k, bias=False, device=device).requires_grad_(False)
x = torch.randn(n, d, device=device, requires_grad=True)  # in a network, x has a gradient too
A = (torch.randn(d, r, device=device) / d**0.5).requires_grad_()
B = torch.randn(r, k, device=device, requires_grad=True)

layers = {
    "base layer alone": lambda: base(x),
    "with lora_delta": lambda: base(x) + lora_delta(x, A, B, 2.0),
    "with the full product first": lambda: base(x) + full_product_first(x, A, B, 2.0),
}
alone = kit.costs(layers["base layer alone"])
print(f"{'':28}{'FLOPs':>9}{'FLOPs with':>13}{'numbers':>10}")
print(f"{'':28}{'forward':>9}{'backward':>13}{'written':>10}")
for name, layer in layers.items():
    forward, both, written = kit.costs(layer) / alone
    print(f"{name:28}{forward:9.2f}{both:13.2f}{written:10.2f}")

# %% [markdown]
r"""
The FLOPs say that the thin adapter is nearly free, and that the full product costs as much as the base layer once more. With the backward
pass it costs even more, because the gradient of $\Delta W$ is as large as a weight too.

The last column shows where the cost of an adapter really lies: in *passes over the output*. The base layer writes its $(n, k)$ result once.
The adapter's second product writes another, and the sum writes a third. If you scaled the wide result instead of the thin one, that would
write a fourth. (The full product makes four of them, and a $\Delta W$ as large as two.) `torch.addmm` adds a tensor to a product and takes a
factor for it, so it does the scaling, the second product and the sum in one pass.

There is one good time to compute $AB$: once, before the model is used, to add it to $W$ permanently. Then the adapter costs nothing at
all. That is merging, in lesson [06](../06_merging/06_merging.ipynb).

### Time it yourself

A clock measures your machine and whatever else runs on it, so no check here uses one. If you are curious, give each of the three layers to
`kit.seconds` and compare the ratios with the table. Expect the thin adapter to take somewhat more time than its FLOPs say; now you know
why.
"""

# %%
# kit.seconds(layers["base layer alone"]) and so on

# %% [markdown]
r"""
## What to remember

- The brackets in $xAB$ change the cost, not the result. The cheap order never makes a $(d, k)$ matrix.
- Python reads `@` and `*` from left to right. Without brackets, the place of $x$ decides the cost.
- A product $(a, b)(b, c)$ costs $2abc$ FLOPs. At the usual ranks an adapter needs very few extra FLOPs; what costs time is the passes over the output.

**Next:** [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb) puts the base layer, the two thin products and the scaling into one layer.
"""
