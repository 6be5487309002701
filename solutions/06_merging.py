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

At the end of this lesson you can fold an adapter into its layer, so that it costs nothing any more, and take it out
again without having changed a single bit.

*About 65 minutes · difficulty 3 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb)*
"""

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first

Training is over. At every call the adapter still takes two products and a sum of its own:
$h = x W^\top + b + s \, x A B$. But that is *linear* in $x$: one weight could do the work of all three matrices. Work
out once how $W$ has to change, add the change to it, and throw $A$ and $B$ away. That is **merging**.

It looks like one line. Is it? This is the first of three experiments. `frozen` is a layer whose weight does not train;
`change` stands for what was worked out from $A$ and $B$, which do. (In the cell it is `up @ down`.)

> 1. `frozen.weight.add_(change)`: does torch refuse? If not: what has changed about the weight, apart from its values?
> 2. `frozen.weight += change`: the same as 1, or something else?
"""

# %%
my_prediction = {"add_": "?", "+=": "?"}

# %%
torch.manual_seed(6)
up, down = nn.Parameter(torch.randn(2, 1)), nn.Parameter(torch.randn(1, 3))  # these two train


def with_add(layer):
    layer.weight.add_(up @ down)


def with_plus_equals(layer):
    layer.weight += up @ down


def with_add_under_no_grad(layer):
    with torch.no_grad():
        layer.weight.add_(up @ down)


print("you predicted:", my_prediction, "\n")
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
The first one raises nothing, and the frozen weight is frozen no more. It *requires a gradient*, it is *no leaf*, and it
has a `grad_fn`: autograd holds it to be the result of a computation. The second one does raise, but only at the
assignment. By then the sum has been made in place: the values **have** changed, and you would merge a second time when
you run the cell again.

Here is what autograd keeps behind such a weight.
"""

# %% demonstration=true alt="Three diagrams of what autograd holds behind a frozen weight. After a merge under no_grad: the weight alone. After one merge without it: the weight hangs on AddBackward0, that on MmBackward0, and that on the two parameters up and down. After two merges: the same chain with a second AddBackward0 and a second MmBackward0."
NAMES = {id(up): "up", id(down): "down"}


def behind(tensor):
    """The nodes that autograd holds behind a tensor, in rows, and the lines between them."""
    rows, lines = [["weight"]], []
    nodes = [tensor.grad_fn] if tensor.grad_fn else []
    above = {id(tensor.grad_fn): (0, 0)}
    while nodes:
        labels, below = [], {}
        for column, node in enumerate(nodes):
            parameter = getattr(node, "variable", None)
            labels.append(type(node).__name__ if parameter is None else NAMES[id(parameter)])
            lines.append((above[id(node)], (len(rows), column)))
            below |= {
                id(child): (child, (len(rows), column))
                for child, _ in node.next_functions
                if child
            }
        rows.append(labels)
        nodes = [child for child, _ in below.values()]
        above = {key: place for key, (_, place) in below.items()}
    return rows, lines


figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for axis, merges, title in zip(
    axes, (0, 1, 2), ("under no_grad", "without, merged once", "without, merged twice")
):
    frozen = nn.Linear(3, 2, bias=False).requires_grad_(False)
    with_add_under_no_grad(frozen) if merges == 0 else [
        with_add(frozen) for _ in range(merges)
    ]
    rows, lines = behind(frozen.weight)
    place = {
        (row, i): (i - (len(labels) - 1) / 2, -row)
        for row, labels in enumerate(rows)
        for i in range(len(labels))
    }
    for start, end in lines:
        axis.plot(*zip(place[start], place[end]), color="0.6", zorder=1)
    for (row, i), (x, y) in place.items():
        box = {
            "boxstyle": "round",
            "facecolor": "0.85" if row == 0 else "white",
            "edgecolor": "black",
        }
        axis.text(x, y, rows[row][i], ha="center", va="center", fontsize=9, bbox=box)
    axis.set(title=title, xlim=(-1.6, 1.6), ylim=(-4.4, 0.6))
    axis.axis("off")
plt.show()

# %% [markdown]
r"""
Everything that uses the weight from now on drags this along:
"""

# %%
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
**Frozen is no lock.** `requires_grad=False` says that a tensor asks for no gradient *by itself*. What is computed from
something that does ask for one asks too, and a tensor that you write such a result into becomes that result. But
merging is no step of a computation that anybody will differentiate: it is an edit. `torch.no_grad()` says just that.
Inside it, or in a function that has it as a decorator, nothing is recorded.
"""

# %% [markdown]
r"""
## The layer to be merged

This is the layer that lesson 04 arrives at. All of this lesson works on it.
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

The numbers of lesson 02 once more: $d = 3$, $k = 2$, $r = 1$, $s = \alpha / r = 2$.

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \qquad
W = \begin{pmatrix} 1 & 0 & 1 \\ 0 & 2 & 0 \end{pmatrix} \qquad
b = \begin{pmatrix} 496 & 596 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 \\ 0 \\ 2 \end{pmatrix} \qquad
B = \begin{pmatrix} 10 & 1 \end{pmatrix}
$$

1. **shape** · $W$ is $(k, d) = (2, 3)$, and so must be what is added to it. $AB$ is $(3, 1)(1, 2) \to (3, 2)$.
2. **product** · $AB = \begin{pmatrix} 10 & 1 \\ 0 & 0 \\ 20 & 2 \end{pmatrix}$
3. **scale** · by 2: $\begin{pmatrix} 20 & 2 \\ 0 & 0 \\ 40 & 4 \end{pmatrix}$
4. **add** · take the 40. It stands in row 2, column 0: for each 1 that comes in at input 2, output 0 gets 40 more. In
   $W$ the number that leads from input 2 to output 0 is the last one of the first row, a 1. It becomes 41. The other
   five are yours.

When you are done with them, multiply your new $W$ with $x$ on paper and add $b$. It must give what the layer gives:
"""

# %%
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

<details><summary>Hint 1: what to look at</summary>
Print <code>small.lora_A.shape</code>, <code>small.lora_B.shape</code> and <code>small.base_layer.weight.shape</code>.
</details>
<details><summary>Hint 2: the idea</summary>
Steps 2 and 3 of the example are one line. Step 4 said where the number of row 2, column 0 goes to: row 0, column 2.
What is the name of the operation that does this to all of them?
</details>
<details><summary>Hint 3: nearly there</summary>
A reshape gives the same shape and leaves the 40 where it does not belong: compare with the example. And for a square
layer every shape fits, so try yours on one that is not.
</details>
"""


# %% exercise="delta_weight"
def delta_weight(layer):
    """What a merge adds to ``layer.base_layer.weight``.

    Args:
        layer: holds ``base_layer``, an nn.Linear; ``lora_A``, an nn.Parameter of shape (d, r);
            ``lora_B``, an nn.Parameter of shape (r, k); and ``scaling``, a float (alpha / r
            already worked out).

    Returns:
        Tensor of shape (k, d) in the dtype of lora_A. The layer is left as it is.
    """
    ### BEGIN SOLUTION
    return (layer.scaling * layer.lora_B).T @ layer.lora_A.T  # (k, r) @ (r, d) -> (k, d)
    ### END SOLUTION


# %% check="delta_weight"
check.delta_weight(delta_weight)

# %%
with torch.no_grad():
    print("change", delta_weight(small).tolist())
    after = small.base_layer.weight + delta_weight(small)
    print("sum   ", after.tolist())
    print("gives ", nn.functional.linear(x, after, small.base_layer.bias).tolist())

# %% [markdown]
r"""
The bug of lesson 02 lives here too, in other clothes. Somebody skips step 4 and adds a $(d, k)$ matrix to the $(k, d)$
weight. On most layers that raises. On a square one it runs, and the test "is it still right?" passes as long as $B$
is zero:
"""

# %%
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
## Exercise: `merge`

*About 8 minutes · difficulty 3 of 5 · 3 points: 2 for layers in float32, 1 for those in other dtypes*

Whoever uses your result should need nothing of LoRA: no class of yours, no $A$, no $B$. Make a plain `nn.Linear` that
computes the same. The layer that it came from stays as it is, because somebody may go on training it.

<details><summary>Hint 1: what to look at</summary>
Print <code>layer.base_layer</code> and its <code>weight.dtype</code>. Which of all that must your result have too? What
is <code>bias</code> for a layer that has none?
</details>
<details><summary>Hint 2: the idea</summary>
There are two ways: make a new <code>nn.Linear</code> and write values into it, or copy the base as a whole
(<code>copy</code> is imported above) and write into the copy. On both of them you write into a Parameter: think of the
first experiment.
</details>
<details><summary>Hint 3: nearly there</summary>
Ask your result three questions. Has it a bias exactly where the base has one, with the base's values? Is it in bfloat16
where the base is? And when you set one entry of its bias to 100, does the base's bias stay as it was?
</details>
"""


# %% exercise="merge"
def merge(layer):
    """A plain nn.Linear that computes what ``layer`` computes.

    Args:
        layer: as in `delta_weight`; its base has a bias or none (then ``base_layer.bias`` is
            None), and any float dtype: float64, float32, float16 or bfloat16.

    Returns:
        A new nn.Linear, of no class of its own, with the base's sizes, dtype and device, and a
        bias exactly where the base has one. Its weight is a leaf without a grad_fn; weight and
        bias share no memory with the layer's. It may train or be frozen. The layer is left as
        it is, to the last bit.
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
What has it brought? Count the operations of one call, and compare the numbers that come out.
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
A merged layer costs what its base costs, to the last operation: an adapter can be had at no price at all when the model
is used. The outputs agree up to rounding, since the same terms are summed in another order.

## In place

A new layer takes memory for a second weight, and in a large model that may be all the memory there is. So the sum is
often made *in place*, in the base's own weight. Whoever else holds that Parameter, an optimiser or a layer that is tied
to it, then sees the merged values too. But now the layer has a past, and everything hangs on whether it is known.

### Experiment: merged twice

Somebody runs the cell that merges in place. It is a cell in a notebook, so it is run once more later on; or the layer
is saved, and a colleague loads the file into a new `LoRALinear` and merges again "to be sure". `forward` is the one
above: nobody has changed it.

> Right would be the base's output plus **one** time the adapter's part. How many times is the adapter's part in
> the output after the cell has run once? After it has run twice?
"""

# %%
my_second_prediction = {"run once": "?", "run twice": "?"}

# %% demonstration=true alt="Bar chart of how many times the adapter's part is in the output, against how often the merging cell has run. The bars have the heights 1, 2, 3 and 4 for 0, 1, 2 and 3 runs. A dashed line marks the right value, 1; only the bar for 0 runs ends there."
layer = trained(d=64, k=48, rank=4, alpha=8)
x = torch.randn(32, 64, device=device)
with torch.no_grad():
    base_out = layer.base_layer(x)
    part = layer(x) - base_out
    times = []
    for _ in range(4):
        times.append(((layer(x) - base_out) * part).sum().item() / part.square().sum().item())
        layer.base_layer.weight.copy_(merge(layer).weight)  # the cell that merges in place

print("you predicted:", my_second_prediction)
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
bars = axis.bar(range(4), times, color="0.75", edgecolor="black", width=0.6)
axis.bar_label(bars, fmt="%.1f")
axis.axhline(1, color="black", linestyle="--", label="right")
axis.set(
    xlabel="times that the merging cell has run",
    ylabel="times the adapter's part",
    xticks=range(4),
    ylim=(0, 4.8),
)
axis.legend(loc="upper left")
plt.show()

# %% [markdown]
r"""
Two times after one run: the weight holds the delta, and `forward` adds it again. Three after two. Nothing raises,
shapes and dtypes are right, and outputs of a model with too much of an adapter look like outputs of a model.

So a layer that is merged in place must *know* it, for two reasons: a second merge has to change nothing, and `forward`
has to leave the adapter out.
"""

# %% [markdown]
r"""
### Experiment: there and back a hundred times

To train on, or to put another adapter in, the delta has to come out again. What was added can be subtracted, it seems.

> A weight of 512 × 512 numbers in bfloat16. A hundred rounds: add the delta of an adapter, subtract the same delta.
> How large is the error after 100 rounds, compared with that after one: zero both times, the same, several times or
> 100 times as large? And when each round is with *another* adapter, as on a server that switches between customers?
"""

# %%
my_third_prediction = {"the same adapter": "?", "another adapter each time": "?"}

# %% demonstration=true alt="Two line charts against the number of rounds, from 1 to 100 on a logarithmic axis. Left, the error of the weights as a multiple of that after one round: with the same adapter it stays at 1; with another adapter each time it climbs to more than 6, in bfloat16 and in float32 alike. Right, the share of weights that differ: with the same adapter it stays at 14 per cent; with another one each time it climbs to 72 per cent, in both dtypes alike."
ROUNDS = range(1, 101)


def there_and_back(dtype, another_each_time):
    """For each round: the RMS error of a weight, and the share of its numbers that differ."""
    layer = trained(d=512, k=512, rank=8, alpha=16, dtype=dtype)
    kept = layer.base_layer.weight.clone()
    weight, errors, shares = kept.clone(), [], []
    with torch.no_grad():
        for _ in ROUNDS:
            if another_each_time:
                nn.init.normal_(layer.lora_B, std=0.02)
            delta = delta_weight(layer)
            weight += delta
            weight -= delta
            errors.append((weight.double() - kept.double()).square().mean().sqrt().item())
            shares.append((weight != kept).double().mean().item())
    return errors, shares


runs = {
    "bfloat16, the same adapter": (there_and_back(torch.bfloat16, False), "-", "black", 3),
    "bfloat16, another each time": (there_and_back(torch.bfloat16, True), "--", "black", 1.5),
    "float32, another each time": (there_and_back(torch.float32, True), ":", "0.6", 4),
}
print("you predicted:", my_third_prediction, "\n")
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for name, ((errors, shares), style, colour, width) in runs.items():
    growth = [error / errors[0] for error in errors]
    left.plot(ROUNDS, growth, style, color=colour, linewidth=width, label=name)
    right.plot(ROUNDS, shares, style, color=colour, linewidth=width, label=name)
    print(
        f"{name:28} error {errors[0]:.0e} after 1 round,",
        f"{growth[-1]:3.1f} times that after 100;",
        end=" ",
    )
    print(f"{shares[0]:.0%}, then {shares[-1]:.0%} of the weights differ")
left.set(
    xscale="log", xlabel="rounds", ylabel="error, times that after one round", ylim=(0, None)
)
right.set(xscale="log", xlabel="rounds", ylabel="share of weights that differ", ylim=(0, 1))
left.legend()
plt.show()

# %% [markdown]
r"""
With one adapter all the harm is done in the first round; what survived that survives the next one. With another adapter
each time, every round leaves its own error on top of the others. A wider dtype makes the errors smaller, and **not**
rarer: in float32 as many weights differ as in bfloat16.

One number is enough to see why. bfloat16 keeps 8 binary digits. From 1 to 2 its numbers are $2^{-7}$ apart, from 2 to 4
they are $2^{-6}$ apart, so on the way up a digit falls off at the end:
"""

# %%
w = torch.tensor(1 + 2**-7, dtype=torch.bfloat16)
print("w         ", w.item())
print("w + 1     ", (w + 1).item())
print("w + 1 - 1 ", (w + 1 - 1).item())

# %% [markdown]
r"""
No cleverer subtraction brings that digit back: after the sum it is nowhere. It has to be kept.

## Exercise: `MergeableLoRALinear`

*About 12 minutes · difficulty 4 of 5 · 5 points: 3 for merging and computing the same, 2 for giving back every bit*

All three experiments in one class. You may derive it from `LoRALinear`, as below, or write it from scratch; in that
case `lora_A` and `lora_B` may as well be `nn.Linear`s without bias.

<details><summary>Hint 1: what to look at</summary>
Make a table with two columns, <em>is merged</em> and <em>is not merged</em>, and a row for each of <code>merge</code>,
<code>unmerge</code> and <code>forward</code>. Fill in what has to happen: in two of the six fields, nothing at all.
</details>
<details><summary>Hint 2: the idea</summary>
From one call to the next the layer must remember two things: whether it is merged, and the weight as it was. Decide for
each when it is set, when it is used, and when it is given up.
</details>
<details><summary>Hint 3: nearly there</summary>
Three traps. A name that you assign to a tensor is no copy of it. The Parameter must stay the one that it was, so write
into it. And both methods write into a weight: what did the first experiment say about that?
</details>
"""


# %% exercise="MergeableLoRALinear"
class MergeableLoRALinear(LoRALinear):
    """A LoRALinear whose adapter can be merged into its base in place, and taken out again.

    Attributes:
        base_layer, lora_A, lora_B, scaling: as in LoRALinear.
        merged: whether base_layer.weight holds the delta now, True or False; False at the
            start.

    At all times base_layer.weight is the Parameter that the base came with: a frozen leaf
    without a grad_fn, in the same dtype. The bias is never changed. `train()` and `eval()`
    neither merge nor unmerge.
    """

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__(base_layer, rank, alpha)
        ### BEGIN SOLUTION
        self.merged = False
        self.kept = None  # while merged: the base's weight as it was
        ### END SOLUTION

    def merge(self):
        """Add the delta to base_layer.weight, in place. On a merged layer: nothing."""
        ### BEGIN SOLUTION
        if not self.merged:
            with torch.no_grad():
                self.kept = self.base_layer.weight.clone()
                self.base_layer.weight.add_(delta_weight(self))
            self.merged = True
        ### END SOLUTION

    def unmerge(self):
        """Give base_layer.weight back every bit from before the merge. Not merged: nothing.

        Afterwards the adapter can be trained on, and merged again.
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
Once more a hundred rounds in bfloat16, with another adapter each time, now with your layer:
"""

# %% demonstration=true
torch.manual_seed(0)
layer = MergeableLoRALinear(
    nn.Linear(512, 512, dtype=torch.bfloat16, device=device), rank=8, alpha=16
)
before = layer.base_layer.weight.clone()
for _ in ROUNDS:
    with torch.no_grad():
        layer.lora_B.normal_(std=0.02)
    layer.merge()
    layer.unmerge()
weight = layer.base_layer.weight
print("weights that differ:", f"{(weight != before).sum().item():,} of {weight.numel():,}")
print(
    "by subtracting:     ",
    f"{runs['bfloat16, another each time'][0][1][-1] * weight.numel():,.0f}",
)
print(
    "is_leaf:",
    weight.is_leaf,
    "· requires_grad:",
    weight.requires_grad,
    "· grad_fn:",
    weight.grad_fn,
)

# %% [markdown]
r"""
It has its price: while a layer is merged, its weight is there twice. Where memory is short the copy may lie elsewhere,
on the CPU for example. And where a model is merged for good, use `merge` and keep nothing.

Two ways to go wrong are left. A layer that is *saved while merged* leaves a file whose weight holds the delta, and
nothing in the file says so. And a copy that is kept as a plain attribute does not follow when the layer is *moved*, to
another dtype or device, while merged. `lora_ref/layer.py` has an answer to both. Read its `LoRALinear` now: it has some
eighty lines, and you have met the reason for nearly every one of them.
"""

# %% [markdown]
r"""
## What to remember

- A merged layer computes the same and costs what its base costs. The delta has the layout of the weight, $(k, d)$.
- Frozen is no lock: what is written into a weight outside of `no_grad` makes the weight part of a graph.
- A merge is a state. The layer must know it, so that it happens once; and floating-point sums do not come back, so that
  undoing it takes a copy.

**Next:** 07 · Weight space writes LoRA the other way round: a module takes a weight and returns an adapted one.
"""
