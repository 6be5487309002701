# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 04 · LoRALinear

In this lesson you turn `nn.Linear` into a LoRA layer. At the end you can explain every decision in it: why $B$ starts at zero and $A$ does not, why the bias is frozen, too, what
$\alpha$ does, and why $x$ is multiplied by $A$ first and then by $B$.

*About 70 minutes · difficulty 3 of 5 · builds on: [00](../00_start_here/00_start_here.ipynb) for the layout of a weight,
[03](../03_two_thin_products/03_two_thin_products.ipynb) for the order of the products*

## From memory

Answer these before you open them.

<details><summary>00 · What is the shape of the weight of <code>nn.Linear(64, 10)</code>?</summary>
(10, 64): the outputs come first. The layer multiplies <code>x</code> by the transpose of its weight.
</details>
<details><summary>02 · Attempt #1 adds <code>scaling * (A @ B) * x</code>. Which value of which matrix makes it equal its base exactly?</summary>
B = 0. Then the update is zero, whatever the operator is. That is how the bug got past its author's test.
</details>
<details><summary>03 · A layer goes from 4,096 to 4,096 features, with rank 8. Why is <code>(x @ A) @ B</code> cheaper than <code>x @ (A @ B)</code>?</summary>
The first computes only 8 numbers for each row in between. The second computes a matrix of 4,096 × 4,096 first, and then multiplies by it.
</details>
"""

# %%
import math

import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.digits import accuracy, digits
from autograde.lesson_kit.predictions import show_prediction
from autograde.lesson_kit.starts import plot_starts

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first

You freeze a trained layer and put two thin matrices beside it: $A$ of shape $(d, r)$ and $B$ of shape $(r, k)$. Only these two will be trained. But before the first step they
need *some* values, and there are four obvious choices.

> For each start: is the layer's output, before any training, still exactly the base's? And will training get anywhere?

Answer with `True` or `False`, and go on. When you have built the layer, you will try all four.
"""

# %%
my_prediction = {
    # start:          (starts as its base, learns)
    "A zero, B zero": ("?", "?"),
    "A random, B zero": ("?", "?"),
    "A zero, B random": ("?", "?"),
    "A random, B random": ("?", "?"),
}

# %% [markdown]
r"""
## A worked example, small enough to check by hand

The layer computes, for a row $x$ of $d$ numbers,

$$h = \text{base}(x) + \frac{\alpha}{r} \, (x A) \, B .$$

Take $d = 3$, $k = 2$, $r = 2$, $\alpha = 1$, and

$$
x = \begin{pmatrix} 1 & 2 & 3 \end{pmatrix} \quad
A = \begin{pmatrix} 1 & 0 \\ 0 & 1 \\ 1 & 1 \end{pmatrix} \quad
B = \begin{pmatrix} 1 & 0 \\ 2 & -1 \end{pmatrix} \quad
\text{base}(x) = \begin{pmatrix} 6 & 102 \end{pmatrix}
$$

The four steps are those of lessons [02](../02_the_bug/02_the_bug.ipynb) and [03](../03_two_thin_products/03_two_thin_products.ipynb). Two are done here. Do the other two on paper,
then open the answer.

1. **shape** · $(1, 3)$ times $(3, 2)$ times $(2, 2)$: three numbers go in, there are two in the middle, and two come out.
2. **product** · $xA = (1 + 3, \; 2 + 3) = (4, 5)$, and then $(xA)B = (4 + 10, \; -5) = (14, -5)$.
3. **scale** · do it yourself: what is $\alpha / r$, and what does $(14, -5)$ become?
4. **add** · do it yourself: what is $h$?

<details><summary>Steps 3 and 4</summary>
α / r = 1/2, so the update is (7, −2.5), and h = (6 + 7, 102 − 2.5) = (13, 99.5).
</details>
"""

# %% [markdown]
r"""
## Why one matrix is zero and the other is not

Let $g$ be the gradient of the loss with respect to the output $h$, and $s = \alpha / r$. By the chain rule, the gradient of each matrix has the *other* matrix as a factor:

$$
\frac{\partial L}{\partial A} = s \, x^\top (g B^\top)
\qquad\qquad
\frac{\partial L}{\partial B} = s \, (x A)^\top g
$$

Set $A$, $B$ or both to zero in these two formulas and see what is left. The next cell does it for one random row, the four starts, and $s = 1$.
"""

# %% demonstration=true
torch.manual_seed(4)
# one row of d = 6 numbers; the gradient at k = 5 outputs
x, g = torch.randn(1, 6), torch.randn(1, 5)
random_A, random_B = torch.randn(6, 3), torch.randn(3, 5)

for start, scale_A, scale_B in [
    ("zero, zero", 0, 0),
    ("random, zero", 1, 0),
    ("zero, random", 0, 1),
    ("random, random", 1, 1),
]:
    A, B = scale_A * random_A, scale_B * random_B
    size_A = (x.T @ (g @ B.T)).norm()  # (d, 1) @ ((1, k) @ (k, r)) -> (d, r)
    size_B = ((x @ A).T @ g).norm()  # (r, 1) @ (1, k) -> (r, k)
    print(f"A, B = {start:15}  gradient of A {size_A:6.2f}   gradient of B {size_B:6.2f}")

# %% [markdown]
r"""
With both zero, both gradients are zero, at this step and at every later one: such a layer never learns. With $A$ random and $B$ zero, $B$ moves first, and from the second step
on $A$ moves too. So this is what a healthy new LoRA layer looks like: **the gradient of $B$ is not zero, the gradient of $A$ is, and the output is the base's**.

The paper (Hu et al. 2021, section 4.1) draws $A$ from a Gaussian and sets $B$ to zero. The other way round starts from the base as well. A later study found that $A$ random with $B$
zero does better on average and allows larger learning rates (arXiv 2406.08447).
"""

# %% [markdown]
r"""
## Exercise: `LoRALinear`

*About 25 minutes · difficulty 3 of 5 · 8 points, in four checks*

Write the layer. There are five things to do:

- keep the base, and freeze **all** of it: its weight, and its bias if it has one;
- make $A$ and $B$, on the base's device and in its dtype, so that an optimiser finds them and `.to()` moves them;
- start them as above; any sensible width of the Gaussian is right;
- keep `scaling`, which is $\alpha / r$;
- compute $h$, for an $x$ with any number of leading axes.

You do not have to do all five before you run a check. All four checks need `lora_A` and `lora_B` in their shapes. Beyond that:

| check | needs | looks at |
|---|---|---|
| `lora_linear_init` | nothing else | how $A$ and $B$ start |
| `lora_linear_placement` | nothing else | their dtype and device, at first and after `.to()` |
| `lora_linear_freeze` | `base_layer` | what requires a gradient; with `forward`, also what two optimiser steps change |
| `lora_linear_forward` | everything | output, gradients and `scaling`; it moves your layer to the dtype of `x` first, so a wrong dtype costs you nothing here |

Two spellings are equally right: `nn.Parameter`s of shape $(d, r)$ and $(r, k)$, or two `nn.Linear`s without bias. Build the layer here; importing it from `lora_ref` is refused
when your work is graded.

<details><summary>Hint 1: what to look at</summary>
<code>base_layer.in_features</code>, <code>base_layer.out_features</code> and <code>base_layer.weight</code> tell you every size, the dtype and the
device that you need. Print them for an <code>nn.Linear(5, 7, dtype=torch.float64)</code>.
</details>
<details><summary>Hint 2: the idea</summary>
A module registers the <code>nn.Parameter</code>s and the modules that are assigned to its attributes. An optimiser may change whatever requires a gradient, so nothing in the base may require one. That takes one call, or a loop over its parameters.
</details>
<details><summary>Hint 3: nearly there</summary>
Most functions that make tensors take <code>dtype=</code> and <code>device=</code>, <code>torch.randn</code> and <code>torch.zeros</code> among them. In <code>forward</code>,
go through the four steps of the worked example in their order; only the last one involves the base.
</details>
"""


# %% exercise="LoRALinear"
class LoRALinear(nn.Module):
    """A frozen ``nn.Linear`` with a trainable update: h = base(x) + scaling * (x A) B.

    Args:
        base_layer: an ``nn.Linear`` from d to k features, with or without bias.
        rank: r, at least 1.
        alpha: a number; the update is scaled by alpha / rank.

    Attributes:
        base_layer: the layer that was passed in, frozen.
        lora_A: ``nn.Parameter`` of shape (d, r), or ``nn.Linear(d, r)`` without bias. Random
            at the start.
        lora_B: ``nn.Parameter`` of shape (r, k), or ``nn.Linear(r, k)`` without bias. Zero at
            the start.
        scaling: alpha / rank.
    """

    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        ### BEGIN SOLUTION
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        d, k = base_layer.in_features, base_layer.out_features
        place = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(d, rank, **place) / math.sqrt(d))
        self.lora_B = nn.Parameter(torch.zeros(rank, k, **place))
        ### END SOLUTION

    def forward(self, x):
        """x of shape (..., d) to h of shape (..., k)."""
        ### BEGIN SOLUTION
        update = (x @ self.lora_A) @ self.lora_B  # (..., d) -> (..., r) -> (..., k)
        return self.base_layer(x) + self.scaling * update
        ### END SOLUTION


# %% check="lora_linear_init"
check.lora_linear_init(LoRALinear)

# %% check="lora_linear_freeze"
check.lora_linear_freeze(LoRALinear)

# %% check="lora_linear_forward"
check.lora_linear_forward(LoRALinear)

# %% check="lora_linear_placement"
check.lora_linear_placement(LoRALinear)

# %% [markdown]
r"""
Before it compares, the forward check sets $B$ to random numbers. With $B$ at zero it would see nothing but the base: a layer with a wrong scaling would pass, and on a square
base so would Attempt #1 of lesson [02](../02_the_bug/02_the_bug.ipynb), which multiplies entry by entry. **A test of a LoRA layer that leaves $B$ at zero tests the base.**
"""

# %% [markdown]
r"""
## It even learns: your layer on real digits, from four starts

The next cell trains a small network on 1,400 upright handwritten digits. The new task is the same digits as you would see them in a mirror; 397 more are held out.
"""


# %% demonstration=true
def losses_of_training(model, inputs, classes, steps=100, lr=0.01):
    """Loss before each step of Adam on all rows at once, and after the last one."""
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps + 1):
        loss = nn.functional.cross_entropy(model(inputs), classes)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


def upright(images):
    return images.flatten(1)  # (n, 8, 8) -> (n, 64)


def mirrored(images):
    return images.flip(2).flatten(1)  # left and right exchanged


(images, labels), (held_out_images, held_out_labels) = digits(device)
torch.manual_seed(0)
base = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
losses_of_training(base, upright(images), labels)
base.requires_grad_(False)
for name, view in [("upright", upright), ("mirrored", mirrored)]:
    share = accuracy(base, view(held_out_images), held_out_labels)
    print(f"the base reads {share:.0%} of the held-out {name} digits correctly")

# %% [markdown]
r"""
Now your layer replaces the first `nn.Linear` of that network, with rank 4 and $\alpha = 16$, and learns the mirrored digits from each of the four starts. Everything else is
equal.
"""


# %% demonstration=true alt="Loss on mirrored digits against the steps of the optimiser, from four starts. A circle marks the base. With A and B both zero the loss stays at the circle for all 100 steps. With A random and B zero, and with A zero and B random, it starts at the circle and falls steeply towards zero. With both random it starts far above the circle, at twice the loss, and then falls too."
def start_with(layer, A_is_random, B_is_random):
    """Fill A and B of a LoRALinear, however spelt, with zeros or a Gaussian of width 0.3."""
    for adapter, is_random in [(layer.lora_A, A_is_random), (layer.lora_B, B_is_random)]:
        values = adapter.weight if isinstance(adapter, nn.Module) else adapter
        nn.init.normal_(values, std=0.3 if is_random else 0.0)


show_prediction(
    my_prediction,
    guess={
        "A zero, B zero": (True, True),
        "A random, B zero": (True, True),
        "A zero, B random": (True, True),
        "A random, B random": (False, False),
    },
)
print("\n                    starts as its base  learns  reads upright  reads mirrored")
print("                                                at the start   after training")
curves = {}
for start in my_prediction:
    torch.manual_seed(1)
    layer = LoRALinear(base[0], rank=4, alpha=16)
    start_with(layer, A_is_random="A random" in start, B_is_random="B random" in start)
    model = nn.Sequential(layer, *base[1:])
    starts_as_base = torch.equal(model(mirrored(images)), base(mirrored(images)))
    before = accuracy(model, upright(held_out_images), held_out_labels)
    curves[start] = losses_of_training(model, mirrored(images), labels)
    learns = curves[start][-1] < 0.9 * curves[start][0]
    after = accuracy(model, mirrored(held_out_images), held_out_labels)
    print(
        f"{start:19} {starts_as_base!s:19} {learns!s:7} {before:12.0%} {after:15.0%}",
    )
trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
whole = sum(p.numel() for p in base.parameters())
print(f"\n{trained} numbers train beside a network of {whole:,}: {trained / whole:.1%}")
base_loss = nn.functional.cross_entropy(base(mirrored(images)), labels).item()
plot_starts(curves, base_loss)

# %% [markdown]
r"""
The first row is the surprising one. With both matrices zero the output is exactly the base's, so it is tempting to expect that training goes on from there. But both gradients
are zero, and the dotted line stays flat. No error tells you so: the layer runs, its loss is finite, and its values never change.

In the last row it is tempting to expect that the noise prevents learning. It does not: the layer learns. But before the first step the noise has already cost the network half of
the upright digits, and its first steps only repair that damage.

The two starts in between give exactly the base's output, and both learn. One small task with one seed cannot tell which of them is better. And look at the price: your layer
trains 8 % as many numbers as the network has, and the network goes from 46 % of the mirrored digits to more than 90 %.
"""

# %% [markdown]
r"""
## What alpha does

$\alpha$ sets the size of the update. Dividing by $r$ keeps that size about the same when you change the rank. To see this, take one step of Adam from a new layer, for ranks from
1 to 64. Adam moves every entry of $B$ by about the learning rate, whatever the rank, and each of the $r$ rows of $B$ adds its share to the output. How far does the output of a
row move? For one row that depends on the random numbers in $A$, so the next cell takes the average over 400 rows, each with a new layer (this takes about ten seconds).
"""


# %% demonstration=true
def first_step(rank, alpha, rows=400):
    """How far one step of Adam moves the output of a row: a norm, the average over rows."""
    torch.manual_seed(2)
    wide = nn.Linear(256, 256).to(device)
    moved = 0.0
    for row in torch.randn(rows, 1, 256, device=device):
        layer = LoRALinear(wide, rank=rank, alpha=alpha)
        start_with(layer, A_is_random=True, B_is_random=False)
        before = layer(row).detach()
        adapters = [p for p in layer.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(adapters, lr=0.01)
        layer(row).sum().backward()
        optimiser.step()
        moved += (layer(row) - before).norm().item()
    return moved / rows


print("rank   alpha = 8, so scaling = 8 / rank   alpha = rank, so scaling = 1")
for rank in (1, 4, 16, 64):
    print(
        f"{rank:4}   {first_step(rank, alpha=8):27.1f}   {first_step(rank, alpha=rank):34.1f}",
    )

# %% [markdown]
r"""
With $\alpha$ fixed, the first step is about as large at rank 64 as at rank 1. Without the division it grows with the rank, and every new rank would need a new learning rate. The paper sets
$\alpha$ to the first rank that it tries and does not tune it (section 4.1). This is the *first* step only: a later paper finds that with $\alpha / r$ learning slows as the rank
grows, and argues for $\alpha / \sqrt r$ (rsLoRA, arXiv 2312.03732). Lesson [11](../11_ecosystem/11_ecosystem.ipynb) comes back to that.

### A mistake that stayed for months

Code that leaves out the `/ r` is easy to write and hard to notice. The LoRA chapter of a widely read book had it until a reader reported it ([rasbt/LLMs-from-scratch, issue
821](https://github.com/rasbt/LLMs-from-scratch/issues/821)). A year later the same formula was still in other parts of that repository
([1079](https://github.com/rasbt/LLMs-from-scratch/issues/1079), fixed in [1080](https://github.com/rasbt/LLMs-from-scratch/pull/1080)). The test of that code ran only at the
start, where $B$ is zero. With rank and alpha both 16, as in one of the book's exercises, what does the missing `/ r` change? The next cell makes such a layer out of yours.
"""

# %% demonstration=true
torch.manual_seed(5)
linear, row = nn.Linear(8, 6), torch.randn(1, 8)
right = LoRALinear(linear, rank=16, alpha=16)
published = LoRALinear(linear, rank=16, alpha=16 * 16)  # 16 is left when you divide by 16
published.load_state_dict(right.state_dict())
print("factors:", right.scaling, "and", published.scaling)
print("at the start, the same output:", torch.equal(right(row), published(row)))
for layer in (right, published):
    torch.manual_seed(6)
    start_with(layer, A_is_random=True, B_is_random=True)
ratio = (published(row) - linear(row)).norm() / (right(row) - linear(row)).norm()
print(f"as soon as B is not zero, the update is {ratio:.0f} times as large")

# %% [markdown]
r"""
The factor is 16, where 1 is right. Only $B = 0$ hid the mistake. The fix keeps old results by changing alpha, in the author's own words: "assume in the exercise we have rank=16,
so we change alpha from 16 to 256. The effective multiplier stays the same because 256 / 16 = 16" (pull request 1080).
"""

# %% [markdown]
r"""
## Exercise: `leaked_parameters`

*About 8 minutes · difficulty 2 of 5 · 2 points*

A textbook's layer goes from 512 to 512 features with rank 4, and freezes the base's *weight*. Its adapters have $4 \cdot (512 + 512) = 4096$ parameters. The code counts what
trains and labels the result "Trainable Parameters (A+B)", but it prints another number:
"""

# %% demonstration=true
textbook = nn.Module()
textbook.base_layer = nn.Linear(512, 512)
textbook.base_layer.weight.requires_grad = False
textbook.lora_A = nn.Parameter(torch.empty(512, 4))
textbook.lora_B = nn.Parameter(torch.empty(4, 512))
print(sum(p.numel() for p in textbook.parameters() if p.requires_grad), "numbers train")

# %% [markdown]
r"""
The other 512 are the bias, which changes with every step. So switching the adapter off no longer gives back the model that you started from, and two adapters that were trained
on one base can no longer share it.

Write the function that finds such leaks, by name.

<details><summary>Hint 1: what to look at</summary>
Print <code>name, parameter.requires_grad</code> for every <code>name, parameter</code> in <code>textbook.named_parameters()</code>.
</details>
<details><summary>Hint 2: the idea</summary>
Two conditions must hold for a leak: it trains, and it is not one of the two adapters.
</details>
<details><summary>Hint 3: nearly there</summary>
When an adapter is an <code>nn.Linear</code>, its parameter is called <code>lora_A.weight</code>. How does every adapter's name begin?
</details>
"""


# %% exercise="leaked_parameters"
def leaked_parameters(layer):
    """The names of the parameters that train and should not.

    Args:
        layer: a module with ``base_layer``, ``lora_A`` and ``lora_B`` (each an
            ``nn.Parameter`` or a bias-free ``nn.Linear``). Only the adapters' parameters may
            require a gradient.

    Returns:
        A list of names, as ``layer.named_parameters()`` gives them, in any order; empty when
        nothing leaks.
    """
    ### BEGIN SOLUTION
    adapters = ("lora_A", "lora_B")
    return [
        name
        for name, parameter in layer.named_parameters()
        if parameter.requires_grad and name.split(".")[0] not in adapters
    ]
    ### END SOLUTION


# %% check="leaked_parameters"
check.leaked_parameters(leaked_parameters)

# %% demonstration=true
print("the textbook leaks", leaked_parameters(textbook))

# %% [markdown]
r"""
## Exercise: `to_linear_weights`

*About 5 minutes · difficulty 1 of 5 · 1 point*

Many libraries, PEFT among them, keep the adapters as two `nn.Linear`s. To move yours there, you need the weights of those layers. Compute them from $A$ and $B$.

<details><summary>Hint 1: what to look at</summary>
Lesson 00: in which order does <code>nn.Linear(d, r)</code> keep the sizes of its weight?
</details>
<details><summary>Hint 2: the idea</summary>
<code>nn.Linear</code> multiplies by its weight the other way round. Which operation undoes that?
</details>
<details><summary>Hint 3: nearly there</summary>
Do the same thing to each of the two, and keep their order.
</details>
"""


# %% exercise="to_linear_weights"
def to_linear_weights(lora_A, lora_B):
    """The weights with which two bias-free ``nn.Linear``s in a row compute (x A) B.

    Args:
        lora_A: tensor of shape (d, r).
        lora_B: tensor of shape (r, k).

    Returns:
        Two tensors: the first layer's weight, (r, d), and the second layer's, (k, r).
    """
    ### BEGIN SOLUTION
    return lora_A.T, lora_B.T
    ### END SOLUTION


# %% check="to_linear_weights"
check.to_linear_weights(to_linear_weights)

# %% [markdown]
r"""
## What to remember

- $B$ zero: the layer starts as its base. $A$ random: with both zero nothing would ever learn.
- Freeze the base's weight **and** its bias; then count, or list, what trains.
- The update is scaled by $\alpha / r$. Test a LoRA layer with $B \ne 0$, $\alpha \ne r$ and $d \ne k$: $B = 0$ hides every mistake in the update, $\alpha = r$ a missing scaling, $d = k$ a wrong
  layout.

**Next:** [05 · Counting](../05_counting/05_counting.ipynb) does the arithmetic behind "10,000 times fewer parameters".
"""
