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

In lesson [00](../00_start_here/00_start_here.ipynb) one new number for every 42 was enough to teach a model another language. LoRA rests
on a hypothesis that explains why: **the weight of a trained network has full rank, but the change that adapts it to a new task has low
rank.** (The rank of a matrix is the number of its linearly independent rows. A worked example follows below.) Hu et al. put the
hypothesis forward in 2021 (arXiv 2106.09685), after Aghajanyan et al. had found in 2020 that fine-tuning has a low intrinsic dimension
(arXiv 2012.13255). The hypothesis can be tested, and with a network as small as the one below this takes only seconds.

The network reads handwritten digits of 8 × 8 pixels. It has three linear layers, 64 → 160 → 96 → 10, with ReLUs between them. The layers
have no biases, so the three weights are all that can change. The course's lesson kit, `kit` below, provides the pictures, the training
loop and the plots.
"""

# %%
import copy

import torch
from torch import nn

from autograde import check
from autograde.lesson_kit import low_rank as kit
from autograde.lesson_kit.predictions import show_prediction

device = "cuda" if torch.cuda.is_available() else "cpu"
upright, sideways, labels = kit.sideways_digits(device)  # (1797, 64), (1797, 64), (1797,)

# %% [markdown]
r"""
The network learns from the first 1,000 pictures. Then the pictures are turned on their side, and a copy of the network is fine-tuned **in
full** (every number of every weight) on 500 of the turned ones. Accuracy is measured on 797 pictures that the network has never seen.
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
start = kit.weights_of(model)  # random, before any training

kit.train(model, upright[:1000], labels[:1000], epochs=25)
W = kit.weights_of(model)


def fine_tune(y):
    """The weights of a copy of the model, fine-tuned in full on 500 sideways pictures."""
    tuned = copy.deepcopy(model)
    kit.train(tuned, sideways[:500], y, epochs=150)
    return kit.weights_of(tuned)


W_tuned = fine_tune(labels[:500])
change = [after - before for after, before in zip(W_tuned, W)]

print("digits right, %      upright   sideways")
for name, weights in [("before fine-tuning", W), ("after fine-tuning", W_tuned)]:
    reads = [
        kit.accuracy(weights, x[kit.UNSEEN], labels[kit.UNSEEN]) for x in (upright, sideways)
    ]
    print(f"{name:18} {reads[0]:9.1f} {reads[1]:10.1f}")
kit.show_digit(upright=upright[0], sideways=sideways[0])

# %% [markdown]
r"""
There are ten digits, so guessing is right about 10 % of the time. Before fine-tuning the network was no better than guessing at sideways
digits; afterwards it reads nearly all of them. (It has also forgotten more than half of the upright ones. Lesson
[08](../08_fine_tuning/08_fine_tuning.ipynb) comes back to that.)

## Predict first

Let $W$ be a weight before fine-tuning, and $\Delta W$ the change that fine-tuning made to it. In the middle layer $\Delta W$ has $160
\times 96$ numbers and a rank of up to 96. Now replace the $\Delta W$ of every layer by the closest matrix of rank $r$, throw the rest of
it away, and measure the accuracy on sideways digits again.

> 1. What is the smallest $r$ that stays within one percentage point of full fine-tuning?
> 2. The same question, but you cut the whole weight $W + \Delta W$ down to rank $r$.

Write down both guesses. To check them you need two functions, and you write them in the next two exercises.
"""

# %%
my_prediction = ("?", "?")  # smallest r for the change alone, smallest r for the whole weight

# %% [markdown]
r"""
## A worked example: a matrix as a sum of simple pieces

A column times a row is the simplest matrix there is: all its rows are multiples of one row. It has **rank one**. Take two columns and
two rows, each of length 1, and build a matrix from them:

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

# %% demonstration=true
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
Drop the small piece, and the large one is left: a matrix of rank one at distance 15 from $T$. Distance here means the Frobenius norm
$\lVert \cdot \rVert_F$ of the difference: the square root of the sum of all squared entries. The squares of the singular values have the
same sum:

$$\lVert T \rVert_F^2 = 14^2 + 2^2 + 16^2 + 13^2 + 4^2 + 22^2 = 1125 = 30^2 + 15^2 .$$

So the large piece holds $900 / 1125 = 80\,\%$ of the squared norm of $T$. The squared norm is also called *energy*.

Could another matrix of rank one come closer? The theorem of Eckart and Young (1936) says no: the largest pieces make the closest matrix.
The next cell tries ten thousand other rows, each with the column that fits it best.
"""

# %% demonstration=true
angle = torch.linspace(0, torch.pi, 10_000)
rows = torch.stack([angle.cos(), angle.sin()], dim=1)  # (10000, 2), nearly every direction
columns = rows @ T.T  # (10000, 3), for each row the best column
distance = (T - columns[:, :, None] * rows[:, None, :]).flatten(1).norm(dim=1)
print(f"distances from {distance.min():.3f} to {distance.max():.3f}")
print("the smallest with the row", rows[distance.argmin()])

# %% [markdown]
r"""
## Exercise: `best_low_rank`

*About 6 minutes · difficulty 2 of 5 · 3 points*

A sum of $r$ pieces, each a column times a row, is *one* product of two thin matrices: the $r$ columns side by side make $A$, of shape
$(d, r)$, and the $r$ rows on top of each other make $B$, of shape $(r, k)$. LoRA trains such a pair. Here you compute the best pair for a
matrix that you already have.

<details><summary>Hint 1: what to look at</summary>
Print the shapes of the three tensors that <code>torch.linalg.svd</code> returns for a matrix that is not square. Which axis of each of
them counts the pieces?
</details>
<details><summary>Hint 2: the idea</summary>
Keep the pieces with the largest singular values. Their columns come from one of the three, their rows from another, and in both of
them the largest comes first.
</details>
<details><summary>Hint 3: nearly there</summary>
The columns and rows all have length 1, so the size of each piece is still missing. It must enter the product exactly once, and you may
choose on which side. Between a matrix and a vector, <code>@</code> sums and <code>*</code> broadcasts.
</details>
<details><summary>When you are stuck</summary>

The [solved edition](../../solutions/01_low_rank/01_low_rank.ipynb) of this lesson shows an answer.

</details>
"""


# %% exercise="best_low_rank"
def best_low_rank(M, rank):
    """Two thin matrices whose product is as close to M as that rank allows.

    Args:
        M: tensor of shape (d, k), float32 or float64.
        rank: int, with 1 <= rank <= min(d, k).

    Returns:
        (A, B): tensors of shape (d, rank) and (rank, k). No other such pair gives a smaller
        Frobenius norm of M - A @ B. M is not changed.
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

Now the other way round: given how much of a matrix must be kept, find the smallest rank that keeps this much. For $T$ above, the answer
is 1 for every fraction up to 0.8, including 0.8 itself, and 2 above that.

<details><summary>Hint 1: what to look at</summary>
For <code>T</code>, write down how much of the 1125 one piece holds, and how much two pieces hold.
</details>
<details><summary>Hint 2: the idea</summary>
A running sum (<code>cumsum</code>) says how much the 1, 2, 3, … largest pieces hold together. Look for the first entry that reaches the goal.
<code>torch.linalg.svdvals</code> gives only the singular values.
</details>
<details><summary>Hint 3: nearly there</summary>
There are three places where this can go wrong. What do you add up, singular values or their squares? What is at position 0 of the running
sum? And what happens when an entry equals the goal exactly?
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
        least `fraction` of the squared Frobenius norm of M. M is not changed.
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

Back to the network. The next cell looks at the middle layer and compares three matrices of the same size: the weight $W$, the change
$\Delta W$, and a **control** with the same entries as $\Delta W$, shuffled to random places. If the change needed few pieces only because
of the values in it, and not because of their places, then its shuffled copy would need few pieces, too.
"""

# %% demonstration=true alt="Two panels for the middle layer. Left, singular values divided by the largest, on a logarithmic axis: those of the change fall steadily, by a factor of several hundred over 92 values, and then drop out of the picture; those of the weight drop to a fifth within a dozen values and then level off; those of the shuffled change fall slowly, to about a seventh. Right, the share of the energy that a rank holds: change and weight rise together to 80 percent at rank 8 or 9; the change reaches 90 percent at rank 12, the weight at 28, the shuffled change at 60."
shuffled = [D.flatten()[torch.randperm(D.numel(), device=device)].view_as(D) for D in change]
kit.plot_spectra({"W": W[1], "ΔW": change[1], "ΔW, shuffled": shuffled[1]}, rank_for_energy)

# %% [markdown]
r"""
The next cell gives the rank that holds 90 % of the energy, for all three layers. Two rows are new. The *random start* is the weight
before any training; $W$ minus the start is what the *first* training changed.
"""

# %% demonstration=true
table = {
    "random start": start,
    "W - start": [after - before for after, before in zip(W, start)],
    "W": W,
    "ΔW": change,
    "ΔW, shuffled": shuffled,
}
print("rank for 90 %  ", *[f"{M.shape[1]:>4} → {M.shape[0]:<4}" for M in W])
for name, matrices in table.items():
    print(f"{name:15}", *[f"{int(rank_for_energy(M, 0.9)):>7}    " for M in matrices])

D = change[1]
rank, still = torch.linalg.matrix_rank(D), int((D == 0).all(dim=1).sum())
print("\nThe middle layer:")
print(f"  the norm of ΔW is {D.norm() / W[1].norm():.2f} times that of W")
print(f"  the rank of ΔW is {rank} of {min(D.shape)}, and {still} of its 96 rows are zero")

# %% [markdown]
r"""
Take your time with these numbers. They are not quite what you might expect:

- **The rank of $\Delta W$ is not low.** It is 92 of 96. Even the missing four have a simple reason: four units of the middle layer are
  zero for all of the 500 sideways pictures, so no gradient ever reached their rows. (In the picture the curve drops after value 92.) What
  *is* true: a few of the 92 singular values hold nearly all of the energy. That is what "low rank" means in practice.
- **It is structure, not luck.** The same numbers in other places need 3.7 times as many pieces in the first layer and 5 times as many in
  the middle one.
- **Low rank does not mean small.** The change is nearly as large as the weight that it changes.
- **Fine-tuning is not special here.** What the *first* training changed takes just as few pieces. The curves of $W$ and $\Delta W$ run
  side by side up to 80 % of the energy; beyond that, $W$ needs many more pieces, because it still contains the random start. This
  experiment cannot tell whether large models behave in the same way.

## The picture that decides

Energy only describes a matrix. What counts is how well the network still reads. Write $\Delta W_r$ for the closest matrix of rank $r$ to
$\Delta W$. The next cell measures the accuracy with $W + \Delta W_r$ and, for comparison, with the whole weight cut to rank $r$:
$(W + \Delta W)_r$.
(The last layer has ten outputs, so its rank is never above 10.)

Your `best_low_rank` gives $A$ of shape $(d, r)$ and $B$ of shape $(r, k)$, the order in which an input flows. As you know from lesson
[00](../00_start_here/00_start_here.ipynb), `nn.Linear` keeps its weight as $(k, d)$. So the cell transposes the change before it calls
your function, and transposes the product back.
"""


# %% demonstration=true alt="Accuracy on sideways digits against the rank r, from 1 to 96. With the change cut to rank r, accuracy climbs from 14 percent at rank 1 to 85 percent at rank 6 and 92 percent at rank 8, and from rank 12 on lies on the dashed line of full fine-tuning, 95 percent. With the whole weight cut to rank r it is 49 percent at rank 6 and 65 percent at rank 8, and reaches the line at rank 20."
def closest(D, r):
    """The matrix of rank r closest to D, a weight or a change of one, of shape (k, d)."""
    A, B = best_low_rank(D.T, min(r, *D.shape))  # (d, r), (r, k)
    return torch.as_tensor(A @ B).to(D).T  # (k, d)


def with_change_cut(change, r):
    """The weights of the network with its change cut to rank r."""
    return [w + closest(D, r) for w, D in zip(W, change)]


x, y = sideways[kit.UNSEEN], labels[kit.UNSEEN]
nothing, everything = kit.accuracy(W, x, y), kit.accuracy(W_tuned, x, y)
change_cut, whole_cut = {}, {}
for r in kit.RANKS:
    change_cut[r] = kit.accuracy(with_change_cut(change, r), x, y)
    whole_cut[r] = kit.accuracy([closest(w + D, r) for w, D in zip(W, change)], x, y)

kit.plot_accuracy(
    {
        "the change cut: W + ΔW$_r$": change_cut,
        "the whole weight cut: (W + ΔW)$_r$": whole_cut,
    },
    levels={"full fine-tuning: W + ΔW": everything, "no change: W": nothing},
)
found = tuple(kit.enough(curve.values(), everything) for curve in (change_cut, whole_cut))
show_prediction(my_prediction, guess=(48, 48))
print("within one point from:", *found)
thin = sum(min(found[0], *D.shape) * sum(D.shape) for D in change)
print(f"numbers in ΔW: {sum(D.numel() for D in change):,}")
print(f"numbers in its A and B at rank {found[0]}: {thin:,}")

# %% [markdown]
r"""
Half of 96 would have been a reasonable guess: $\Delta W$ is as large as $W$ and nearly of full rank, so why should you be able to throw
most of it away? But a dozen pieces do what full fine-tuning did, where the middle layer could have 96. Look at rank 6. With only the
change cut, the network reads most digits; with the whole weight cut, about half of them. That is LoRA's idea in one picture: **leave $W$
as it is, and use only a few pieces for the change.**

(The curves need not rise at every step. A matrix that is closer to $\Delta W$ does not always read better.)

## Cut afterwards, or trained that way?

So far $\Delta W$ was trained in full and cut afterwards. LoRA never has a full $\Delta W$. It freezes $W$ and trains $A$ and $B$ from the
first step, so the change that it finds has at most rank $r$. The next cell does that at several ranks, on the same 500 pictures, at the
same learning rate, for the same number of steps.

> At rank 1, cutting leaves 14 % of the digits right. Does *training* at rank 1 reach less, about the same, or more?
"""

# %%
my_second_prediction = "?"

# %% demonstration=true alt="Accuracy on sideways digits against the rank, from 1 to 12. Trained at rank r from the start, two seeds lie close together: above 70 percent at rank 1, near 90 percent at rank 2, and 93 percent from rank 8 on. With the full change cut to rank r, accuracy is 14 percent at rank 1, 18 at rank 2, crosses the trained curves between rank 8 and 12, and meets the dashed line of full fine-tuning, 95 percent, at rank 12."
show_prediction(my_second_prediction, guess="less: cutting took the best piece there is")
cut, trained = {}, {seed: {} for seed in (0, 1)}
print("\nrank   cut afterwards   trained, two seeds")
for r in (1, 2, 4, 8, 12):
    cut[r] = kit.accuracy(with_change_cut(change, r), x, y)
    for seed in trained:
        weights = kit.train_at_rank(W, sideways[:500], labels[:500], r, epochs=150, seed=seed)
        trained[seed][r] = kit.accuracy(weights, x, y)
    both = " and ".join(f"{curve[r]:.0f} %" for curve in trained.values())
    print(f"{r:4} {cut[r]:14.0f} %   {both}", flush=True)
kit.plot_accuracy(
    {f"trained at rank r, seed {seed}": curve for seed, curve in trained.items()}
    | {"cut to rank r afterwards": cut},
    levels={"full fine-tuning": everything},
)

# %% [markdown]
r"""
Far more. It is tempting to think that 14 % is the most that rank 1 can do, since `best_low_rank` finds the *closest* matrix. But closest
to what? To a $\Delta W$ that was free to spread its work over many pieces. If only one piece is allowed, training finds another change,
one that does as much as it can with a single piece. From rank 8 on the two ways end within two points of each other.

## Rank follows the task

So far you have seen one task only, and it may have been an easy one. The next cell asks three different questions about the same 500
sideways pictures, and fine-tunes the same network on each of them for the same number of steps:

- *which digit*: as before;
- *odd or even*: only two answers;
- *random labels*: every picture gets a random label from 0 to 9. There is no rule to find, only 500 answers to learn by heart.

All three are measured on the 500 pictures themselves, because random labels cannot be predicted for any other picture.

> Which of the three needs the largest rank, and which the smallest? Put them in order before you run the cell.
"""

# %%
my_order = ("?", "?", "?")  # from the smallest rank to the largest

# %% demonstration=true alt="Accuracy on the 500 pictures against the rank r of the change, from 1 to 96. Odd or even climbs first, to 83 percent at rank 2 and nearly all at rank 5. Which digit gets there at rank 10. Random labels stay below 20 percent up to rank 12, reach half near rank 25 and nearly all only at rank 48."
by_chance = torch.randint(0, 10, (500,), generator=torch.Generator().manual_seed(7)).to(device)
which = labels[:500]
questions = {"odd or even": which % 2, "which digit": which, "random labels": by_chance}
show_prediction(my_order, guess=("random labels", "odd or even", "which digit"))
print(f"\n{'':14}{'full ΔW':>8}{'rank for 90 %':>16}{'right at':>13}{'within one':>14}")
print(f"{'':14}{'':8}{'of the energy':>16}{'that rank':>13}{'point from':>14}")
curves = {}
for name, answers in questions.items():
    tuned = fine_tune(answers)
    differences = [after - before for after, before in zip(tuned, W)]
    at = {}
    for r in kit.RANKS:
        at[r] = kit.accuracy(with_change_cut(differences, r), sideways[:500], answers)
    full = kit.accuracy(tuned, sideways[:500], answers)
    ninety = max(int(rank_for_energy(D, 0.9)) for D in differences)
    right = kit.accuracy(with_change_cut(differences, ninety), sideways[:500], answers)
    rank = kit.enough(at.values(), full)
    print(f"{name:14}{full:6.0f} %{ninety:16}{right:11.0f} %{rank!s:>14}", flush=True)
    curves[name] = at
kit.plot_accuracy(curves, xlabel="rank r of the change", ylabel="of the 500 pictures right, %")

# %% [markdown]
r"""
The network, the pictures and the number of steps are the same, and yet the rank differs: it depends on what there is to learn. You might
have put *random labels* first, because there is no rule in them to learn. But for just this reason they need the largest rank. What helps
to read one 3 helps to read every 3; 500 random answers have nothing in common.

And look at the last row: at the rank that holds 90 % of the energy, more than half of the accuracy is gone. **Energy is only a hint;
accuracy is what counts.**

## And not the width

The rank depends on the task. Does it also grow with the network? The models that LoRA is used on are far wider than this one. The next
cell trains networks 64 → width → width → 10 of three widths, two seeds each, fine-tunes them in full on 500 sideways pictures, and cuts
the change and the whole weight as before. From width 128 to 1,024 the middle weight gets 64 times as many numbers.

> Which rank is enough at width 128, and which at width 1,024, for the change alone?
"""

# %%
my_third_prediction = {"width 128": "?", "width 1024": "?"}

# %% demonstration=true alt="The rank that is enough, against the width of the network: 128, 512 and 1,024, two seeds each. For the change it stays between 8 and 12 at every width. For the whole weight it rises, from 16 to 32 at width 128 to 56 at width 1,024."
show_prediction(my_third_prediction, guess={"width 128": 12, "width 1024": 96})
print("\nwidth   seed   full fine-tuning   rank for the change   for the whole weight")
needed = {128: [], 512: [], 1024: []}
for width, pairs in needed.items():
    for seed in (0, 1):
        full, for_change, for_whole = kit.ranks_needed(width, seed, device)
        pairs.append((for_change, for_whole))
        row = f"{width:5} {seed:6} {full:16.1f} % {for_change:21} {for_whole:22}"
        print(row, flush=True)
kit.plot_widths(needed)

# %% [markdown]
r"""
If the rank grew with the width, eight times the width would need eight times the rank, and so 96 is tempting. But for the change a rank
of about ten is enough at every width, while the whole weight needs more and more. The task does not become harder when the network
becomes larger. This is why LoRA saves more the larger the model is: the rank stays small while the weight grows.

So the hypothesis is about *tasks*, and it is not a law. At the scale of language models, "LoRA Learns Less and Forgets Less" (arXiv
2405.09673) finds that the change of full fine-tuning has a rank 10 to 100 times that of a usual LoRA. You have seen above why LoRA may
work all the same: the rank of a change that was free to use many pieces says little about the rank that is needed. Lesson
[08](../08_fine_tuning/08_fine_tuning.ipynb) goes on from here, and shows a task for which low rank fails.
"""

# %% [markdown]
r"""
## What to remember

- The largest pieces of the SVD make the closest matrix of rank $r$. You can store it as two thin factors, $(d, r)$ and $(r, k)$.
- The change of a weight has nearly full rank. A few of its pieces may still do nearly all of the work: cut the change and measure.
- How few depends on the task and not on the width: about ten for sideways digits, several dozen for 500 answers learned by heart.

**Next:** [02 · The bug](../02_the_bug/02_the_bug.ipynb) puts $A$ and $B$ beside a layer. The code looks right and passes its author's
test. Is it right?
"""
