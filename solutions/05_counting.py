# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 05 · Counting

At the end of this lesson you can check any claim about the size of LoRA: how many values train, how many there are in all, and what training keeps in memory.

*About 45 minutes · difficulty 2 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb)*

## From memory

Answer these before you open them.

<details><summary>04 · In a fresh LoRALinear one of the two gradients is zero. Which one, and why?</summary>
That of A: it has B as a factor, and B is zero.
</details>
<details><summary>03 · A layer goes from 512 to 512 features. Up to which rank are the two thin products cheaper than the layer itself?</summary>
Up to 255: r (512 + 512) must stay below 512 · 512, which is reached at r = 256.
</details>
<details><summary>01 · Fine-tuning moved a weight. What has low rank: the weight or its change?</summary>
Its change, as far as the task needs only a few directions. The weight itself has full rank.
</details>
"""

# %%
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit.audit import reveal
from autograde.lesson_kit.llama import llama_2_7b
from autograde.lesson_kit.memory import plot_memory
from autograde.lesson_kit.predictions import show_prediction

# %% [markdown]
r"""
## Predict first

GPT-3 has 175 billion values. The abstract of the LoRA paper says: "Compared to GPT-3 175B fine-tuned with Adam, LoRA can reduce the number of trainable parameters by 10,000 times"
(Hu et al. 2021, arXiv 2106.09685). While a model is trained with Adam, memory holds its values, their gradients, and two running averages that Adam keeps. Say every one of these
numbers takes 16 bits.

> How many times less memory does LoRA need for them than full fine-tuning: 10,000, 1,000, 100 or 4 times less?

Write your guess into the next cell, and run it.
"""

# %%
my_prediction = "?"

# %% [markdown]
r"""
## A worked example, small enough to check by hand

A layer takes $d = 30$ numbers to $k = 20$, with a bias, and gets an adapter of rank $r = 2$. Go through the four steps of lesson [04](../04_lora_linear/04_lora_linear.ipynb) once
more, and ask of each what it has to keep. The first two are begun for you.

1. **shape** · $A$ is $(30, 2)$ and $B$ is $(2, 20)$. $A$ holds $30 \cdot 2 = 60$ numbers. And $B$?
2. **product** · $xA$ and $(xA)B$ are computed again for every $x$. Neither is a parameter.
3. **scale** · $\alpha / r$: is it a parameter?
4. **add** · to the base. How many numbers does its weight hold, and its bias? Do they train?

How many values train, and how many are there in all? Write both down, then run the next cell.
"""


# %% demonstration=true
def adapted(base, r):
    """What lesson 04's layer holds, without its forward: a frozen ``nn.Linear``, A and B."""
    layer = nn.Module()
    layer.base_layer = base.requires_grad_(False)
    layer.lora_A = nn.Parameter(torch.randn(base.in_features, r))
    layer.lora_B = nn.Parameter(torch.zeros(r, base.out_features))
    return layer


small = adapted(nn.Linear(30, 20), r=2)
for name, parameter in small.named_parameters():
    state = "trains" if parameter.requires_grad else "frozen"
    print(f"{name:18} {str(tuple(parameter.shape)):9} {parameter.numel():4} values, {state}")
train = sum(p.numel() for p in small.parameters() if p.requires_grad)
print(f"{train} train, of {sum(p.numel() for p in small.parameters())} in all")

# %% [markdown]
r"""
The scaling is not in the list: it is a plain number, set once. The weight holds six times as many numbers as the adapter beside it.

## Exercises: `lora_parameters` and `reduction`

*About 4 minutes · difficulty 1 of 5 · 1 point each*

Write the same two counts as functions, for any layer.

<details><summary>Hint 1: what to look at</summary>
Step 1 of the worked example. Where do 60, 40 and 600 come from?
</details>
<details><summary>Hint 2: the idea</summary>
The weight and the adapter do the same job, taking <code>d</code> numbers to <code>k</code>. What is the ratio of their sizes?
</details>
<details><summary>Hint 3: nearly there</summary>
For <code>d = 30, k = 20, r = 2</code> your functions must return 100 and 6.0, and for <code>d = 3, k = 4, r = 2</code> they must return 14 and a little less than
0.86: an adapter can be larger than the weight.
</details>
"""


# %% exercise="lora_parameters"
def lora_parameters(d, k, r):
    """How many values the adapter of one layer trains: those of A (d, r) and B (r, k).

    Args:
        d, k: in_features and out_features of the layer.
        r: the rank.

    Returns:
        A whole number.
    """
    ### BEGIN SOLUTION
    in_A = d * r
    in_B = r * k
    return in_A + in_B
    ### END SOLUTION


# %% check="lora_parameters"
check.lora_parameters(lora_parameters)


# %% exercise="reduction"
def reduction(d, k, r):
    """How many times as many values the weight holds as the adapter; the bias does not count.

    Args:
        d, k: in_features and out_features of the layer.
        r: the rank.

    Returns:
        A float, not rounded. It is below 1 where the adapter is the larger of the two.
    """
    ### BEGIN SOLUTION
    adapter = d * r + r * k
    return d * k / adapter
    ### END SOLUTION


# %% check="reduction"
check.reduction(reduction)

# %% [markdown]
r"""
## Exercise: `count_parameters`

*About 6 minutes · difficulty 2 of 5 · 2 points*

A formula says how many values *should* train. To find out how many do, count them in the model. Three things make that harder than it looks:

- modules contain modules, and some also have parameters of their own;
- two modules may **share** a parameter. Language models often use one matrix both to read tokens and to write them. It is in memory once, and counts once;
- a **buffer** is not a parameter. The running mean of a batch norm is stored with the model, but not trained.

<details><summary>Hint 1: what to look at</summary>
The loop under the worked example prints what you need to know of each parameter. Which method gave it the parameters?
</details>
<details><summary>Hint 2: the idea</summary>
<code>module.parameters()</code> walks through all levels, leaves buffers out, and gives a shared parameter once. You only have to add up sizes, twice.
</details>
<details><summary>Hint 3: nearly there</summary>
You can loop over the result of <code>parameters()</code> only once. Make a list of it, or call it again.
</details>
"""


# %% exercise="count_parameters"
def count_parameters(module):
    """How many values of a module train, and how many it has.

    Args:
        module: any ``nn.Module``; it is left as it was.

    Returns:
        ``(trainable, total)``, two whole numbers. The total counts frozen values too. A
        parameter that is there under several names (one object, shared) counts once. Buffers
        do not count. Without any parameter: ``(0, 0)``.
    """
    ### BEGIN SOLUTION
    parameters = list(module.parameters())  # a shared one is listed once
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    total = sum(p.numel() for p in parameters)
    return trainable, total
    ### END SOLUTION


# %% check="count_parameters"
check.count_parameters(count_parameters)

# %% demonstration=true
print("the worked example:", count_parameters(small))

reads, writes = nn.Embedding(1000, 64), nn.Linear(64, 1000, bias=False)
model = nn.Sequential(
    reads,
    nn.TransformerEncoderLayer(64, nhead=4, dim_feedforward=256, batch_first=True),
    writes,
)
print(
    "a small transformer, a matrix for reading and one for writing:", count_parameters(model)
)
writes.weight = reads.weight
print(
    "the same, with one matrix for both:                           ", count_parameters(model)
)

# %% [markdown]
r"""
## Exercise: `largest_rank_within`

*About 3 minutes · difficulty 1 of 5 · 1 point*

Now the other way round. You may train 1,000,000 values in one layer from 4096 to 4096 features. What is the largest rank that you can afford? Write the function for any layer
and any budget.

<details><summary>Hint 1: what to look at</summary>
Go from rank 2 to rank 3 in the worked example. How many values are added to <code>A</code>, and how many to <code>B</code>?
</details>
<details><summary>Hint 2: the idea</summary>
Each further rank costs the same number of values. How many times does that number fit into the budget?
</details>
<details><summary>Hint 3: nearly there</summary>
In the worked example a budget of 100 is enough for rank 2, a budget of 149 is still rank 2, and a budget of 49 is not enough for rank 1.
</details>
"""


# %% exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    """The largest rank whose adapter has at most `budget` values.

    Args:
        d, k: in_features and out_features of the layer.
        budget: how many values may train, a whole number, 0 or more; never so many that the
            rank exceeds min(d, k).

    Returns:
        A whole number; 0 where not even rank 1 fits.
    """
    ### BEGIN SOLUTION
    # one more rank is one more column of A, d values, and one more row of B, k values
    return budget // (d + k)
    ### END SOLUTION


# %% check="largest_rank_within"
check.largest_rank_within(largest_rank_within)

# %% [markdown]
r"""
A budget says nothing about where to spend it. The paper tried several ways to spend about 18 million values on GPT-3, "which corresponds to $r = 8$ if we adapt one type of attention
weights or $r = 4$ if we adapt two types, for all 96 layers" (section 7.1). Each of these weights is 12,288 × 12,288. Your function says what rank each choice leaves. The accuracies
on WikiSQL are the paper's (Table 5), four of its seven columns, and it gives ± 0.5 for them.
"""

# %% demonstration=true
budget = 18_874_368
print(
    "a million values in one 4096 → 4096 layer: rank",
    largest_rank_within(4096, 4096, 1_000_000),
)
for adapts, matrices, accuracy in (
    ("q", 1, 70.4),
    ("v", 1, 73.0),
    ("q, v", 2, 73.7),
    ("q, k, v, o", 4, 73.7),
):
    r = largest_rank_within(12288, 12288, budget // (96 * matrices))
    print(f"{adapts:10}  rank {r}   accuracy {accuracy}")

# %% [markdown]
r"""
Rank 8 in the queries alone is clearly worse than rank 2 in all four places. The other three lie closer together than ± 0.5 can tell apart.

## What training keeps

The next cell takes one step of Adam with the worked example's layer, and then looks at what is stored beside each parameter. `exp_avg` and `exp_avg_sq` are Adam's running averages of the
gradient and of its square: its two *moments*.
"""

# %% demonstration=true
torch.manual_seed(0)
x = torch.randn(5, 30)
optimiser = torch.optim.Adam([small.lora_A, small.lora_B])
(small.base_layer(x) + (x @ small.lora_A) @ small.lora_B).sum().backward()
optimiser.step()
for name, parameter in small.named_parameters():
    kept = {"the values": parameter, "gradient": parameter.grad} | optimiser.state.get(
        parameter, {}
    )
    as_large = [
        key
        for key, tensor in kept.items()
        if tensor is not None and tensor.shape == parameter.shape
    ]
    print(f"{name:18}", ", ".join(as_large))

# %% [markdown]
r"""
## Exercise: `training_bytes`

*About 4 minutes · difficulty 2 of 5 · 2 points*

Each of those tensors is as large as its parameter. Write a function that adds them up, for a whole model.

<details><summary>Hint 1: what to look at</summary>
The output above. How many numbers are kept for one frozen value, and how many for one that trains?
</details>
<details><summary>Hint 2: the idea</summary>
Go by kind: weights, gradients, first moments, second moments. Which of <code>total</code> and <code>trainable</code> is each kind's size?
</details>
<details><summary>Hint 3: nearly there</summary>
<code>total</code> already contains what trains. For <code>total = 720</code> and <code>trainable = 100</code>, in 4 bytes each, your function must return 4080.
</details>
"""


# %% exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    """Memory for training with Adam: weights, and a gradient and two moments for what trains.

    Args:
        total: how many values the model has, trained ones included.
        trainable: how many of them train.
        bytes_per_value: how many bytes every number takes, weights, gradients and moments
            alike.

    Returns:
        A number of bytes. What the layers pass on to each other (activations) is not counted.
    """
    ### BEGIN SOLUTION
    weights = total
    gradients = trainable
    moments = 2 * trainable
    return bytes_per_value * (weights + gradients + moments)
    ### END SOLUTION


# %% check="training_bytes"
check.training_bytes(training_bytes)

# %% [markdown]
r"""
## Back to your prediction

GPT-3 as the paper adapts it: the queries and values of 96 layers, $d = k = 12{,}288$, $r = 4$. 16 bits are 2 bytes.
"""

# %% demonstration=true
# what trains: the budget of the table above, spent on q and v
gpt3, adapters = 175_000_000_000, 18_874_368


def parts(total, trainable):
    """Gigabytes in 16 bit: of the weights, and of all that is kept beside them."""
    weights = training_bytes(total, 0, bytes_per_value=2)  # as if nothing trained
    return weights / 1e9, (training_bytes(total, trainable, bytes_per_value=2) - weights) / 1e9


show_prediction(my_prediction, guess="10,000 times less")
full, lora = parts(gpt3, gpt3), parts(gpt3 + adapters, adapters)
for what, of_full, of_lora in (
    ("values that train, millions", gpt3 / 1e6, adapters / 1e6),
    ("gradients and moments, GB", full[1], lora[1]),
    ("weights, GB", full[0], lora[0]),
    ("all of it, GB", sum(full), sum(lora)),
):
    print(
        f"{what:28} full {of_full:10,.1f}   LoRA {of_lora:6.1f}  ",
        f"{of_full / of_lora:8,.1f} times less",
    )

# %% demonstration=true alt="Two charts. Left, stacked bars of memory for training GPT-3 in 16 bit. Full fine-tuning: weights 350 GB, gradients 350 GB, moments 700 GB, 1400 GB in all. LoRA: weights 350 GB and on top of them gradients and moments of 0.11 GB, too thin to see. White circles mark what the paper reports, 1200 GB and 350 GB. Right, on logarithmic axes, how many times less memory against how many times fewer values train. A dashed diagonal for gradients and moments rises without end. A solid line for everything together bends away from it and levels off at a dotted line, 4. A square marks the paper's LoRA at 9,272 times fewer values and 4 times less memory."
fewer = [10 ** (step / 10) for step in range(51)]
less = [
    sum(parts(gpt3, gpt3)) / sum(parts(gpt3 + gpt3 / times, gpt3 / times)) for times in fewer
]
plot_memory(full, lora, fewer, less, mark=(gpt3 / adapters, sum(full) / sum(lora)))

# %% [markdown]
r"""
10,000 is tempting because it is roughly right for another number: about that many times fewer values *train*, and gradients and moments shrink by the same factor. But the frozen values stay in memory,
because every row still goes through them. Under full fine-tuning four numbers are kept for every value: the value, its gradient, two moments. Freezing it leaves one. So no adapter,
however small, takes the whole below **a quarter**. Nearly all of the 350 GB that are left are the frozen weights: 175 billion values of 2 bytes.

The paper itself says: "On GPT-3 175B, we reduce the VRAM consumption during training from 1.2TB to 350GB" (section 4.2). That is 3.4 times less. Our count is simpler than a real run. It
assumes that every number has the same width, and it leaves out activations, which depend on the batch. Nor is training 10,000 times faster: "We also observe a 25% speedup during training"
(same section).

To save more, the frozen weights themselves must shrink. QLoRA keeps them in 4 bits, "enough to finetune a 65B parameter model on a single 48GB GPU" (abstract of arXiv 2305.14314).
"""

# %% demonstration=true
print(f"the paper's figures: {1200 / 350:.1f} times less")
print(f"65 billion frozen values, half a byte each: {training_bytes(65e9, 0, 0.5) / 1e9} GB")

# %% [markdown]
r"""
## The claims audit

Here are ten published figures, each with the line that states it. Your verdict on each: **exact**, **near** (within 10 % of the figure that you compute) or **wrong**. First judge
without calculating, and write your verdicts down.

| | the line | what is claimed | from |
|---|---|---|---|
| A | "This is a ~256x reduction in the number of trainable parameters for this single layer!" | 4096 × 4096 at $r = 8$: 256 times fewer | course notes |
| B | "That's 400× fewer parameters than full fine-tuning!" | 5,000 × 10,000 at $r = 8$: 400 times fewer | a README on LoRA |
| C | "LoRA can reduce the number of trainable parameters by 10,000 times" | GPT-3, q and v of 96 layers, $d = k = 12{,}288$, $r = 4$: 10,000 times fewer | the LoRA paper, abstract |
| D | "the checkpoint size is reduced by roughly 10,000× (from 350GB to 35MB)" | the adapter of C takes 35 MB on disk, in 16 bit | the LoRA paper, section 4.2 |
| E | "37.7M ($r_q = r_v = 8$ or $r_q = r_k = r_v = r_o = 2$)" | GPT-3, q, k, v and o of 96 layers at $r = 2$: 37.7 million values train | the LoRA paper, appendix D.4 |
| F | "GPT-2 M (LoRA)", "0.35M" | GPT-2 medium, q and v of 24 layers, $d = k = 1{,}024$, $r = 4$: 0.35 million train | the LoRA paper, tables 3 and 11 |
| G | "$\text{RoB}_\text{base}$ (LoRA)", "0.3M" | RoBERTa base, q and v of 12 layers, $d = k = 768$, $r = 8$: 0.3 million train | the LoRA paper, tables 2 and 9 |
| H | "all params: 6,742,609,920" | what PEFT prints for Llama-2-7B with q and v adapted at $r = 8$ | many tutorials |
| I | "Trainable Parameters (A+B)" | 512 → 512 at $r = 4$: what the line prints is $A$ and $B$, 4,096 values | a textbook chapter, in lesson [04](../04_lora_linear/04_lora_linear.ipynb) |
| J | "Because the number of trainable parameters is reduced by over 10,000x, the memory requirement for optimizer states and gradients collapses." | gradients and moments of C take 10,000 times less | the same chapter |
"""

# %%
my_verdicts = {  # "exact", "near" or "wrong"
    "A": "?",
    "B": "?",
    "C": "?",
    "D": "?",
    "E": "?",
    "F": "?",
    "G": "?",
    "H": "?",
    "I": "?",
    "J": "?",
}

# %% [markdown]
r"""
## Exercise: `worked_out`

*About 6 minutes · difficulty 2 of 5 · 3 points*

Now compute three of the figures yourself: D, E and F. The other seven are computed for you afterwards.

<details><summary>Hint 1: what to look at</summary>
The table says for each claim how many layers the model has, which projections are adapted, how large they are and at which rank.
</details>
<details><summary>Hint 2: the idea</summary>
Each adapted projection has an adapter of its own. You have a function that counts one of them.
</details>
<details><summary>Hint 3: nearly there</summary>
D asks for bytes, and a number in 16 bit takes two of them. Claim E has four projections in a layer, and a rank of its own.
</details>
"""


# %% exercise="worked_out"
def worked_out(claim):
    """Your own figure for claim D, E or F of the table.

    Args:
        claim: "D", "E" or "F".

    Returns:
        A number. D: how many bytes the adapter takes on disk. E and F: how many values train.
    """
    ### BEGIN SOLUTION
    if claim == "D":
        return 96 * 2 * lora_parameters(12288, 12288, 4) * 2  # 2 bytes for each value
    if claim == "E":
        return 96 * 4 * lora_parameters(12288, 12288, 2)
    return 24 * 2 * lora_parameters(1024, 1024, 4)
    ### END SOLUTION


# %% check="worked_out"
check.worked_out(worked_out)

# %% [markdown]
r"""
For H, the model itself is counted. On the *meta* device a tensor has a shape and no memory, so even this one can be built anywhere. (If you recognise shared parameters by their address
in memory, your count will be wrong here: tensors on the meta device have no address.) For I, we count lesson [04](../04_lora_linear/04_lora_linear.ipynb)'s layer with a bias that still trains.

Open the answers one at a time, and state your verdict before you look.
"""

# %% demonstration=true
textbook = adapted(nn.Linear(512, 512), r=4)
textbook.base_layer.bias.requires_grad = True

reveal(
    {
        "A": reduction(4096, 4096, 8),
        "B": reduction(5000, 10000, 8),
        "C": gpt3 / adapters,
        "D": worked_out("D"),
        "E": worked_out("E"),
        "F": worked_out("F"),
        "G": 12 * 2 * lora_parameters(768, 768, 8),
        "H": count_parameters(llama_2_7b(lambda layer: adapted(layer, r=8)))[1],
        "I": count_parameters(textbook)[0],
        "J": full[1] / lora[1],
    },
    my_verdicts,
)

# %% [markdown]
r"""
The audit shows three kinds of error: a figure that was rounded and then repeated as if it were exact, a mistake in arithmetic that nobody checked, and a figure that is right for one
thing and quoted for another.

## What to remember

- An adapter's size follows from two shapes. Recompute a claim before you repeat it.
- Check the formula against the model: count what trains and what there is in all, shared parameters once.
- LoRA saves nearly all gradients and moments, but no weights. With Adam that is at most three quarters of the memory.

**Next:** [06 · Merging](../06_merging/06_merging.ipynb) folds the adapter into the weight, so that using it costs nothing at all.
"""
