# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 01 · Low rank

At the end of this lesson you can split any matrix into two thin ones, say how much of it they hold, and measure whether the
*change* that fine-tuning makes to a weight has low rank.

*About 45 minutes · difficulty 2 of 5 · builds on: [00 · Start here](../00_start_here/00_start_here.ipynb)*
"""

# %% [markdown]
r"""
## A network that has to learn something new

LoRA rests on one sentence: **the weight of a trained network has full rank, but the change that adapts it to a new task has a
low one.** Hu et al. (2021, arXiv 2106.09685) put it forward as a hypothesis, after Aghajanyan et al. (2020, arXiv 2012.13255)
had found that fine-tuning has a low intrinsic dimension. A hypothesis can be tested. Here is a network small enough to do it in
seconds.

It reads handwritten digits of 8 × 8 pixels, and it is three weights with a ReLU between them: 64 → 160 → 96 → 10. It has no
biases, so that the weights are all there is to change.
"""

# %%
import copy

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from autograde import check

device = "cuda" if torch.cuda.is_available() else "cpu"
digits = load_digits()
order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
# (1797, 8, 8), from 0 to 1
pictures = torch.tensor(digits.images / 16, dtype=torch.float32)[order].to(device)
labels = torch.tensor(digits.target)[order].to(device)  # (1797,)
upright = pictures.flatten(1)  # (1797, 64)
sideways = pictures.rot90(dims=(1, 2)).flatten(1)  # (1797, 64)


def train(model, x, y, epochs):
    """Train every weight of `model` on pictures x with labels y."""
    # fused: the same steps, in less time
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    shuffle = torch.Generator().manual_seed(1)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=shuffle).split(64):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def weights(model):
    """The three weights, each (out, in), as plain tensors."""
    return [weight.detach().clone() for weight in model.parameters()]


def accuracy(three, x, y):
    """The percentage of the pictures x that the network with these weights names right."""
    for weight in three[:-1]:
        x = torch.relu(nn.functional.linear(x, weight))
    return 100 * (nn.functional.linear(x, three[-1]).argmax(dim=-1) == y).float().mean().item()


# %% [markdown]
r"""
The network learns from the first 1,000 pictures. Then the pictures are turned on their side, and a copy of it is fine-tuned **in
full**, every number of every weight, on 500 of the turned ones. Accuracy is measured on 797 pictures that it has never seen.
"""

# %% demonstration=true alt="The same handwritten digit twice, in grey: upright, and turned a quarter to the left."
torch.manual_seed(0)
model = nn.Sequential(
    nn.Linear(64, 160, bias=False),
    nn.ReLU(),
    nn.Linear(160, 96, bias=False),
    nn.ReLU(),
    nn.Linear(96, 10, bias=False),
).to(device)
start = weights(model)  # random, before any training

train(model, upright[:1000], labels[:1000], epochs=25)
W = weights(model)


def fine_tune(y):
    """The weights of a copy of the model, fine-tuned in full on 500 sideways pictures."""
    tuned = copy.deepcopy(model)
    train(tuned, sideways[:500], y, epochs=150)
    return weights(tuned)


W_tuned = fine_tune(labels[:500])
change = [after - before for after, before in zip(W_tuned, W)]

unseen = slice(1000, None)
for name, three in [("before", W), ("after", W_tuned)]:
    right = (
        accuracy(three, upright[unseen], labels[unseen]),
        accuracy(three, sideways[unseen], labels[unseen]),
    )
    print(
        f"{name:6} fine-tuning: {right[0]:4.1f} % of the upright digits right,",
        f"{right[1]:4.1f} % of the sideways",
    )

figure, axes = plt.subplots(1, 2, figsize=(4, 2), layout="constrained")
for axis, (name, picture) in zip(axes, [("upright", upright[0]), ("sideways", sideways[0])]):
    axis.imshow(picture.reshape(8, 8).cpu(), cmap="Greys")
    axis.set(title=name, xticks=[], yticks=[])
plt.show()

# %% [markdown]
r"""
With ten digits, guessing is right about 10 % of the time. So the trained network could do nothing with a sideways digit, and
fine-tuning taught it nearly all of them. (On the way it forgot more than half of the upright ones. Lesson 08 comes back to that.)

## Predict first

Call a weight before fine-tuning $W$ and the change that fine-tuning made to it $\Delta W$. In the middle layer $\Delta W$ has
$160 \times 96$ numbers and a rank of up to 96. Now replace the $\Delta W$ of every layer by the closest matrix of rank $r$, throw
the rest of it away, and look at the accuracy on sideways digits again.

> 1. What is the smallest $r$ that stays within one percentage point of full fine-tuning?
> 2. The same question, but you cut the whole weight $W + \Delta W$ down to rank $r$.

Write both guesses down. To check them you need a tool that does not exist yet, and building it takes two exercises.
"""

# %%
my_prediction = ("?", "?")  # smallest r for the change alone, smallest r for the whole weight

# %% [markdown]
r"""
## A worked example: a matrix as a sum of simple pieces

A column times a row is the simplest matrix there is: every one of its rows is a multiple of the same row. It has **rank one**.
Take two columns and two rows, each of length 1, and build a matrix from them:

$$
u_1 = \tfrac13 \begin{pmatrix} 1 \\ 2 \\ 2 \end{pmatrix} \quad
v_1 = \tfrac15 \begin{pmatrix} 3 \\ 4 \end{pmatrix} \qquad
u_2 = \tfrac13 \begin{pmatrix} 2 \\ 1 \\ -2 \end{pmatrix} \quad
v_2 = \tfrac15 \begin{pmatrix} 4 \\ -3 \end{pmatrix}
$$

1. **shape** · $u$ is $(3, 1)$ and $v^\top$ is $(1, 2)$, so each piece is $(3, 2)$.
2. **product** · $u_1 v_1^\top$ has the rows $\tfrac{1}{15}(3, 4)$, $\tfrac{1}{15}(6, 8)$, $\tfrac{1}{15}(6, 8)$.
3. **scale** · the first piece by 30, the second by 15:
   $\begin{pmatrix} 6 & 8 \\ 12 & 16 \\ 12 & 16 \end{pmatrix}$ and $\begin{pmatrix} 8 & -6 \\ 4 & -3 \\ -8 & 6 \end{pmatrix}$.
4. **add** · $T = \begin{pmatrix} 14 & 2 \\ 16 & 13 \\ 4 & 22 \end{pmatrix}$.

The two columns are at right angles to each other, and so are the two rows. That makes 30 and 15 the **singular values** of $T$.
*Every* matrix is such a sum, and `torch.linalg.svd` finds it: the columns are in $U$, the sizes in $S$, largest first, and the
rows in $V^\top$, which torch calls `Vh`.
"""

# %%
u1, v1 = torch.tensor([1.0, 2.0, 2.0]) / 3, torch.tensor([3.0, 4.0]) / 5
u2, v2 = torch.tensor([2.0, 1.0, -2.0]) / 3, torch.tensor([4.0, -3.0]) / 5
large, small = 30 * torch.outer(u1, v1), 15 * torch.outer(u2, v2)
T = large + small
print(T)

U, S, Vh = torch.linalg.svd(T, full_matrices=False)
print("U", tuple(U.shape), " S", tuple(S.shape), " Vh", tuple(Vh.shape))
print("singular values", S)

# %% [markdown]
r"""
Drop the small piece, and the large one is left: a matrix of rank one at distance 15 from $T$. Distance here is the Frobenius
norm $\lVert \cdot \rVert_F$, the root of the sum of all squared entries. And the squares add up over the pieces, too:

$$\lVert T \rVert_F^2 = 14^2 + 2^2 + 16^2 + 13^2 + 4^2 + 22^2 = 1125 = 30^2 + 15^2 .$$

So the large piece holds $900 / 1125 = 80\,\%$ of the squared norm of $T$. People call this share *energy*.

Could another matrix of rank one come closer? The theorem of Eckart and Young (1936) says no: the largest pieces are the
closest. Let us try ten thousand other rows, each with the best column that goes with it.
"""

# %%
angle = torch.linspace(0, torch.pi, 10_000)
# (10000, 2), every direction there is, nearly
rows = torch.stack([angle.cos(), angle.sin()], dim=1)
# (10000, 3), for each row the column that brings the product closest to T
columns = rows @ T.T
distance = (T - columns[:, :, None] * rows[:, None, :]).flatten(1).norm(dim=1)
print(
    f"distances from {distance.min():.3f} to {distance.max():.3f}, the smallest with",
    rows[distance.argmin()],
)

# %% [markdown]
r"""
## Exercise: `best_low_rank`

*About 6 minutes · difficulty 2 of 5 · 3 points*

A sum of $r$ pieces, each a column times a row, is *one* product of two thin matrices: the $r$ columns side by side make $A$, of
shape $(d, r)$, and the $r$ rows on top of each other make $B$, of shape $(r, k)$. These are the two matrices that LoRA will
train. Here you compute the best ones for a matrix that is already there.

<details><summary>Hint 1: what to look at</summary>
Print the shapes of the three things that <code>torch.linalg.svd</code> gives for a matrix that is not square. Which axis of each of
them counts the pieces?
</details>
<details><summary>Hint 2: the idea</summary>
Keep the pieces with the largest singular values. Their columns come from one of the three, their rows from another, and in both of
them the largest comes first.
</details>
<details><summary>Hint 3: nearly there</summary>
The columns and rows all have length 1, so the size of each piece is still missing. It has to come into the product exactly once,
and you may choose on which side. Between a matrix and a vector, <code>@</code> sums; <code>*</code> broadcasts.
</details>
"""


# %% exercise="best_low_rank"
def best_low_rank(M, rank):
    """Two thin matrices whose product is as close to M as that rank allows.

    Args:
        M: tensor of shape (d, k), float32 or float64.
        rank: int, with 1 <= rank <= min(d, k).

    Returns:
        (A, B): tensors of shape (d, rank) and (rank, k). Of all such pairs they make the
        Frobenius norm of M - A @ B the smallest. M is left unchanged.
    """
    ### BEGIN SOLUTION
    U, S, Vh = torch.linalg.svd(M, full_matrices=False)
    return U[:, :rank] * S[:rank], Vh[:rank]  # (d, rank), (rank, k)
    ### END SOLUTION


# %% check="best_low_rank"
check.best_low_rank(best_low_rank)

# %% [markdown]
r"""
## Exercise: `rank_for_energy`

*About 5 minutes · difficulty 2 of 5 · 2 points*

The other way round: you say how much of a matrix must be kept, and ask for the smallest rank that will do. For $T$ above, the
answer is 1 for every fraction up to 0.8, with 0.8 itself included, and 2 beyond.

<details><summary>Hint 1: what to look at</summary>
For <code>T</code>, write down by hand how much of the 1125 is held by one piece, and how much by two.
</details>
<details><summary>Hint 2: the idea</summary>
A running sum (<code>cumsum</code>) holds what the 1, 2, 3, … largest pieces hold together. Look for the first entry that reaches the
goal. <code>torch.linalg.svdvals</code> gives the singular values alone.
</details>
<details><summary>Hint 3: nearly there</summary>
Three places to slip: what is added up, singular values or their squares; what stands at position 0 of the running sum; and what
happens when an entry meets the goal exactly.
</details>
"""


# %% exercise="rank_for_energy"
def rank_for_energy(M, fraction):
    """The smallest r such that the r largest singular values hold enough of M.

    Args:
        M: tensor of shape (d, k), float32 or float64, not all zero.
        fraction: float, with 0 < fraction <= 1.

    Returns:
        The smallest int r for which the squares of the r largest singular values add up to at
        least `fraction` of the squared Frobenius norm of M. M is left unchanged.
    """
    ### BEGIN SOLUTION
    # by the largest, the two largest, …; the last holds everything
    held = (torch.linalg.svdvals(M) ** 2).cumsum(dim=0)
    return int((held < fraction * held[-1]).sum()) + 1
    ### END SOLUTION


# %% check="rank_for_energy"
check.rank_for_energy(rank_for_energy)

# %% [markdown]
r"""
## How quickly do the singular values fall?

Back to the network. The next cell looks at the middle layer and compares three matrices of the same size: the weight $W$, the
change $\Delta W$, and a **control**: the very same numbers as in $\Delta W$, shuffled to random places. If the change needed few
pieces only because of the numbers in it, its shuffled copy would need few as well.
"""

# %% demonstration=true alt="Two panels for the middle layer. Left, singular values divided by the largest, on a logarithmic axis: those of the change fall steadily, by a factor of several hundred over 92 values; those of the weight drop to a fifth within a dozen values and then level off; those of the shuffled change fall slowly, to about a seventh. Right, the share of the energy that a rank holds: change and weight rise together to 80 percent at rank 8 or 9; the change reaches 90 percent at rank 12, the weight at 28, the shuffled change at 60."
shuffled = [D.flatten()[torch.randperm(D.numel(), device=device)].view_as(D) for D in change]
curves = [
    ("W", W[1], "-", "0.6"),
    ("ΔW", change[1], "-", "black"),
    ("ΔW, shuffled", shuffled[1], ":", "black"),
]
fractions = torch.linspace(0.01, 0.99, 50).tolist()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for name, M, style, colour in curves:
    values = torch.linalg.svdvals(M).cpu()
    left.semilogy(range(1, 97), values / values[0], linestyle=style, color=colour, label=name)
    right.plot(
        [int(rank_for_energy(M, f)) for f in fractions],
        fractions,
        linestyle=style,
        color=colour,
        label=name,
    )
right.axhline(0.9, color="black", linewidth=0.5)
left.set(
    xlabel="number of the singular value", ylabel="singular value / largest", ylim=(1e-3, 1.3)
)
right.set(xlabel="rank r", ylabel="share of the energy held", ylim=(0, 1))
left.legend()
right.legend()
plt.show()

# %% [markdown]
r"""
And for all three layers: the rank that holds 90 % of the energy. Two rows are new. The *start* is what the weight was before any
training, random numbers; $W$ minus the start is what the *first* training changed.
"""

# %% demonstration=true
first_change = [after - before for after, before in zip(W, start)]
table = [
    ("random start", start),
    ("W - start", first_change),
    ("W", W),
    ("ΔW", change),
    ("ΔW, shuffled", shuffled),
]
print("rank for 90 %  ", *[f"{M.shape[1]:>4} → {M.shape[0]:<4}" for M in W])
for name, matrices in table:
    print(f"{name:15}", *[f"{int(rank_for_energy(M, 0.9)):>7}    " for M in matrices])

full_rank, ratio = torch.linalg.matrix_rank(change[1]), change[1].norm() / W[1].norm()
print(f"\nmiddle layer: the rank of ΔW is {full_rank}, its norm {ratio:.2f} times that of W")

# %% [markdown]
r"""
Read it slowly, since it does not say quite what one might wish:

- **The rank of $\Delta W$ is not low.** Hardly one of its 96 singular values is zero. What is true: a few of them hold nearly
  everything. In practice "low rank" means this.
- **It is structure, not luck.** In the two large layers, the same numbers in other places need about four times as many pieces.
- **Low rank is not the same as small.** The change is nearly as large as the weight that it changes.
- **Fine-tuning is not special here.** What the *first* training changed takes just as few pieces. The curves of $W$ and $\Delta W$
  run side by side until the last fifth of the energy: that is the random start, still there in $W$. Whether large models are
  like this, the experiment cannot say.

## The picture that decides

Energy is only a number about a matrix. What counts is what the network can still do. The next cell adds the closest matrix of
rank $r$ to each $W$ and measures: $W + \Delta W_r$. For comparison it cuts the whole weight to rank $r$: $(W + \Delta W)_r$. (The
last layer has ten outputs, so its rank is never above 10.)

Your `best_low_rank` gives $A$ of shape $(d, r)$ and $B$ of shape $(r, k)$, the order in which an input flows. As you know from
lesson 00, `nn.Linear` keeps its weight as $(k, d)$. So the change goes in transposed, and its product comes out transposed.
"""


# %% demonstration=true
def closest(D, r):
    """The matrix of rank r closest to D, a weight or a change of one, of shape (k, d)."""
    A, B = best_low_rank(D.T, min(r, *D.shape))  # (d, r), (r, k)
    return torch.as_tensor(A @ B).to(D).T  # (k, d)


def enough(curve, goal):
    """The smallest rank tried from which on the curve stays within one point of the goal."""
    below = [r for r, reached in zip(ranks, curve) if reached < goal - 1]
    return next((r for r in ranks if not below or r > below[-1]), None)


ranks = [1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64]

# %% demonstration=true alt="Accuracy on sideways digits against the rank r, from 1 to 64. With the change cut to rank r, accuracy climbs from 14 percent at rank 1 to 85 percent at rank 6 and 92 percent at rank 8, and from rank 12 on lies on the dashed line of full fine-tuning, 95 percent. With the whole weight cut to rank r it is 49 percent at rank 6 and 65 percent at rank 8, and reaches the line at rank 20."
x, y = sideways[unseen], labels[unseen]
change_cut = [accuracy([w + closest(D, r) for w, D in zip(W, change)], x, y) for r in ranks]
whole_cut = [accuracy([closest(w + D, r) for w, D in zip(W, change)], x, y) for r in ranks]
nothing, everything = accuracy(W, x, y), accuracy(W_tuned, x, y)

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
axis.axhline(
    everything, color="black", linestyle="--", linewidth=1, label="full fine-tuning: W + ΔW"
)
axis.plot(
    ranks, change_cut, color="black", marker="o", label="the change cut to rank r: W + ΔW$_r$"
)
axis.plot(
    ranks,
    whole_cut,
    color="0.5",
    marker="s",
    label="the whole weight cut to rank r: (W + ΔW)$_r$",
)
axis.axhline(nothing, color="black", linestyle=":", linewidth=1, label="no change: W")
axis.set(xlabel="rank r", ylabel="sideways digits right, %", xscale="log", ylim=(0, 102))
axis.set_xticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
axis.minorticks_off()
axis.legend(loc="lower right")
plt.show()

found = enough(change_cut, everything), enough(whole_cut, everything)
print("you predicted        ", my_prediction)
print("within one point from", found)
thin = sum(min(found[0], *D.shape) * sum(D.shape) for D in change)
print(
    f"numbers in ΔW: {sum(D.numel() for D in change):,};",
    f"in the A and B of rank {found[0]}: {thin:,}",
)

# %% [markdown]
r"""
About a dozen pieces, where the middle layer could have 96, do what full fine-tuning did. Look at rank 6: with only the change cut,
the network reads most digits; with the whole weight cut, about half of them. That is LoRA's idea in one picture: **leave $W$ as
it is, and spend few directions on the change.**

(The curves need not rise at every step. Coming closer to $\Delta W$ does not always mean reading better.)

## Where does it end?

One task has been tested, and it was a friendly one. So let us ask three different questions about the same 500 sideways pictures,
and fine-tune the same network on each, equally long:

- *which digit*: as before;
- *odd or even*: only two answers;
- *drawn by lot*: every picture gets a random label from 0 to 9. There is nothing to understand, only 500 answers to learn by heart.

All three are measured on the 500 pictures themselves: for labels drawn by lot there are no others.

> Which of the three needs the largest rank, which the smallest? Put them in order before you run the cell.
"""

# %%
my_order = ("?", "?", "?")  # from the smallest rank to the largest

# %% demonstration=true alt="Accuracy on the 500 pictures against the rank r of the change, from 1 to 64. Odd or even climbs first, to 83 percent at rank 2 and nearly all at rank 5. Which digit gets there at rank 10. Labels drawn by lot stay below 20 percent up to rank 12, reach half near rank 25 and nearly all only at rank 48."
lot = torch.randint(0, 10, (500,), generator=torch.Generator().manual_seed(7)).to(device)
parity = labels[:500] % 2
questions = [
    ("odd or even", parity, fine_tune(parity), "^", "0.6"),
    ("which digit", labels[:500], W_tuned, "o", "0"),
    ("drawn by lot", lot, fine_tune(lot), "x", "0.4"),
]
x = sideways[:500]

summary = []
figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for name, y, tuned, marker, colour in questions:
    differences = [after - before for after, before in zip(tuned, W)]
    curve = [
        accuracy([w + closest(D, r) for w, D in zip(W, differences)], x, y) for r in ranks
    ]
    axis.plot(ranks, curve, marker=marker, color=colour, label=name)
    full = accuracy(tuned, x, y)
    ninety = max(int(rank_for_energy(D, 0.9)) for D in differences)
    at_ninety = accuracy([w + closest(D, ninety) for w, D in zip(W, differences)], x, y)
    summary.append((name, full, ninety, at_ninety, enough(curve, full)))
axis.set(
    xlabel="rank r of the change",
    ylabel="of the 500 pictures right, %",
    xscale="log",
    ylim=(0, 102),
)
axis.set_xticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
axis.minorticks_off()
axis.legend()
plt.show()

print("your order:", " < ".join(my_order))
print(
    f"{'':13}{'full ΔW':>9}{'rank for 90 % energy':>23}"
    f"{'right at that rank':>21}{'within one point from':>24}"
)
for name, full, ninety, at_ninety, rank in summary:
    print(f"{name:13}{full:>7.0f} %{ninety:>23}{at_ninety:>19.0f} %{rank!s:>24}")

# %% [markdown]
r"""
The same network, the same pictures, the same number of steps: the rank follows what there is to learn. Two answers need the fewest
directions, 500 separate facts need several dozen. And look at the last row: at a rank that holds 90 % of the energy, more
than half of the accuracy is gone. **Energy is a hint. The accuracy is the measurement.**

So the hypothesis is about *tasks*, and it is no law. At the scale of language models, "LoRA Learns Less and Forgets Less"
(arXiv 2405.09673) finds that the change of full fine-tuning has a rank 10 to 100 times that of a usual LoRA.

One difference to keep in mind: here $\Delta W$ was trained in full and cut afterwards. LoRA never has a full $\Delta W$: it trains
$A$ and $B$ from the first step. Lesson 08 measures what that costs.
"""

# %% [markdown]
r"""
## What to remember

- The largest pieces of the SVD make the closest matrix of rank $r$; two thin factors, $(d, r)$ and $(r, k)$, hold it.
- A change of a weight has full rank on paper. A few directions may still do nearly all of its work: cut it and measure.
- How few depends on the task: about a dozen for sideways digits, several dozen for 500 answers learned by heart.

**Next:** [02 · The bug](../02_the_bug/02_the_bug.ipynb) puts $A$ and $B$ beside a layer, in a way that looks right, runs, and is wrong.
"""
