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

At the end of this lesson you have turned `nn.Linear` into a LoRA layer, and you can defend every decision in it: why $B$ is zero, why $A$
is not, why the bias is frozen too, what $\alpha$ does, and why the two products are taken one after the other.

*About 70 minutes · difficulty 3 of 5 · builds on: [00](../00_start_here/00_start_here.ipynb) for the layout of a weight,
[03](../03_two_thin_products/03_two_thin_products.ipynb) for the order of the products*
"""

# %%
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first

A trained layer is frozen, and two thin matrices are put beside it: $A$ of shape $(d, r)$, $B$ of shape $(r, k)$. Only they will learn. Before the first
step they must hold *something*, and there are four obvious choices.

> For each start: is the layer's output, before any training, still exactly the base's? And will training get anywhere?

Answer with `True` or `False`, and go on. The lesson comes back to your table when you have built the layer.
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

1. **shape** · $(1, 3)$ meets $(3, 2)$ meets $(2, 2)$: three numbers in, two in the middle, two out.
2. **product** · $xA = (1 + 3, \; 2 + 3) = (4, 5)$, and then $(xA)B = (4 + 10, \; -5) = (14, -5)$.
3. **scale** · $\alpha / r = 1/2$, so the update is $(7, -2.5)$.
4. **add** · $h = (13, \; 99.5)$.

The order of the products is lesson 03's: through the narrow middle, so that no $(d, k)$ matrix is ever made.
"""

# %% [markdown]
r"""
## Why one matrix is zero and the other is not

Let $g$ be the gradient of the loss with respect to the output $h$, and $s = \alpha / r$. The chain rule gives each matrix its own gradient, and each one contains the *other*:

$$
\frac{\partial L}{\partial A} = s \, x^\top (g B^\top)
\qquad\qquad
\frac{\partial L}{\partial B} = s \, (x A)^\top g
$$

Read them with a zero put in. The next cell works both out by these formulas, for one random row and the four starts.
"""

# %%
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
With both zero, both gradients are zero, at this step and at every later one: such a layer never learns. With $A$ random and $B$ zero, $B$ moves first, and from the
second step on $A$ moves too. That is the healthy sign of a fresh LoRA layer: **the gradient of $B$ is not zero, that of $A$ is, and the output is the base's**.

The paper (Hu et al. 2021, section 4.1) draws $A$ from a Gaussian and sets $B$ to zero. The mirror image starts from the base as well; a later study found that $A$ random
with $B$ zero does better on average and allows larger learning rates (arXiv 2406.08447).
"""

# %% [markdown]
r"""
## Exercise: `LoRALinear`

*About 25 minutes · difficulty 3 of 5 · 8 points, in four checks*

Write the layer. There are five things to do, and the checks look at them separately, so you may run them one by one as you go:

- keep the base, and freeze **all** of it: its weight, and its bias if it has one;
- make $A$ and $B$, on the base's device and in its dtype, so that an optimiser finds them and `.to()` moves them;
- start them as above; any sensible width of the Gaussian is right;
- keep `scaling`, which is $\alpha / r$;
- compute $h$, for an $x$ with any number of leading axes.

Two spellings are equally right: `nn.Parameter`s of shape $(d, r)$ and $(r, k)$, or two `nn.Linear`s without bias. Build it here; importing it from `lora_ref` is refused when
your work is graded.

<details><summary>Hint 1: what to look at</summary>
<code>base_layer.in_features</code>, <code>base_layer.out_features</code> and <code>base_layer.weight</code> hold every size, the dtype and the
device that you need. Print them for an <code>nn.Linear(5, 7, dtype=torch.float64)</code>.
</details>
<details><summary>Hint 2: the idea</summary>
A module's parameters are the <code>nn.Parameter</code>s and the modules that are assigned to it as attributes. Whatever requires a gradient will be trained by somebody, so
everything of the base must stop requiring one, in one call or in a loop over its parameters.
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
        base_layer: the layer that was handed in, frozen.
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
The forward check sets $B$ to random numbers before it compares. With $B$ zero it would pass any layer at all: on a square base even Attempt #1 of lesson 02, whose update is the element-wise
product, equals its base exactly until the first step of training. A test of a LoRA layer that leaves $B$ at zero tests the base.
"""

# %% [markdown]
r"""
## Back to your prediction: four starts on real digits

The base is a linear classifier of handwritten digits ($d = 64$ pixels, $k = 10$ classes). The new task is the same digits lying on their side. Your layer
learns it from each of the four starts, with the base frozen; everything else is equal.
"""

# %% demonstration=true
# (1797, 8, 8), from 0 to 1
images = torch.tensor(load_digits().images / 16.0, dtype=torch.float32, device=device)
labels = torch.tensor(load_digits().target, device=device)
upright, sideways = images.flatten(1), images.rot90(dims=(1, 2)).flatten(1)  # (1797, 64) each


def losses_of_training(model, inputs, steps, lr):
    """Loss before each step of Adam on all inputs at once, and after the last one."""
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    losses = []
    for _ in range(steps + 1):
        loss = nn.functional.cross_entropy(model(inputs), labels)
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


torch.manual_seed(0)
base = nn.Linear(64, 10).to(device)
losses_of_training(base, upright, steps=100, lr=0.02)
for name, inputs in [("upright", upright), ("sideways", sideways)]:
    print(
        f"the base classifies {(base(inputs).argmax(1) == labels).float().mean():.0%}",
        f"of the {name} digits",
    )


# %% demonstration=true
def start_with(layer, A_is_random, B_is_random):
    """Fill A and B of a LoRALinear, however spelt, with zeros or a Gaussian of width 0.3."""
    for adapter, is_random in [(layer.lora_A, A_is_random), (layer.lora_B, B_is_random)]:
        values = adapter.weight if isinstance(adapter, nn.Module) else adapter
        nn.init.normal_(values, std=0.3 if is_random else 0.0)


curves = {}
for start in my_prediction:
    torch.manual_seed(1)
    layer = LoRALinear(base, rank=4, alpha=16)
    start_with(layer, A_is_random="A random" in start, B_is_random="B random" in start)
    starts_as_base = torch.equal(layer(sideways), base(sideways))
    curves[start] = losses_of_training(layer, sideways, steps=150, lr=0.01)
    learns = curves[start][-1] < 0.9 * curves[start][0]
    print(
        f"{start:19} you said {str(my_prediction[start]):14}",
        f"and it is {(starts_as_base, learns)}",
    )

# %% demonstration=true alt="Loss on sideways digits against optimiser steps, from four starts. With A and B both zero the loss stays flat at the base's value. With A random and B zero, and with A zero and B random, it starts at the base's value and falls steeply. With both random it falls too, but starts away from the base's value."
styles = {
    "A zero, B zero": ":",
    "A random, B zero": "-",
    "A zero, B random": "--",
    "A random, B random": "-.",
}
figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for start, losses in curves.items():
    axis.plot(
        losses,
        styles[start],
        color="black",
        label=start,
        linewidth=2 if start == "A random, B zero" else 1.2,
    )
base_loss = nn.functional.cross_entropy(base(sideways), labels).item()
axis.plot(0, base_loss, "o", color="black", markerfacecolor="white", label="the base")
axis.set(
    xlabel="step of the optimiser",
    ylabel="cross-entropy, sideways digits",
    title="Four starts, one task",
)
axis.legend()
plt.show()

# %% [markdown]
r"""
Three of the four learn, and two of those start exactly where the base is; one small task does not choose between these two. The dotted line is the one to remember: nothing is wrong with that
layer that an error message would tell you. It runs, its loss is finite, and it will never change.
"""

# %% [markdown]
r"""
## What alpha does

$\alpha$ is how loud the update is. Dividing by $r$ keeps that loudness about the same when you change the rank. Here is one step of Adam from the fresh layer, for ranks from 1 to 64:
Adam moves every entry of $B$ by about the learning rate, whatever the rank, and each of the $r$ rows of $B$ adds its share to the output.
"""


# %% demonstration=true
def first_step(rank, alpha):
    """How far one step of Adam moves the output, as a norm."""
    torch.manual_seed(2)
    wide = nn.Linear(256, 256).to(device)
    layer = LoRALinear(wide, rank=rank, alpha=alpha)
    start_with(layer, A_is_random=True, B_is_random=False)
    row = torch.randn(1, 256, device=device)
    before = layer(row).detach()
    optimiser = torch.optim.Adam([p for p in layer.parameters() if p.requires_grad], lr=0.01)
    layer(row).sum().backward()
    optimiser.step()
    return (layer(row) - before).norm().item()


print("rank   alpha = 8, so scaling = 8 / rank   alpha = rank, so scaling = 1")
for rank in (1, 4, 16, 64):
    print(
        f"{rank:4}   {first_step(rank, alpha=8):27.1f}   {first_step(rank, alpha=rank):34.1f}"
    )

# %% [markdown]
r"""
With $\alpha$ fixed, the size of the step hardly depends on the rank; without the division it grows with it, and every new rank would need a new learning rate. The paper sets $\alpha$ to
the first rank it tries and does not tune it (section 4.1). A later paper argues that for large ranks $\alpha / \sqrt r$ is the better rule (rsLoRA, arXiv 2312.03732): lesson 11 comes back to that.

Code that leaves out the `/ r` is easy to write and hard to notice: a widely read book's LoRA chapter had it for months, because its test kept $B$ at zero and $\alpha$ equal to the rank.
"""

# %% [markdown]
r"""
## Exercise: `leaked_parameters`

*About 8 minutes · difficulty 2 of 5 · 2 points*

A textbook's layer goes from 512 to 512 features with rank 4 and freezes the base's *weight*. Its adapters hold $4 \cdot (512 + 512) = 4096$ numbers. The code that counts what trains prints something else:
"""

# %%
textbook = nn.Module()
textbook.base_layer = nn.Linear(512, 512)
textbook.base_layer.weight.requires_grad = False
textbook.lora_A = nn.Parameter(torch.empty(512, 4))
textbook.lora_B = nn.Parameter(torch.empty(4, 512))
print(sum(p.numel() for p in textbook.parameters() if p.requires_grad), "numbers train")

# %% [markdown]
r"""
Those 512 more are the bias. It changes with every step, so switching the adapter off no longer gives back the model that you started from, and two adapters trained on one base each need a base of their own.

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

# %%
print("the textbook leaks", leaked_parameters(textbook))

# %% [markdown]
r"""
## Exercise: `to_linear_weights`

*About 5 minutes · difficulty 1 of 5 · 1 point*

Many libraries, PEFT among them, keep the adapters as two `nn.Linear`s. To move yours there, you need the weights of those layers.

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

- $B$ zero: the layer starts as its base. $A$ not zero: or nothing would ever learn.
- Freeze the base's weight **and** its bias; then count, or list, what trains.
- The update is scaled by $\alpha / r$. Test a LoRA layer with $B \ne 0$, $\alpha \ne r$ and $d \ne k$, or the test sees nothing.

**Next:** [05 · Counting](../05_counting/05_counting.ipynb) does the arithmetic behind "10,000 times fewer parameters".
"""
