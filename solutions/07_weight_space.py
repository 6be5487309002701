# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 07 · Weight space

At the end of this lesson you can put LoRA on any layer that has a weight, convolutions included, without writing a layer
for each of them; and you can tell from one number, the rank, whether an update is LoRA at all.

*About 45 minutes · difficulty 3 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb) and
[06 · Merging](../06_merging/06_merging.ipynb)*

## From memory

Answer these before you open them.

<details><summary>01 · A is (64, 3) and B is (3, 48). What is the largest rank that their product can have?</summary>
3. It has 64 rows and 48 columns, and all of them are combinations of three.
</details>
<details><summary>03 · Why does LoRALinear multiply x by A first, and not A by B?</summary>
The product of A and B is as large as the weight. Making it costs about as much as the layer itself.
</details>
<details><summary>06 · What happens to a frozen weight when you add the update to it outside of no_grad?</summary>
It becomes part of a graph: it requires a gradient, is no leaf any more, and has a grad_fn.
</details>
"""

# %%
import copy
import inspect
import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.utils import parametrize

from autograde import check
from autograde.lesson_kit.digits import accuracy, digits, turned
from autograde.lesson_kit.predictions import show_prediction
from autograde.lesson_kit.published import LoRA

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
## Predict first

`LoRALinear` knows one kind of layer. A convolution has a weight too, but its `forward` has no place for $A$ and $B$. There
is another way to write LoRA: leave the layer alone and adapt its **weight**. A small module takes the weight and returns the
adapted one; torch puts it in front of the weight of any layer, and whoever reads `layer.weight` gets what the module
returns.

`LoRA`, imported above, is such a module, exactly as somebody published it. The next cell trains a small convolutional
network on upright digits, freezes it, and puts `LoRA` in front of its second convolution. Then it trains nothing but the
module's `A` and `B`, for 100 steps of Adam, on digits turned by 30°. Nothing raises.

> What does the loss do in these 100 steps: does it fall, rise or stay?
"""

# %%
my_prediction = "?"


# %% demonstration=true
def small_network():
    """Two convolutions and a linear layer: (n, 1, 8, 8) to ten logits."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 10),
    ).to(device)


def losses_of_training(model, x, y, lr=0.01, steps=100):
    """The loss before each step of Adam, 64 rows at a time; trains what requires gradients."""
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(steps):
        rows = torch.randint(len(x), (64,), generator=generator).to(x.device)
        loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return losses


(x, y), (x_held_out, y_held_out) = digits(device)
upright, tilted = x[:, None], turned(x, 30)[:, None]  # (1400, 1, 8, 8)
upright_held_out, tilted_held_out = x_held_out[:, None], turned(x_held_out, 30)[:, None]

torch.manual_seed(0)
network = small_network()
losses_of_training(network, upright, y)
network.requires_grad_(False)
for name, images in [("upright", upright_held_out), ("turned", tilted_held_out)]:
    share = accuracy(network, images, y_held_out)
    print(f"the network reads {share:.0%} of the held-out {name} digits")

dead = copy.deepcopy(network)
parametrize.register_parametrization(
    dead[3], "weight", LoRA(16, 8 * 3 * 3, rank=4, device=device)
)
dead_losses = losses_of_training(dead, tilted, y)
print()
show_prediction(my_prediction, guess="it falls")
print(f"the loss of the first 20 steps, on average: {sum(dead_losses[:20]) / 20:.3f}")
print(f"the loss of the last 20 steps:              {sum(dead_losses[-20:]) / 20:.3f}")
moved = [p for p in dead.parameters() if p.requires_grad and p.abs().max() > 0]
print("matrices that are not zero after training:", len(moved))

# %% [markdown]
r"""
It is tempting to expect that it falls: the module has parameters, they require gradients, and the optimiser has them. But
the loss only fluctuates from batch to batch. Here is how the module is made. Which line would you change?
"""

# %% demonstration=true
print(inspect.getsource(LoRA.__init__))

# %% [markdown]
r"""
You have met this in lesson [04](../04_lora_linear/04_lora_linear.ipynb): the gradient of each matrix contains the other one. The rest of the module is correct, and its
idea is a good one. You are going to write a version that learns.

## A worked example, small enough to check by hand

A convolution with one input channel, two output channels and a 2 × 2 kernel has a weight of shape $(2, 1, 2, 2)$. Seen as a
matrix, that is one row for each output: $(2, 4)$. Take $r = 1$, $\alpha = 2$, and

$$
B = \begin{pmatrix} 3 \\ 1 \end{pmatrix} \qquad
A = \begin{pmatrix} 1 & 0 & 2 & -1 \end{pmatrix} \qquad
W = \begin{pmatrix} 10 & 10 & 10 & 10 \\ 20 & 20 & 20 & 20 \end{pmatrix} \text{, as a matrix}
$$

1. **shape** · $(2, 1)$ times $(1, 4)$ is $(2, 4)$. A weight is stored as (out, in), so the outputs come first,
   and $B$ stands on the left. This is the order of the paper.
2. **product** · $BA = \begin{pmatrix} 3 & 0 & 6 & -3 \\ 1 & 0 & 2 & -1 \end{pmatrix}$
3. **scale** · by $\alpha / r = 2$: $\begin{pmatrix} 6 & 0 & 12 & -6 \\ 2 & 0 & 4 & -2 \end{pmatrix}$
4. **add** · each row of the product is shaped like a kernel and added to it. The first kernel becomes
   $\begin{pmatrix} 10 + 6 & 10 + 0 \\ 10 + 12 & 10 - 6 \end{pmatrix}$. Work out the second one yourself.
"""

# %% [markdown]
r"""
## Exercise: `LoRAWeight`

*About 10 minutes · difficulty 2 of 5 · 4 points*

The names are those of the published module, and so are the shapes: `B` is `(in_f, rank)` and `A` is `(rank, out_f)`. Do not
let the names confuse you: `in_f` and `out_f` are the rows and the columns of the weight that comes in. For an `nn.Linear`,
which stores (out, in), `in_f` is the number of *outputs*.

<details><summary>Hint 1: what to look at</summary>
Print <code>.shape</code> for the weight of <code>nn.Linear(5, 3)</code> and of <code>nn.Conv2d(6, 10, (3, 2))</code>. What
does <code>nn.Conv2d(6, 10, (3, 2)).weight.flatten(1).shape</code> say?
</details>
<details><summary>Hint 2: the idea</summary>
The product is a matrix, and the weight may have four axes. Both hold the same numbers in the same order: what is left to do
is to give the product the shape of the weight.
</details>
<details><summary>Hint 3: nearly there</summary>
Three questions for the finished module. When it is new, does it return the weight unchanged, and is one of its matrices not zero?
Switched off, does it return the very tensor that came in? And when it is on, does that tensor keep its values?
</details>
"""


# %% exercise="LoRAWeight"
class LoRAWeight(nn.Module):
    """Takes a weight and returns the adapted one: wts plus scale times the product of B and A.

    Args:
        in_f, out_f: rows and columns of the weight, seen as a matrix.
        rank: r, at least 1.
        alpha: a number; scale is alpha / rank.
        device: where A and B are made.

    Attributes:
        A: nn.Parameter of shape (rank, out_f).
        B: nn.Parameter of shape (in_f, rank). At the start one of the two is zero and the
            other random.
        scale: alpha / rank.
        en: True at the start; while it is False, the module changes nothing.
    """

    def __init__(self, in_f, out_f, rank=1, alpha=1, device="cpu"):
        super().__init__()
        ### BEGIN SOLUTION
        self.A = nn.Parameter(torch.randn(rank, out_f, device=device) / out_f**0.5)
        self.B = nn.Parameter(torch.zeros(in_f, rank, device=device))
        self.scale = alpha / rank
        self.en = True
        ### END SOLUTION

    def forward(self, wts):
        """The adapted weight.

        Args:
            wts: tensor with in_f * out_f entries, in any shape such as (in_f, out_f) or
                (in_f, channels, kh, kw).

        Returns:
            A new tensor of the shape of wts; wts itself while `en` is False. The values of
            wts are left as they are.
        """
        ### BEGIN SOLUTION
        if not self.en:
            return wts
        change = self.B @ self.A  # (in_f, r) @ (r, out_f) -> (in_f, out_f)
        return wts + self.scale * change.view(wts.shape)
        ### END SOLUTION


# %% check="LoRAWeight"
check.LoRAWeight(LoRAWeight)

# %% [markdown]
r"""
The worked example, in your module. Was your second kernel right?
"""

# %% demonstration=true
by_hand = LoRAWeight(2, 4, rank=1, alpha=2)
with torch.no_grad():
    by_hand.A.copy_(torch.tensor([[1.0, 0.0, 2.0, -1.0]]))
    by_hand.B.copy_(torch.tensor([[3.0], [1.0]]))
    W = torch.tensor([10.0, 20.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    print(by_hand(W).tolist())

# %% [markdown]
r"""
And the experiment from the beginning once more: the same network, the same batches, your module.
"""

# %% demonstration=true alt="Line chart of the loss on turned digits against the step of the optimiser, for two modules. With both matrices zero, a dashed line wobbles about its starting value for all 100 steps. With one of them random, a solid line starts at the same value and falls steeply."
torch.manual_seed(1)
alive = copy.deepcopy(network)
fixed = LoRAWeight(16, 8 * 3 * 3, rank=4, device=device)
parametrize.register_parametrization(alive[3], "weight", fixed)
alive_losses = losses_of_training(alive, tilted, y)
print(f"the loss of the last 20 steps, as published: {sum(dead_losses[-20:]) / 20:.3f}")
print(f"the loss of the last 20 steps, fixed:        {sum(alive_losses[-20:]) / 20:.3f}")
before, after = (accuracy(m, tilted_held_out, y_held_out) for m in (network, alive))
print(f"turned digits read: {before:.0%} before, {after:.0%} after")
fixed.en = False
print(
    "switched off, it computes the same as before:",
    torch.equal(alive(upright), network(upright)),
)

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
axis.plot(dead_losses, "--", color="0.5", label="both matrices zero, as published")
axis.plot(alive_losses, color="black", label="one of them random")
axis.set(xlabel="step of the optimiser", ylabel="cross-entropy, turned digits", ylim=(0, None))
axis.legend()
plt.show()

# %% [markdown]
r"""
### Experiment: the sizes swapped

It is easy to mistake `in_f` and `out_f` for a layer's in and out features. Then the module gets its sizes the wrong way
round. For a weight of $(12, 8)$, the product is $(8, 12)$; both have 96 entries, so `.view` gives it the right shape and
nothing raises.

> The module has rank 2. What is the rank of the change that it makes with the correct sizes, `LoRAWeight(12, 8, rank=2)`? And
> with the sizes swapped, `LoRAWeight(8, 12, rank=2)`?
"""

# %%
my_second_prediction = {"correct": "?", "swapped": "?"}

# %% demonstration=true alt="Two heat maps of a change of a 12 by 8 weight, in grey. Left, with the correct sizes: every row is a combination of the same two patterns, so that the columns look alike up to sign and strength. Right, with the sizes swapped: no such structure. The titles give the ranks 2 and 8."
torch.manual_seed(3)
weight = torch.randn(12, 8)
show_prediction(my_second_prediction, guess={"correct": "2", "swapped": "2"})
figure, axes = plt.subplots(1, 2, figsize=(7, 4), layout="constrained")
for axis, name, sizes in zip(axes, ("correct", "swapped"), ((12, 8), (8, 12))):
    module = LoRAWeight(*sizes, rank=2)
    with torch.no_grad():
        module.A.normal_()
        module.B.normal_()
        change = module(weight) - weight
    rank = torch.linalg.matrix_rank(change).item()
    print(f"{name}: the change has shape {tuple(change.shape)} and rank {rank}")
    limit = change.abs().max()
    picture = axis.imshow(change, cmap="gray", vmin=-limit, vmax=limit)
    axis.set(
        title=f"{name}: rank {rank}", xlabel="column of the weight", ylabel="row of the weight"
    )
figure.colorbar(picture, ax=axes, label="change")
plt.show()

# %% [markdown]
r"""
2 and 2 is tempting, since $BA$ has rank 2 in both. But `.view` cuts the second product into rows of another length, and that
raises the rank: with the sizes swapped, the update is not low-rank. The module has as many parameters and it trains, so the loss would not tell you. But no other
program understands its $A$ and $B$: if one reads them from a file, it computes something else. **The rank of the
change is the test**, and you can apply it to any code that claims to be LoRA.
"""

# %% [markdown]
r"""
## What torch does with it

`parametrize.register_parametrization(layer, "weight", module)` keeps the Parameter under another name. From then on,
whoever reads `layer.weight` gets a value that `module` computes at that moment:
"""

# %% demonstration=true
layer = nn.Linear(6, 4)
original = layer.weight
parametrize.register_parametrization(layer, "weight", LoRAWeight(4, 6, rank=2))
for name, parameter in layer.named_parameters():
    print(f"{name:36} {str(tuple(parameter.shape)):8} requires_grad {parameter.requires_grad}")
kept = layer.parametrizations.weight.original
print("the original is the Parameter that was there:", kept is original)
print("layer.weight is a Parameter:", isinstance(layer.weight, nn.Parameter))

# %% [markdown]
r"""
Look at the first two lines. What follows from `requires_grad True` there?

> A layer is called three times. How many times is the weight worked out? And within `with parametrize.cached():`?
"""

# %%
my_third_prediction = {"three calls": "?", "three calls, cached": "?"}


# %% demonstration=true
class Counted(LoRAWeight):
    times = 0

    def forward(self, wts):
        self.times += 1
        return super().forward(wts)


layer = nn.Linear(6, 4)
parametrize.register_parametrization(layer, "weight", Counted(4, 6, rank=2))
counted, row = layer.parametrizations.weight[0], torch.ones(1, 6)
show_prediction(my_third_prediction, guess={"three calls": "1", "three calls, cached": "1"})
counted.times = 0
for _ in range(3):
    layer(row)
print("three calls:        ", counted.times)
counted.times = 0
with parametrize.cached():
    for _ in range(3):
        layer(row)
print("three calls, cached:", counted.times)
with torch.no_grad(), parametrize.cached():
    first = layer(row)
    counted.B.fill_(1.0)
    print("cached, B changed meanwhile, still the old output:", torch.equal(layer(row), first))

# %% [markdown]
r"""
`layer.weight` looks like a stored value, so once is tempting. But it is computed anew at each access.

That is the price of this design. `LoRALinear` never computes the product $BA$; here it is computed at every call, and it is as large as the weight.
The cost does not depend on how many rows come in: it matters little for a large batch, and much for a single row.
Use `cached()` while nothing learns: in one forward pass that uses a weight often, or in evaluation.
"""

# %% [markdown]
r"""
## Exercise: `adapt_weight`

*About 12 minutes · difficulty 3 of 5 · 4 points*

One function for three kinds of layer. All of them keep their outputs first:

| layer | shape of the weight | as a matrix |
|---|---|---|
| `nn.Linear(6, 10)` | (10, 6) | (10, 6) |
| `nn.Conv2d(6, 10, (3, 2))` | (10, 6, 3, 2) | (10, 36) |
| `nn.Conv2d(6, 10, (3, 2), groups=2)` | (10, **3**, 3, 2) | (10, 18) |

In a grouped convolution each output sees only the inputs of its own group, so its kernel is shorter. One pair $A$, $B$
serves all groups.

<details><summary>Hint 1: what to look at</summary>
The weight itself knows everything that you need: its shape, its dtype, its device. You need not ask the layer for its
channels or groups at all.
</details>
<details><summary>Hint 2: the idea</summary>
Three steps: refuse what is adapted already, freeze what the layer has, register the module. The list of parameters under
"What torch does with it" shows why the second step is needed.
</details>
<details><summary>Hint 3: nearly there</summary>
Once the module is registered, the layer's parameters are not only its own any more: mind the order in which you freeze and
register. And <code>LoRAWeight</code> makes float32; a layer in float64 wants an adapter in float64. What moves a module to
another dtype?
</details>
"""


# %% exercise="adapt_weight"
def adapt_weight(module, rank, alpha):
    """Put LoRA on the weight of a layer, in place.

    Args:
        module: an nn.Linear or an nn.Conv2d, which may be grouped, with or without bias, in
            any float dtype.
        rank: r, at least 1.
        alpha: a number.

    Returns:
        The module. A LoRAWeight in the weight's dtype and on its device is registered as a
        parametrisation of its weight: `parametrize.is_parametrized(module, "weight")` is True.
        Its A and B train; the module's own weight and bias do not.

    Raises:
        ValueError: the weight is parametrised already. Then nothing has changed.
    """
    ### BEGIN SOLUTION
    if parametrize.is_parametrized(module, "weight"):
        raise ValueError("this weight is adapted already")
    module.requires_grad_(False)
    weight = module.weight
    rows = weight.shape[0]
    lora = LoRAWeight(rows, weight.numel() // rows, rank, alpha, weight.device)
    parametrize.register_parametrization(module, "weight", lora.to(weight.dtype))
    return module
    ### END SOLUTION


# %% check="adapt_weight"
check.adapt_weight(adapt_weight)

# %% [markdown]
r"""
### Experiment: three LoRAs of one convolution

For a convolution with 3 × 3 kernels, three forms are in use. All three are called "rank 2".

1. **Flattened**, as in your function: $B$ is (10, 2), $A$ is (2, 54), and their product is a weight of (10, 6, 3, 3).
2. **Two convolutions**: one with 3 × 3 kernels from 6 channels to 2, and a 1 × 1 convolution from there to 10. Their output
   is added to the base's. This is what PEFT does.
3. **An old library's form**, which many copied: $A$ is $(r k, \text{in} \cdot k)$ and $B$ is $(\text{out} \cdot k, r k)$,
   with $k = 3$; their product has as many entries as the weight and is given its shape by `.view`.

> Which of them compute the same? And what is the rank of the change in each, as a matrix of (10, 54)?
"""

# %%
my_fourth_prediction = {"the same": "?", "rank 1.": "?", "rank 2.": "?", "rank 3.": "?"}

# %% demonstration=true alt="Bar chart of the ten singular values of the change of a convolution's weight, for two forms of LoRA that are both called rank 2. Flattened, or as two convolutions: two values and then nothing. The old library's form: ten values that fall slowly, none of them zero."
torch.manual_seed(5)
inputs, outputs, k, r = 6, 10, 3, 2
make = {"dtype": torch.float64}
A, B = torch.randn(r, inputs * k * k, **make), torch.randn(outputs, r, **make)
old_A, old_B = torch.randn(r * k, inputs * k, **make), torch.randn(outputs * k, r * k, **make)
image = torch.randn(1, inputs, 8, 8, **make)

flattened = (B @ A).view(outputs, inputs, k, k)
old = (old_B @ old_A).view(outputs, inputs, k, k)
conv = nn.functional.conv2d
in_one = conv(image, flattened)
in_two = conv(conv(image, A.view(r, inputs, k, k)), B.view(outputs, r, 1, 1))
show_prediction(
    my_fourth_prediction,
    guess={"the same": "all three", "rank 1.": "2", "rank 2.": "2", "rank 3.": "2"},
)
print("1. and 2. compute the same:", torch.allclose(in_one, in_two))
values = {}
for name, change, numbers in [
    ("1. and 2.", flattened, A.numel() + B.numel()),
    ("3.", old, old_A.numel() + old_B.numel()),
]:
    matrix = change.flatten(1)
    values[name] = torch.linalg.svdvals(matrix)
    rank = torch.linalg.matrix_rank(matrix).item()
    print(f"{name:9} {numbers} parameters, rank {rank} of at most {min(matrix.shape)}")

figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
place = torch.arange(1, 11)
names = ("1. and 2.: flattened, or two convolutions", "3.: the old library's form")
for shift, shade, name, value in zip((-0.2, 0.2), ("black", "0.75"), names, values.values()):
    axis.bar(place + shift, value, width=0.4, color=shade, edgecolor="black", label=name)
axis.set(xlabel="singular value, the largest first", ylabel="size", xticks=place)
axis.legend()
plt.show()

# %% [markdown]
r"""
All three are called rank 2, so it is tempting to expect the same of all. The first two are the same thing written in two ways: convolving with a kernel that is a product is the same as two convolutions in a row.
The third one is a different kind of update. With r = 2 it has more parameters, and its change has full rank; here r
is a *size*, not a rank. That does not make it bad. But "r = 2" may mean different things in two papers, and one library
cannot read the file of the other.
"""

# %% [markdown]
r"""
## Exercise: `fold`

*About 5 minutes · difficulty 2 of 5 · 2 points*

Training is over. The layer should be a plain one again, with the change in its weight: lesson [06](../06_merging/06_merging.ipynb)'s merge, in weight space.
Torch has a function that undoes a parametrisation. Read its documentation (`help`) for what it leaves behind.

<details><summary>Hint 1: what to look at</summary>
<code>help(parametrize.remove_parametrizations)</code> describes two cases. In which of them is the change in the weight?
</details>
<details><summary>Hint 2: the idea</summary>
It is one call. You still have to find out what that call does with a module that has no parametrisation, and whether
something needs to be frozen or unfrozen afterwards. Try it on a layer with a frozen weight and a bias that trains.
</details>
<details><summary>Hint 3: nearly there</summary>
When you are done, <code>type(module)</code> is the class that the layer had before it was adapted, and the names of its
parameters are <code>weight</code> and <code>bias</code>, nothing else.
</details>
"""


# %% exercise="fold"
def fold(module):
    """Leave the adapted weight in the module and take the parametrisation out, in place.

    Args:
        module: as `adapt_weight` returns it, perhaps trained since.

    Returns:
        The module: a plain nn.Linear or nn.Conv2d again, A and B gone. Its weight is a leaf
        Parameter that holds the adapted values (the original ones, where `en` was False).
        Weight and bias train, or do not, as before the call.

    Raises:
        ValueError: the module's weight has no parametrisation.
    """
    ### BEGIN SOLUTION
    parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return module
    ### END SOLUTION


# %% check="fold"
check.fold(fold)

# %% [markdown]
r"""
Now the whole network from the beginning: LoRA of rank 4 on both convolutions and on the linear layer, trained on turned
digits, and folded.
"""

# %% demonstration=true
torch.manual_seed(2)
whole = copy.deepcopy(network)
for module in list(whole):
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        adapt_weight(module, rank=4, alpha=4)
trained = sum(p.numel() for p in whole.parameters() if p.requires_grad)
total = sum(p.numel() for p in network.parameters())
losses_of_training(whole, tilted, y)
before = whole(tilted_held_out)
print(f"{trained:,} numbers trained, beside {total:,} that the network has")
print(f"turned digits read: {accuracy(whole, tilted_held_out, y_held_out):.0%}")
for module in list(whole):
    if parametrize.is_parametrized(module):
        fold(module)
print("folded:", [type(module).__name__ for module in whole])
print("the same outputs, to the last bit:", torch.equal(whole(tilted_held_out), before))

# %% [markdown]
r"""
### One more surprise

You want to fold a layer for a test and go on training the original. So you copy it first.

> `folded = fold(copy.deepcopy(layer))`. Which of the two layers works afterwards?
"""

# %%
my_fifth_prediction = {"the original": "?", "the folded copy": "?"}

# %% demonstration=true
torch.manual_seed(4)
layer = adapt_weight(nn.Linear(6, 4), rank=2, alpha=4)
twin = copy.deepcopy(layer)
print("before folding, both have the class:", type(layer) is type(twin), type(layer).__name__)
folded = fold(twin)
show_prediction(
    my_fifth_prediction, guess={"the original": "works", "the folded copy": "works"}
)
for name, each in [("the folded copy", folded), ("the original", layer)]:
    try:
        each(torch.ones(1, 6))
        print(f"{name:16} works")
    except Exception as error:
        print(f"{name:16} {type(error).__name__}: {error}")

# %% [markdown]
r"""
"Both work" is tempting, since a deep copy is said to share nothing with its original. But here it shares one thing: its class. To make
`layer.weight` a computed value, torch makes a new *class* for the layer, and the copy has the same one. Removing the
parametrisation takes `weight` out of that class, and so away from every copy. Copy the plain layer *before* you adapt it, or move the
values through a `state_dict`, which works in any case. `fold` in `lora_ref/weight_space.py` gives the module a class of its
own first. It takes one line, and now you know why that line is there.
"""

# %% [markdown]
r"""
## What to remember

- LoRA can sit on the weight: a module takes $W$ and returns $W + \frac{\alpha}{r} BA$, and one such module serves every
  layer that has a weight.
- A convolution's weight is a matrix with one row for each output. Check the **rank** of the change: with a wrong order or a
  wrong size the module still trains, and only the rank shows the mistake.
- The product is computed at each access. That is the price, and `LoRALinear` does not pay it.

**Next:** [08 · Fine-tuning](../08_fine_tuning/08_fine_tuning.ipynb) puts layers into a network and trains it: what does LoRA
buy, and what does it cost?
"""
