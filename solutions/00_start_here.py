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

At the end of this lesson you have seen what LoRA is for, you can say exactly what `nn.Linear` computes, and you know how the lessons
of this course work.

*About 12 minutes · difficulty 1 of 5 · builds on: tensors and matrix products*
"""

# %% [markdown]
r"""
## First, what it is all for

Here is a small language model. It has 521,088 parameters: numbers that were learned from English text only. In the next cell the model
learns to write German, although **not one of these numbers changes**. A few new numbers are added beside them, about one for every 42,
and only the new ones are trained. This method is called LoRA, **lo**w-**r**ank **a**daptation, and in this course you build it yourself,
piece by piece.

Run the cell with **Shift + Enter**. It takes about ten seconds. You do not have to understand the code yet: by lesson
[09](../09_transformer/09_transformer.ipynb) you will have written the main parts of it yourself.
"""

# %% demonstration=true
import torch

from autograde.lesson_kit.base import load_base
from autograde.lesson_kit.language import as_ids, learn, write_lines
from lora_ref import adapters_off, inject

model, characters = load_base("cuda" if torch.cuda.is_available() else "cpu")
model.requires_grad_(False)  # none of its own numbers may change
its_own = sum(p.numel() for p in model.parameters())
starts = ["No", "Sa", "Ma", "Su", "Al", "Gu"]
before = write_lines(model, characters, starts)

torch.manual_seed(0)
inject(model, ["q_proj", "v_proj"], rank=8, alpha=16)  # LoRA, beside six of its layers
new = sum(p.numel() for p in model.parameters() if p.requires_grad)
print(f"{its_own:,} numbers stay, {new:,} learn: one for every {its_own / new:.0f}\n")


def say(step):
    """After every 20 steps, print what the model writes after the letters "Sa"."""
    if step % 20 == 0:
        line = write_lines(model, characters, ["Sa"])[0]
        print(f"after {step:3} steps it writes: {line}", flush=True)


german, _ = as_ids("de", characters, next(model.parameters()).device)
say(0)
learn(model, german, steps=100, after_step=say)

after = write_lines(model, characters, starts)
with adapters_off(model):  # the new numbers are skipped
    switched_off = write_lines(model, characters, starts)
print(f"\n{'before':28}{'with LoRA':28}LoRA switched off")
for columns in zip(before, after, switched_off):
    print("".join(f"{line[:26]:28}" for line in columns))

# %% [markdown]
r"""
Most of these words are in no dictionary, but you can see at once which language they imitate. (The model learned from the names of
languages, places and time zones. *Zeit* is German for time, and *-isch* is an ending like *-ish*.)

Now look at the right column. With LoRA switched off, the model writes exactly what it wrote before, letter for letter. So one model can
serve many purposes: you store it once, with one small file for each purpose. If you train all of its numbers instead, you have to store a
whole model for each purpose.

How can so few numbers be enough? Where do they go, what do they cost, and when does the method fail? To answer these questions you need
to know exactly what a layer computes.

## What this machine has

Everything in this course runs on a CPU. If there is a CUDA device, it is used.
"""

# %%
import platform

import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.predictions import show_prediction
from autograde.lesson_kit.tables import Table, draw_tables

device = "cuda" if torch.cuda.is_available() else "cpu"
version = torch.__version__.split("+")[0]
print("Python", platform.python_version(), "· torch", version, "· device", device)

# %% [markdown]
r"""
## Predict first

Every lesson opens with a question whose answer may surprise you. Write your guess down *before* you run the answer: you remember the
answer better when you have made a guess first, even a wrong one.

> `nn.Linear(3, 2)` takes 3 numbers and gives 2. What is the shape of its weight?

Put your two numbers into the next cell, run it, and go on.
"""

# %%
my_prediction = ("?", "?")

# %% demonstration=true
layer = nn.Linear(3, 2)
show_prediction(my_prediction, guess=(3, 2))
print("the weight's shape:", tuple(layer.weight.shape))

# %% [markdown]
r"""
(3, 2) is tempting: you wrote `nn.Linear(3, 2)`, so why should the weight not be (3, 2)? But PyTorch stores a weight as **(out, in)**,
with one *row* for each output, the other way round from the order in which you gave the sizes.

This course writes the two small matrices of LoRA in the other order, the one in which an input flows through them: from $d$ numbers to
$r$, and from $r$ to $k$. You will often use both orders in one line of code, and that is the reason for every transpose in this course.
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

1. **shape** · $x$ has $d = 2$ numbers and $W$ is $(k, d) = (3, 2)$, so the result has $k = 3$ numbers.
2. **product** · output $j$ takes row $j$ of $W$ and sums over the inputs: $h_j = \sum_i x_i \, W_{ji}$.
   Row 0: $1 \cdot 1 + 10 \cdot 2 = 21$. Row 1: $1 \cdot 3 + 10 \cdot 4 = 43$. Row 2: $1 \cdot 5 + 10 \cdot 6 = 65$.
3. **add** · the bias, one number for each output: $121, 243, 365$.

Later lessons put one more step between the last two, and then the list is complete: **shape → product → scale → add**.
"""

# %% demonstration=true
small = nn.Linear(2, 3)
with torch.no_grad():
    small.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    small.bias.copy_(torch.tensor([100.0, 200.0, 300.0]))
    print(small(torch.tensor([1.0, 10.0])))

# %% [markdown]
r"""
## The picture: a transpose is not a reshape

Here are two ways to make a (2, 3) tensor from the six numbers in $W$. Both give the shape that you need, but only one of them keeps each
number with its own input and output. Follow the framed 3: it multiplies *input 0* on its way to *output 1*.
"""

# %% demonstration=true alt="Three tables of the numbers 1 to 6, in each of which the 3 has a frame. The weight, 3 rows by 2 columns, has 3 at output 1, input 0. In its transpose, 2 by 3, the 3 still stands at input 0, output 1, and every other number at its own input and output. The reshape, 2 by 3, has the numbers in reading order: the 3 stands at input 0, output 2, and only 1 and 6 are where they belong."
W = small.weight.detach()
draw_tables(
    Table("W, as stored (3, 2)", W, "output", "input", framed=[(1, 0)]),
    Table("transposed (2, 3)", W.T, "input", "output", framed=[(0, 1)]),
    Table("reshaped (2, 3)", W.reshape(2, 3), "input", "output", framed=[(0, 2)]),
)

# %% [markdown]
r"""
In the transpose, the column of output 1 holds 3 and 4, just as row 1 of $W$ does. In the reshape it holds 2 and 5, which belong to
outputs 0 and 2. A reshape raises no error: it gives you the shape that you asked for and puts the numbers in the wrong places.
"""

# %% [markdown]
r"""
## Exercise: `linear_by_hand`

*About 5 minutes · difficulty 1 of 5 · 2 points*

Write a function that computes what `nn.Linear` computes, for a weight and a bias that it is given. Replace the line that raises
`NotImplementedError` with your answer and run the cell. Then run the check below it. The check calls your
function a few times with fresh random inputs and tells you what it saw. A click opens a hint. Try for a minute or two before you open
one, and open them one at a time.

<details><summary>Hint 1: what to look at</summary>
Write down the shapes of <code>x</code> and <code>weight</code>. Which axis of each of them runs over the inputs?
</details>
<details><summary>Hint 2: the idea</summary>
<code>@</code> sums over the last axis of its left factor and the second-to-last axis of its right factor; all other axes of the left one are a
batch. Move the input axis of <code>weight</code> to where <code>@</code> looks for it.
</details>
<details><summary>Hint 3: nearly there</summary>
The product is one line. What remains is the bias, and it may be <code>None</code>. Do not write <code>if bias:</code>, because a tensor of several numbers
is neither true nor false.
</details>
<details><summary>When you are stuck</summary>

The [solved edition](../../solutions/00_start_here/00_start_here.ipynb) shows an answer and every output. Each lesson has one. Read it,
close it, and write the answer in your own way: you will need it again.

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
        Tensor of shape (..., k) in the dtype of x. The inputs are not changed.
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

A check knows the usual mistakes in its exercise. It computes the result of each mistake on the inputs that your function got. When your
result equals one of these, it tells you which mistake you made. Here is what it says about a function that forgets to return its result:
"""


# %% demonstration=true
def keeps_it(x, weight, bias):
    result = x


try:
    check.linear_by_hand(keeps_it, seed=1)
except Exception as report:
    print(report)

# %% [markdown]
r"""
- **called** and **returned** let you repeat the call in a cell of your own.
- **likely thought** appears when the mistake is a known one; **hint** says what to do next.
- **replay** holds the seed. With it you get the same inputs again after you have changed something.
- An exercise that you have not begun is "not started yet". Your points depend on what the checks find in the notebook that you hand in,
  and not on how often you tried.

You may call a check as often as you like, from any cell.
"""

# %% [markdown]
r"""
## What to remember

- `nn.Linear(d, k)` stores its weight as $(k, d)$: a row for each output.
- A transpose keeps every number with its input and its output. A reshape only gets the shape right.
- On a square weight, code without the transpose runs without an error. Test with sizes that differ.

**Next:** [01 · Low rank](../01_low_rank/01_low_rank.ipynb) asks why so few numbers are enough.
"""
