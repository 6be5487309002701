# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 00 · Start here

At the end of this lesson you can say exactly what `nn.Linear` computes, from the layout of its weight, and you know how every lesson
of this course works.

*About 12 minutes · difficulty 1 of 5 · builds on: tensors and matrix products*
"""

# %% [markdown]
r"""
## What this machine has

Run a cell with **Shift + Enter**. Everything in this course runs on a CPU; where there is a CUDA device, it is used.
"""

# %%
import platform

import matplotlib.pyplot as plt
import torch
from torch import nn

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"
print(
    "Python",
    platform.python_version(),
    "· torch",
    torch.__version__.split("+")[0],
    "· device",
    device,
)

# %% [markdown]
r"""
## Predict first

Every lesson opens with a question whose answer surprises many people. Write your guess down *before* you run the answer: a guess that
turns out wrong is what makes the right answer stay.

> `nn.Linear(3, 2)` takes 3 numbers and gives 2. What is the shape of its weight?

Put your two numbers into the next cell, run it, and go on.
"""

# %%
my_prediction = ("?", "?")

# %%
layer = nn.Linear(3, 2)
print("you predicted ", my_prediction)
print("the weight is ", tuple(layer.weight.shape))

# %% [markdown]
r"""
The weight is stored as **(out, in)**: one *row* for each output. You gave `nn.Linear` the sizes in the order (in, out), and it keeps its
weight the other way round.

That is worth a whole lesson because LoRA writes its small matrices in the other order, the one in which an input flows through them: from $d$ numbers to $r$, and from
$r$ to $k$. Every transpose that you will meet in this course comes from here.
"""

# %% [markdown]
r"""
## A worked example, small enough to check by hand

Throughout the course, $d$ is the number of inputs of a layer (`in_features`) and $k$ the number of its outputs (`out_features`). With
$d = 2$ and $k = 3$:

$$
x = \begin{pmatrix} 1 & 10 \end{pmatrix} \qquad
W = \begin{pmatrix} 1 & 2 \\ 3 & 4 \\ 5 & 6 \end{pmatrix} \qquad
b = \begin{pmatrix} 100 & 200 & 300 \end{pmatrix}
$$

1. **shape** · $x$ has $d = 2$ numbers, $W$ is $(k, d) = (3, 2)$, so the result has $k = 3$.
2. **product** · output $j$ takes row $j$ of $W$ and sums over the inputs: $h_j = \sum_i x_i \, W_{ji}$.
   Row 0: $1 \cdot 1 + 10 \cdot 2 = 21$. Row 1: $1 \cdot 3 + 10 \cdot 4 = 43$. Row 2: $1 \cdot 5 + 10 \cdot 6 = 65$.
3. **add** · the bias, one number for each output: $121, 243, 365$.

Later lessons put one more step between the last two, and then the list is complete: **shape → product → scale → add**.
"""

# %%
small = nn.Linear(2, 3)
with torch.no_grad():
    small.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    small.bias.copy_(torch.tensor([100.0, 200.0, 300.0]))
    print(small(torch.tensor([1.0, 10.0])))

# %% [markdown]
r"""
## The picture: a transpose is not a reshape

There are two ways to make a (2, 3) tensor of the six numbers in $W$. Both have the shape you need; only one of them keeps each number beside the input that it
belongs to. Follow the 3: it multiplies *input 0* on its way to *output 1*.
"""

# %% demonstration=true alt="Three grey tables of the numbers 1 to 6. The weight, 3 rows by 2 columns, has 3 at output 1, input 0. Its transpose, 2 by 3, still has every number at its own input and output. The reshape, 2 by 3, has the numbers in reading order, so that 2, 3, 4 and 5 sit at the wrong input or output."
W = small.weight.detach()
tables = [("W, as stored", W), ("transposed", W.mT), ("reshaped", W.reshape(2, 3))]
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for axis, (title, table) in zip(axes, tables):
    axis.imshow(table, cmap="Greys", vmin=0, vmax=9)
    for (row, column), value in zip(
        ((i, j) for i in range(len(table)) for j in range(len(table[0]))), table.flatten()
    ):
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=13)
    first, second = ("output", "input") if table.shape == (3, 2) else ("input", "output")
    axis.set(title=f"{title} {tuple(table.shape)}", ylabel=first, xlabel=second)
    axis.set(xticks=range(table.shape[1]), yticks=range(table.shape[0]))
plt.show()

# %% [markdown]
r"""
In the transpose, the column of output 1 holds 3 and 4, as row 1 of $W$ does. In the reshape it holds 2 and 5: numbers that belong to
outputs 0 and 2. A reshape never complains. It gives the shape that you asked for and moves numbers to places where they mean nothing.
"""

# %% [markdown]
r"""
## Exercise: `linear_by_hand`

*About 5 minutes · difficulty 1 of 5 · 2 points*

Replace the line that raises `NotImplementedError` by your answer and run the cell. Then run the check below it. It asks your function a
handful of questions with fresh random inputs and tells you what it saw.

<details><summary>Hint 1: what to look at</summary>
Write down the shapes of <code>x</code> and <code>weight</code>. Which axis of each counts the inputs?
</details>
<details><summary>Hint 2: the idea</summary>
<code>@</code> sums over the last axis of its left factor and the second-to-last axis of its right factor, and treats all other axes of the left
one as a batch. Bring the inputs of <code>weight</code> to where <code>@</code> looks for them.
</details>
<details><summary>Hint 3: nearly there</summary>
The product is one line. What is left is the bias: it may be <code>None</code>, and <code>if bias:</code> asks a tensor of many numbers
whether it is true.
</details>
"""


# %% exercise="linear_by_hand"
def linear_by_hand(x, weight, bias):
    """What ``nn.Linear`` computes.

    Args:
        x: tensor of shape (..., d), any number of leading axes, none included.
        weight: tensor of shape (k, d), the dtype of x.
        bias: tensor of shape (k,), or None for a layer without one.

    Returns:
        Tensor of shape (..., k) in the dtype of x. The inputs are left unchanged.
    """
    ### BEGIN SOLUTION
    product = x @ weight.T  # (..., d) @ (d, k) -> (..., k)
    return product if bias is None else product + bias
    ### END SOLUTION


# %% check="linear_by_hand"
check.linear_by_hand(linear_by_hand)

# %% [markdown]
r"""
## How a check answers

A check knows the mistakes that people make here. It works each of them out on the inputs that it gave you, and when your result equals one of
them it tells you which. Here is what it says to a function that works something out and keeps it to itself:
"""


# %%
def keeps_it(x, weight, bias):
    result = x


try:
    check.linear_by_hand(keeps_it, seed=1)
except Exception as report:
    print(report)

# %% [markdown]
r"""
- **called** and **returned** let you repeat the call in a cell of your own.
- **likely thought** appears when the mistake is a known one; **hint** is the next step to take.
- **replay** holds the seed: the same inputs once more, after you have changed something.
- An exercise that you have not begun is "not started yet". Nothing else is ever counted from a notebook but what its checks find at the end.

You may call a check as often as you like, from any cell.
"""

# %% [markdown]
r"""
## What to remember

- `nn.Linear(d, k)` stores its weight as $(k, d)$: a row for each output.
- A transpose keeps every number with its input and its output. A reshape keeps only the shape right.
- On a square weight a forgotten transpose runs without complaint. Test with sizes that differ.

**Next:** [01 · Low rank](../01_low_rank/01_low_rank.ipynb) asks why two thin matrices could ever stand in for a big one.
"""
