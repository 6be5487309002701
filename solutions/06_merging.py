# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 06 · Merging

At the end of this lesson you can merge an adapter into its layer, so that it costs nothing at each call, and take it out again without changing a single bit of the weight.

*About 65 minutes · difficulty 3 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb)*

## From memory

Answer these before you open them.

<details><summary>00 · In the weight of <code>nn.Linear(3, 2)</code>, in which row and column is the number that connects input 2 to output 0?</summary>
Row 0, column 2: the outputs are the rows. You will need it in a moment.
</details>
<details><summary>02 · On which layers does a product in the wrong layout run without an error?</summary>
On square ones, where every shape fits.
</details>
<details><summary>05 · A weight of 4,096 × 4,096 has an adapter of rank 8. How many times smaller is the adapter?</summary>
256 times: 16,777,216 numbers against 65,536.
</details>
"""

# %%
import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autograde import check
from autograde.lesson_kit.merging import draw_graphs, plot_drift, switch_customers
from autograde.lesson_kit.predictions import show_prediction

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Fifty customers, one base

You run one large model for fifty customers, and each has an adapter. While an adapter is separate from its layer, every call needs two more products and a sum:
$h = x W^\top + b + s \, x A B$. But the adapter's part is *linear* in $x$, like $x W^\top$. One weight can do the work of all three matrices: compute once how $W$ has to change, and add the change to it. That is **merging**.
For the next customer you take the change out again and add another one. The LoRA paper describes it (section 4.1): "When we need to switch to another downstream task, we can
recover $W_0$ by subtracting $BA$ and then adding a different $B'A'$, a quick operation with very little memory overhead."

So you add a customer's change to the weight, answer, and subtract the same change. The weight has 512 × 512 entries. Each of the fifty customers comes twice, a hundred visits in all.

> After the last visit, how many of the weight's entries differ from before: none, one in a hundred, one in ten, or most of them? Answer for bfloat16 and for float32.
"""

# %%
my_prediction = {"bfloat16": "?", "float32": "?"}

# %% demonstration=true alt="Two line charts against the number of visits, from 1 to 100 on a logarithmic axis. Left, the error of the weight as a multiple of that after one visit: with one customer alone it stays at 1; with fifty customers it climbs to about 8, in bfloat16 and in float32 alike. Right, the share of numbers that differ: with one customer it stays at 14 per cent; with fifty it climbs to 68 per cent by the 50th visit and stays there, in both dtypes alike."
show_prediction(my_prediction, guess={"bfloat16": "one in a hundred", "float32": "none"})
runs = {
    "bfloat16, one customer": switch_customers(100, torch.bfloat16, 1, device),
    "bfloat16, fifty customers": switch_customers(100, torch.bfloat16, 50, device),
    "float32, fifty customers": switch_customers(100, torch.float32, 50, device),
}
for name, (errors, shares) in runs.items():
    print(f"{name:25} differ: {shares[0]:.0%} after 1 visit, {shares[-1]:.0%} after 100")
    growth = errors[-1] / errors[0]
    print(f"{'':25} error:  {errors[0]:.0e} after 1, {growth:.1f} times that after 100")
plot_drift(runs)

# %% [markdown]
r"""
Most of them, and in float32 as many as in bfloat16. "None" is tempting for float32, because what is added is subtracted again, and because float32 is precise. But a wider dtype makes
the errors *smaller*, not rarer.

With one customer all the damage is done at the first visit: the entries that came back exactly do so at every later visit, too. With another customer each time, every visit adds
an error of its own. (A customer's second visit changes the same entries as its first. So no more entries differ, but the errors keep growing.)

One number is enough to see why. bfloat16 keeps 8 binary digits. From 1 to 2 its numbers are $2^{-7}$ apart, from 2 to 4 they are $2^{-6}$ apart. So the sum has no room for the
last digit of $w$:
"""

# %% demonstration=true
w = torch.tensor(1 + 2**-7, dtype=torch.bfloat16)
print("w         ", w.item())
print("w + 1     ", (w + 1).item())
print("w + 1 - 1 ", (w + 1 - 1).item())

# %% [markdown]
r"""
No subtraction can bring that digit back: after the sum it is not stored anywhere. So the old weight has to be *kept*. At the end of this lesson your own layer serves the fifty
customers, and no bit differs. Before that you will find out three things: what has to be added to the weight, how to write into a frozen weight, and what a layer has to
remember.
"""

# %% [markdown]
r"""
## The layer to be merged

This is the layer that lesson [04](../04_lora_linear/04_lora_linear.ipynb) arrives at. The whole lesson works on it.
"""


# %%
class LoRALinear(nn.Module):
    """h = base_layer(x) + scaling * (x @ lora_A) @ lora_B; only lora_A and lora_B train."""

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **like) / d**0.5)
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **like))

    def forward(self, x):
        thin = x @ self.lora_A  # (..., d) @ (d, r) -> (..., r)
        # (..., r) @ (r, k) -> (..., k)
        return self.base_layer(x) + (self.scaling * thin) @ self.lora_B


def trained(d, k, rank, alpha, dtype=torch.float32, seed=0):
    """A LoRALinear as it might be after training: lora_B is not zero."""
    torch.manual_seed(seed)
    layer = LoRALinear(nn.Linear(d, k, dtype=dtype, device=device), rank, alpha)
    nn.init.normal_(layer.lora_B, std=0.02)
    return layer


# %% [markdown]
r"""
## What has to be added, by hand

The numbers of lesson [02](../02_the_bug/02_the_bug.ipynb) once more: $d = 3$, $k = 2$, $r = 1$, $s = \alpha / r = 2$.

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
W = \begin{pmatrix} 1 & 0 & 1 \\ 0 & 2 & 0 \end{pmatrix} \qquad
b = \begin{pmatrix} 496 & 596 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 \\ 0 \\ 2 \end{pmatrix} \qquad
B = \begin{pmatrix} 10 & 1 \end{pmatrix}
$$

You know the four steps by now. This time do all of them yourself, on paper.

1. **shape** · What is the shape of $W$, and so of the matrix that is added to it? What is the shape of $AB$?
2. **product** · $AB$
3. **scale** · by $s$
4. **add** · In your matrix, one number says by how much output 0 grows for each 1 that comes in at input 2. To which number of $W$ must it be added?

<details><summary>One of the six numbers, to compare</summary>
The number from input 2 to output 0 is 40, in row 2, column 0 of s A B. In W the number from input 2 to output 0 is the last one of the first row, a 1. It becomes 41.
</details>

Multiply your new $W$ with $x$ and add $b$. It must give what the layer gives:
"""

# %% demonstration=true
small = LoRALinear(nn.Linear(3, 2), rank=1, alpha=2)
x = torch.tensor([1.0, 2.0, 3.0])
with torch.no_grad():
    small.base_layer.weight.copy_(torch.tensor([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]))
    small.base_layer.bias.copy_(torch.tensor([496.0, 596.0]))
    small.lora_A.copy_(torch.tensor([[1.0], [0.0], [2.0]]))
    small.lora_B.copy_(torch.tensor([[10.0, 1.0]]))

    print("the base gives ", small.base_layer(x).tolist())
    print("the layer gives", small(x).tolist())

# %% [markdown]
r"""
## Exercise: `delta_weight`

*About 3 minutes · difficulty 2 of 5 · 1 point*

Write the function that computes this change for any layer.

<details><summary>Hint 1: what to look at</summary>
Print <code>small.lora_A.shape</code>, <code>small.lora_B.shape</code> and <code>small.base_layer.weight.shape</code>.
</details>
<details><summary>Hint 2: the idea</summary>
Steps 2 and 3 of the example are one line. In step 4 the number of row 2, column 0 went to row 0, column 2. What is the name of the operation that does this to all of them?
</details>
<details><summary>Hint 3: nearly there</summary>
A reshape gives the same shape and leaves the 40 in the wrong place: compare with the example. And for a square layer every shape fits, so try yours on one that is not.
</details>
"""


# %% exercise="delta_weight"
def delta_weight(layer):
    """What a merge adds to ``layer.base_layer.weight``.

    Args:
        layer: has ``base_layer``, an nn.Linear; ``lora_A``, an nn.Parameter of shape (d, r);
            ``lora_B``, an nn.Parameter of shape (r, k); and ``scaling``, a float (alpha / r
            already computed).

    Returns:
        Tensor of shape (k, d) in the dtype of lora_A. The layer is not changed.
    """
    ### BEGIN SOLUTION
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T  # (k, r) @ (r, d) -> (k, d)
    ### END SOLUTION


# %% check="delta_weight"
check.delta_weight(delta_weight)

# %% demonstration=true
with torch.no_grad():
    print("change", delta_weight(small).tolist())
    after = small.base_layer.weight + delta_weight(small)
    print("sum   ", after.tolist())
    print("gives ", nn.functional.linear(x, after, small.base_layer.bias).tolist())

# %% [markdown]
r"""
A bug can hide here in the same way as in lesson [02](../02_the_bug/02_the_bug.ipynb). Suppose that somebody forgets the last part of step 4 and adds a $(d, k)$ matrix to the
$(k, d)$ weight. On most layers that raises. On a square one it runs, and the test "is it still right?" passes as long as $B$ is zero:
"""

# %% demonstration=true
torch.manual_seed(1)
square = LoRALinear(nn.Linear(4, 4), rank=2, alpha=6)
x = torch.randn(5, 4)
with torch.no_grad():
    for B in ("zero", "trained"):
        if B == "trained":
            nn.init.normal_(square.lora_B)
        skipped = square.base_layer.weight + delta_weight(square).T
        same = torch.allclose(
            nn.functional.linear(x, skipped, square.base_layer.bias), square(x), atol=1e-5
        )
        print(f"B {B:8} step 4 skipped: runs; the same output: {same}")

# %% [markdown]
r"""
## How to write into a frozen weight

Now you know what to add, and adding it looks like one line. Is it? `frozen` is a layer whose weight does not train; `change` stands for the change that was computed from $A$ and
$B$, which do train. (In the cell it is `up @ down`.)

> 1. `frozen.weight.add_(change)`: does torch refuse? If it does not: what else has changed about the weight, besides its values?
> 2. `frozen.weight += change`: the same as 1, or something else?
"""

# %%
my_second_prediction = {"add_": "?", "+=": "?"}

# %% demonstration=true
torch.manual_seed(6)
up, down = nn.Parameter(torch.randn(2, 1)), nn.Parameter(torch.randn(1, 3))  # these two train


def with_add(layer):
    layer.weight.add_(up @ down)


def with_plus_equals(layer):
    layer.weight += up @ down


def with_add_under_no_grad(layer):
    with torch.no_grad():
        layer.weight.add_(up @ down)


show_prediction(my_second_prediction, guess={"add_": "torch refuses", "+=": "torch refuses"})
for attempt in (with_add, with_plus_equals, with_add_under_no_grad):
    frozen = nn.Linear(3, 2, bias=False).requires_grad_(False)
    before, raised = frozen.weight.clone(), "nothing"
    try:
        attempt(frozen)
    except Exception as error:
        raised = f"{type(error).__name__}: {str(error)[:44]}…"
    weight = frozen.weight
    print(attempt.__name__)
    print("    raises        ", raised)
    print("    values changed", not torch.equal(weight, before))
    print("    requires_grad ", weight.requires_grad)
    print("    is_leaf       ", weight.is_leaf)
    print("    grad_fn       ", type(weight.grad_fn).__name__ if weight.grad_fn else None)

# %% [markdown]
r"""
"Torch refuses" is tempting, because torch does refuse to write into a weight that *trains*. But it does not protect a frozen weight. The first attempt raises nothing, and
afterwards the weight is no longer frozen. It *requires a gradient*, it is *not a leaf*, and it has a `grad_fn`: autograd treats it as the result of a computation. The second
attempt does raise, but only at the assignment. By then the sum has been written in place. The values **have** changed, and if you run the cell again, you merge a second time.

Here is what autograd keeps behind such a weight.
"""

# %% demonstration=true alt="Three diagrams of what autograd holds behind a frozen weight. After a merge under no_grad: the weight alone. After one merge without it: the weight hangs on AddBackward0, that on MmBackward0, and that on the two parameters up and down. After two merges: the same chain with a second AddBackward0 and a second MmBackward0."
weights = {}
for title, merges in (
    ("under no_grad", [with_add_under_no_grad]),
    ("without, merged once", [with_add]),
    ("without, merged twice", [with_add, with_add]),
):
    frozen = nn.Linear(3, 2, bias=False).requires_grad_(False)
    for attempt in merges:
        attempt(frozen)
    weights[title] = frozen.weight
draw_graphs(weights, {"up": up, "down": down})

# %% [markdown]
r"""
From now on, this graph is part of everything that uses the weight:
"""

# %% demonstration=true
frozen = nn.Linear(3, 2, bias=False).requires_grad_(False)
with_add(frozen)


def backward():
    frozen(torch.ones(1, 3)).sum().backward()


attempts = {
    "one backward pass": backward,
    "a second one": backward,
    "an optimiser": lambda: torch.optim.SGD([frozen.weight], lr=0.1),
    "freezing it again": lambda: frozen.requires_grad_(False),
}
for name, attempt in attempts.items():
    try:
        attempt()
        print(f"{name:18} runs")
    except Exception as error:
        print(f"{name:18} {type(error).__name__}: {str(error)[:50]}")

# %% [markdown]
r"""
**Frozen does not mean locked.** `requires_grad=False` says only that the tensor needs no gradient *itself*. A result needs a gradient if anything that it was computed from needs
one; and when you write such a result into a tensor in place, the tensor becomes that result. But a merge is not a step of a computation that anybody will differentiate. It is an
edit. `torch.no_grad()` says just that: inside it, or in a function that it decorates, nothing is recorded.
"""

# %% [markdown]
r"""
## Exercise: `merge`

*About 8 minutes · difficulty 3 of 5 · 3 points: 2 for layers in float32, 1 for those in other dtypes*

A user of the merged layer should need no LoRA code: no class of yours, no $A$, no $B$. Make a plain `nn.Linear` that computes the same. The layer that you merge stays as it
is, because somebody may go on training it.

<details><summary>Hint 1: what to look at</summary>
Print <code>layer.base_layer</code> and its <code>weight.dtype</code>. Which of these must your result have, too? What is
<code>bias</code> for a layer that has none?
</details>
<details><summary>Hint 2: the idea</summary>
There are two ways: make a new <code>nn.Linear</code> and write values into it, or copy the base as a whole (<code>copy</code> is imported above) and write into the copy. Both ways write into a Parameter: think of the experiment with <code>add_</code>.
</details>
<details><summary>Hint 3: nearly there</summary>
Check three things. Does your result have a bias if and only if the base has one, with the base's values? Is it in bfloat16 if
the base is? And when you set one entry of its bias to 100, does the base's bias stay as it was?
</details>
"""


# %% exercise="merge"
def merge(layer):
    """A plain nn.Linear that computes what ``layer`` computes.

    Args:
        layer: as in `delta_weight`; its base has a bias or none (then ``base_layer.bias`` is
            None), and any float dtype: float64, float32, float16 or bfloat16.

    Returns:
        A new nn.Linear (not of a derived class) with the base's sizes, dtype and device, and
        with a bias if the base has one. Its weight is a leaf without a grad_fn; weight and
        bias share no memory with the layer's. It may train or be frozen. The layer is not
        changed, not by a single bit.
    """
    ### BEGIN SOLUTION
    linear = copy.deepcopy(layer.base_layer)
    with torch.no_grad():
        linear.weight.add_(delta_weight(layer))
    return linear
    ### END SOLUTION


# %% check="merge"
check.merge(merge)

# %% [markdown]
r"""
What have you gained? Count the operations of one call, and compare the numbers that come out.
"""

# %% demonstration=true
layer = trained(d=768, k=3072, rank=8, alpha=16)
merged = merge(layer)
x = torch.randn(32, 768, device=device)


def flops(module):
    with FlopCounterMode(display=False) as counter:
        module(x)
    return counter.get_total_flops()


for name, module in (
    ("base layer", layer.base_layer),
    ("LoRALinear", layer),
    ("merged", merged),
):
    print(
        f"{name:11} {flops(module):>12,} FLOPs",
        f"in {sum(1 for _ in module.parameters())} tensors",
    )

with torch.no_grad():
    difference = (merged(x) - layer(x)).abs().max()
    print("\nthe same to the last bit:", torch.equal(merged(x), layer(x)))
    print("largest difference below 1e-5:", bool(difference < 1e-5))

# %% [markdown]
r"""
A merged layer costs what its base costs, to the last operation. The outputs agree up to rounding, since the same terms are summed in another order.

## In place

A new layer needs memory for a second weight, and with a large model there may be none left. So the sum is often computed *in place*, in the base's own weight. An optimiser that
has this Parameter, or a layer that is tied to it, then sees the merged values, too. But now the layer has two states, merged and not merged, and it is easy to lose track of them.

### Experiment: merged twice

Somebody runs a notebook cell that merges in place, and later runs it once more. Or the merged layer is saved, and a colleague loads the file into a new `LoRALinear` and merges
again "to be sure". `forward` is still the one above.

> The right output is the base's output plus the adapter's part, **once**. How many times does the output contain the adapter's part after the cell has run once? And after it has
> run twice?
"""

# %%
my_third_prediction = {"run once": "?", "run twice": "?"}

# %% demonstration=true
layer = trained(d=64, k=48, rank=4, alpha=8)
x = torch.randn(32, 64, device=device)
show_prediction(my_third_prediction, guess={"run once": "1 time", "run twice": "2 times"})
with torch.no_grad():
    base_out = layer.base_layer(x)
    part = layer(x) - base_out
    for runs_of_the_cell in range(3):
        times = ((layer(x) - base_out) * part).sum() / part.square().sum()
        print(f"cell run {runs_of_the_cell} times: {times:.1f} times the adapter's part")
        layer.base_layer.weight.copy_(merge(layer).weight)  # the cell that merges in place

# %% [markdown]
r"""
After one run it is already there twice: the weight contains the change, and `forward` adds it again. It is easy to forget what `forward` does, so "1 time" is tempting. No error
is raised. Shapes and dtypes are right, and nothing in the output shows that the adapter counts twice.

So a layer that is merged in place must *remember* that it is merged, for two reasons: a second merge must change nothing, and `forward` must leave the adapter out.

## Exercise: `MergeableLoRALinear`

*About 12 minutes · difficulty 4 of 5 · 5 points: 3 for merging and computing the same, 2 for giving back every bit*

Now put what the three experiments showed into one class. You may derive it from `LoRALinear`, as below, or write it from scratch; then `lora_A` and `lora_B` may also be
`nn.Linear`s without bias.

<details><summary>Hint 1: what to look at</summary>
Make a table with two columns, <em>is merged</em> and <em>is not merged</em>, and a row for each of <code>merge</code>,
<code>unmerge</code> and <code>forward</code>. Fill in what has to happen. In two of the six fields nothing happens at all.
</details>
<details><summary>Hint 2: the idea</summary>
From one call to the next the layer must remember two things: whether it is merged, and the weight as it was. Decide for each of them when you set it, when you use it, and when you
discard it.
</details>
<details><summary>Hint 3: nearly there</summary>
Three traps. Assigning a tensor to a name does not copy it. The Parameter must stay the same object, so write into it. And
both methods write into a weight: what did the experiment with <code>add_</code> show about that?
</details>
"""


# %% exercise="MergeableLoRALinear"
class MergeableLoRALinear(LoRALinear):
    """A LoRALinear whose adapter can be merged into its base in place, and taken out again.

    Attributes:
        base_layer, lora_A, lora_B, scaling: as in LoRALinear.
        merged: True while base_layer.weight contains the delta, else False; False at the
            start.

    base_layer.weight is always the Parameter that the base came with: a frozen leaf without
    a grad_fn, in the same dtype. The bias never changes. `train()` and `eval()` neither merge
    nor unmerge.
    """

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        ### BEGIN SOLUTION
        self.merged = False
        self.kept = None  # while merged: the base's weight as it was
        ### END SOLUTION

    def merge(self):
        """Add the delta to base_layer.weight, in place. A merged layer does not change."""
        ### BEGIN SOLUTION
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True
        ### END SOLUTION

    def unmerge(self):
        """Restore base_layer.weight from before the merge, bit for bit.

        A layer that is not merged does not change. Afterwards the adapter can be trained
        further, and merged again.
        """
        ### BEGIN SOLUTION
        if self.merged:
            with torch.no_grad():
                self.base_layer.weight.copy_(self.kept)
            self.kept = None
            self.merged = False
        ### END SOLUTION

    def forward(self, x):
        """What a LoRALinear computes, merged or not: x of shape (..., d) to (..., k)."""
        ### BEGIN SOLUTION
        return self.base_layer(x) if self.merged else super().forward(x)
        ### END SOLUTION


# %% check="MergeableLoRALinear"
check.MergeableLoRALinear(MergeableLoRALinear)

# %% [markdown]
r"""
## Fifty customers, your layer

Once more a hundred visits in bfloat16:
"""

# %% demonstration=true
torch.manual_seed(0)
layer = MergeableLoRALinear(
    nn.Linear(512, 512, dtype=torch.bfloat16, device=device), rank=8, alpha=16
)
before = layer.base_layer.weight.clone()
B = getattr(layer.lora_B, "weight", layer.lora_B)  # of an nn.Linear, or the Parameter itself
adapters = [0.02 * torch.randn_like(B) for _ in range(50)]
for visit in range(100):
    with torch.no_grad():
        B.copy_(adapters[visit % 50])
    layer.merge()
    layer.unmerge()
weight = layer.base_layer.weight
by_subtracting = runs["bfloat16, fifty customers"][1][-1] * weight.numel()
print(f"numbers that differ: {(weight != before).sum().item():,} of {weight.numel():,}")
print(f"by subtracting:      {by_subtracting:,.0f}")
print("is_leaf", weight.is_leaf, "· requires_grad", weight.requires_grad, end=" ")
print("· grad_fn", weight.grad_fn)

# %% [markdown]
r"""
This has a price: while a layer is merged, its weight is stored twice. If memory is short, keep the copy elsewhere, on the CPU for example. If you never want to unmerge, use
`merge` and keep no copy. (If all fifty customers ask at the same time, do not merge at all: lesson [10](../10_many_adapters/10_many_adapters.ipynb) serves them side by side.)

Two things can still go wrong. If a layer is *saved while merged*, the weight in the file contains the change, and nothing in the file says so. And if the copy is a plain attribute,
it does not follow when the layer is *moved* to another dtype or device while merged. `lora_ref/layer.py` handles both cases. Read its `LoRALinear` now: you know the reason for
nearly every line of it.
"""

# %% [markdown]
r"""
## What to remember

- A merged layer computes the same and costs what its base costs. The change has the layout of the weight, $(k, d)$.
- Frozen does not mean locked: writing into a frozen weight without `torch.no_grad()` can make it part of a graph.
- A merged layer must remember that it is merged, so that the change is added only once. Floating-point sums cannot be undone exactly, so unmerging needs a copy of the weight.

**Next:** [07 · Weight space](../07_weight_space/07_weight_space.ipynb) writes LoRA the other way round: a module takes a weight and returns an adapted one.
"""
