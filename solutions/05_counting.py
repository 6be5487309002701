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

At the end of this lesson you can check any claim about the size of LoRA: how many values train, how many there are in all, and what
training keeps in memory.

*About 45 minutes · difficulty 2 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb)*
"""

# %%
import matplotlib.pyplot as plt
import torch
from torch import nn

from autograde import check

# %% [markdown]
r"""
## Predict first

GPT-3 has 175 billion values. The LoRA paper adapts it by training about 10,000 times fewer (Hu et al. 2021, arXiv 2106.09685). While a model is trained
with Adam, memory holds its values, their gradients, and two running averages that Adam keeps. Say every one of these numbers takes 16 bits.

> How many times less memory does LoRA need for them than full fine-tuning: 10,000, 1,000, 100 or 4 times less?

Write your guess into the next cell, and run it.
"""

# %%
my_prediction = "?"

# %% [markdown]
r"""
## A worked example, small enough to check by hand

A layer takes $d = 30$ numbers to $k = 20$, with a bias, and gets an adapter of rank $r = 2$. Go through lesson 04's four steps, and ask each of them what it
has to keep.

1. **shape** · $A$ is $(30, 2)$ and $B$ is $(2, 20)$. A matrix holds rows times columns: 60 numbers and 40.
2. **product** · $xA$ and $(xA)B$ are worked out anew for every $x$. Nothing of them is a parameter.
3. **scale** · $\alpha / r$ is one plain number, set once. It does not train.
4. **add** · to the base, whose weight holds 600 numbers and whose bias 20. They are frozen.

So 100 values train, of 720 in all, and the adapter is 6 times smaller than the weight beside it.
"""


# %%
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

# %% [markdown]
r"""
## Exercises: `lora_parameters` and `reduction`

*About 4 minutes · difficulty 1 of 5 · 1 point each*

The same two counts for any layer.

<details><summary>Hint 1: what to look at</summary>
Step 1 of the worked example. Where do 60, 40 and 600 come from?
</details>
<details><summary>Hint 2: the idea</summary>
The weight and the adapter do the same job, taking <code>d</code> numbers to <code>k</code>. How often does the smaller one go into the larger?
</details>
<details><summary>Hint 3: nearly there</summary>
For <code>d = 30, k = 20, r = 2</code> your functions must say 100 and 6.0, and for <code>d = 3, k = 4, r = 2</code> they must say 14 and a little less than
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

A formula says how many values *should* train. Whether they do is a question for the model itself. Three things make it harder than it looks:

- modules hold modules, and some hold parameters of their own beside them;
- two modules may **share** a parameter. Language models often use one matrix both to read tokens and to write them. It lies in memory once, and counts once;
- a **buffer** is no parameter. The running mean of a batch norm is stored with the model and never trained.

<details><summary>Hint 1: what to look at</summary>
The loop under the worked example prints what you need to know of each parameter. Which method gave it the parameters?
</details>
<details><summary>Hint 2: the idea</summary>
<code>module.parameters()</code> walks through all levels, leaves buffers out, and gives a shared parameter once. What is left to you is to add up, twice.
</details>
<details><summary>Hint 3: nearly there</summary>
What <code>parameters()</code> returns can be gone through only once. Make a list of it, or ask for it again.
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

# %%
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

Now the other way round. You may train 1,000,000 values in one layer from 4096 to 4096 features. Which rank does that pay for?

<details><summary>Hint 1: what to look at</summary>
Go from rank 2 to rank 3 in the worked example. How many values are added to <code>A</code>, and how many to <code>B</code>?
</details>
<details><summary>Hint 2: the idea</summary>
Every rank costs the same. How many times can you pay that price?
</details>
<details><summary>Hint 3: nearly there</summary>
In the worked example a budget of 100 pays for rank 2, a budget of 149 as well, and a budget of 49 for none at all.
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
    # a rank more is a column more in A, d values, and a row more in B, k values
    return budget // (d + k)
    ### END SOLUTION


# %% check="largest_rank_within"
check.largest_rank_within(largest_rank_within)

# %% [markdown]
r"""
A budget says nothing about where to spend it. The paper tried several ways to spend 18 million values on GPT-3, which has 96 layers and $d = k = 12{,}288$ in each projection of
its attention. Your function says what rank each choice leaves; the accuracies on WikiSQL are the paper's (Table 5).
"""

# %%
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
A smaller rank in more places did better than a larger one in the queries alone.

## What training keeps

The next cell takes one step of Adam with the worked example's layer, and then looks at what lies beside each parameter. `exp_avg` and `exp_avg_sq` are Adam's running averages of the
gradient and of its square: its two *moments*.
"""

# %%
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

Each of those tensors is as large as its parameter. Add them up, for a whole model.

<details><summary>Hint 1: what to look at</summary>
The output above. How many numbers are kept for one frozen value, and how many for one that trains?
</details>
<details><summary>Hint 2: the idea</summary>
Go by kind: weights, gradients, first moments, second moments. Which of <code>total</code> and <code>trainable</code> is each kind's size?
</details>
<details><summary>Hint 3: nearly there</summary>
<code>total</code> already contains what trains. For <code>total = 720</code> and <code>trainable = 100</code>, in 4 bytes each, your function must say 4080.
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

GPT-3 as the paper adapts it: the queries and values of 96 layers, $d = k = 12{,}288$, $r = 4$; 16 bits are 2 bytes.
"""

# %%
# what trains: the budget of the table above, spent on q and v
gpt3, adapters = 175_000_000_000, 18_874_368


def parts(total, trainable):
    """Gigabytes in 16 bit: of the weights, and of all that is kept beside them."""
    weights = training_bytes(total, 0, bytes_per_value=2)  # as if nothing trained
    return weights / 1e9, (training_bytes(total, trainable, bytes_per_value=2) - weights) / 1e9


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
print("you predicted", my_prediction, "times less")

# %% demonstration=true alt="Two charts. Left, stacked bars of memory for training GPT-3 in 16 bit. Full fine-tuning: weights 350 GB, gradients 350 GB, moments 700 GB, 1400 GB in all. LoRA: weights 350 GB and on top of them gradients and moments of 0.11 GB, too thin to see. White circles mark what the paper reports, 1200 GB and 350 GB. Right, on logarithmic axes, how many times less memory against how many times fewer values train. A dashed diagonal for gradients and moments rises without end. A solid line for everything together bends away from it and levels off at a dotted line, 4. A square marks the paper's LoRA at 9,272 times fewer values and 4 times less memory."
# each: full fine-tuning, LoRA
weights, rest = zip(parts(gpt3, gpt3), parts(gpt3 + adapters, adapters))
gradients = [gb / 3 for gb in rest]  # one of the three numbers beside each value that trains
moments = [gb * 2 / 3 for gb in rest]

figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
bottom = [0, 0]
for kind, heights, grey, hatch in (
    ("weights", weights, "0.9", ""),
    ("gradients", gradients, "0.75", ".."),
    ("moments", moments, "0.5", "//"),
):
    left.bar(
        [0, 1], heights, 0.6, bottom, color=grey, hatch=hatch, edgecolor="black", label=kind
    )
    bottom = [low + height for low, height in zip(bottom, heights)]
left.plot(
    [0, 1],
    [1200, 350],
    "o",
    color="black",
    markerfacecolor="white",
    label="reported by the paper",
)
left.text(1, 380, f"gradients and\nmoments: {rest[1]:.2f} GB", ha="center")
left.set(xticks=[0, 1], xticklabels=["full fine-tuning", "LoRA, q and v, r = 4"], ylabel="GB")
left.set_title("Training GPT-3 in 16 bit")
left.legend()

fewer = [10 ** (step / 10) for step in range(51)]
less = [
    sum(parts(gpt3, gpt3)) / sum(parts(gpt3 + gpt3 / times, gpt3 / times)) for times in fewer
]
right.plot(fewer, fewer, "--", color="0.45", label="gradients and moments")
right.plot(fewer, less, "-", color="black", linewidth=2, label="all of it")
right.axhline(4, linestyle=":", color="black", label="4, the limit")
right.plot(
    gpt3 / adapters, bottom[0] / bottom[1], "s", color="black", label="GPT-3, q and v, r = 4"
)
right.set(
    xscale="log", yscale="log", xlabel="times fewer values train", ylabel="times less memory"
)
right.set_title("How far the saving goes")
right.legend()
plt.show()

# %% [markdown]
r"""
Under full fine-tuning four numbers are kept for every value: the value, its gradient, two moments. Freezing it leaves one. So no adapter, however small, takes the whole below **a quarter**. Gradients
and moments do fall as far as the count of what trains; the weights stay, because every row still goes through them. The 350 GB that are left are little else than 175 billion values of 2 bytes.

The paper's own figures are 1.2 TB and 350 GB (section 4.2): 3.4 times less. Our count is simpler than a real run. It takes every number to be equally wide, and it leaves out activations, which depend on the batch.
Nor is training 10,000 times faster: the paper says 25 %.

To save more, the frozen weights themselves must shrink. QLoRA keeps them in 4 bits, and so fits a model of 65 billion values on one GPU of 48 GB (arXiv 2305.14314).
"""

# %%
print(f"the paper's figures: {1200 / 350:.1f} times less")
print(f"65 billion frozen values, half a byte each: {training_bytes(65e9, 0, 0.5) / 1e9} GB")

# %% [markdown]
r"""
## The claims audit

*About 5 minutes · no points*

Ten published figures. Call a claim **exact**, **near** (within 10 % of what you get when you work it out) or **wrong**. Go by feeling, or by pencil; write your verdicts down.

| | claim | from |
|---|---|---|
| A | a 4096 × 4096 weight at $r = 8$: 256 times fewer values train | course notes |
| B | a 5,000 × 10,000 weight at $r = 8$: 400 times fewer | an introduction |
| C | GPT-3 as above: 10,000 times fewer | the LoRA paper |
| D | its adapter takes 35 MB on disk, in 16 bit | the LoRA paper |
| E | GPT-3 with q, k, v and o adapted at $r = 2$: 37.7 million values | the LoRA paper, appendix D.4 |
| F | GPT-2 medium, q and v of 24 layers, $d = 1{,}024$, $r = 4$: 0.35 million | a table of the LoRA paper |
| G | RoBERTa base, q and v of 12 layers, $d = 768$, $r = 8$: 0.3 million | the LoRA paper |
| H | Llama-2-7B with q and v adapted at $r = 8$ has 6,742,609,920 values | a published count |
| I | a textbook's layer, 512 → 512 at $r = 4$: 4,096 values train | lesson 04 |
| J | 10,000 times fewer values train, so gradients and optimiser states shrink as much | course notes |
"""

# %%
my_verdicts = {
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
For H, the model itself. On the *meta* device a tensor has a shape and no memory, so even this one can be built anywhere. (Whoever tells shared parameters by their address in memory gets a
strange count for it: nothing here has an address.) For I, lesson 04's layer, its bias left to train.
"""


# %% demonstration=true
def sizes(d, k, r):
    """The numbers in A, in B and in the weight, counted on the meta device."""
    with torch.device("meta"):
        layer = adapted(nn.Linear(d, k), r)
    in_A, in_B, in_W = (
        layer.lora_A.numel(),
        layer.lora_B.numel(),
        layer.base_layer.weight.numel(),
    )
    return f"{in_A:,} and {in_B:,} of {in_W:,}"


def llama_block(d, hidden, r):
    """One of Llama-2's 32 blocks, frozen, with adapters on its q and v projections."""
    sizes = dict.fromkeys(("q", "k", "v", "o"), (d, d))
    sizes |= {"gate": (d, hidden), "up": (d, hidden), "down": (hidden, d)}
    layers = {name: nn.Linear(*size, bias=False) for name, size in sizes.items()}
    block = nn.ModuleDict(
        layers | {"norm_1": nn.RMSNorm(d), "norm_2": nn.RMSNorm(d)}
    ).requires_grad_(False)
    for name in ("q", "v"):
        block[name] = adapted(block[name], r)
    return block


with torch.device("meta"):
    reads, norm, writes = (
        nn.Embedding(32000, 4096),
        nn.RMSNorm(4096),
        nn.Linear(4096, 32000, bias=False),
    )
    llama = nn.ModuleDict({"reads": reads, "norm": norm, "writes": writes}).requires_grad_(
        False
    )
    llama["blocks"] = nn.ModuleList([llama_block(4096, 11008, r=8) for _ in range(32)])

textbook = adapted(nn.Linear(512, 512), r=4)
textbook.base_layer.bias.requires_grad = True

# %% demonstration=true
one, wide = lora_parameters(12288, 12288, 2), lora_parameters(12288, 12288, 4)
medium, base = lora_parameters(1024, 1024, 4), lora_parameters(768, 768, 8)
llama_trains, llama_total = count_parameters(llama)
textbook_trains, _ = count_parameters(textbook)
(_, full), (_, lora) = parts(gpt3, gpt3), parts(gpt3 + adapters, adapters)

audit = {  # claim: published, worked out, how
    "A": (256, reduction(4096, 4096, 8), sizes(4096, 4096, 8)),
    "B": (400, reduction(5000, 10000, 8), sizes(5000, 10000, 8)),
    "C": (10_000, gpt3 / (96 * 2 * wide), f"{gpt3:,} / (96 · 2 · {wide:,})"),
    "D": (35e6, training_bytes(96 * 2 * wide, 0, 2), f"{96 * 2 * wide:,} · 2 bytes"),
    "E": (37.7e6, 96 * 4 * one, f"96 · 4 · {one:,}; at r = 4 it would be {96 * 4 * wide:,}"),
    "F": (0.35e6, 24 * 2 * medium, f"24 · 2 · {medium:,}"),
    "G": (0.3e6, 12 * 2 * base, f"12 · 2 · {base:,}"),
    "H": (
        6_742_609_920,
        llama_total,
        f"{llama_total - llama_trains:,} frozen, {llama_trains:,} train",
    ),
    "I": (
        4096,
        textbook_trains,
        f"{lora_parameters(512, 512, 4):,} in A and B, 512 in the bias",
    ),
    "J": (10_000, full / lora, f"{full:,.0f} GB / {lora:.4f} GB"),
}
print("       published       worked out   verdict   you     how")
for claim, (published, found, how) in audit.items():
    verdict = (
        "exact"
        if published == found
        else "near"
        if abs(published - found) <= 0.1 * found
        else "wrong"
    )
    print(
        f"{claim} {published:>15,.0f}  {found:>15,.1f}   {verdict:8} ",
        f"{my_verdicts[claim]:6}  {how}",
    )

# %% [markdown]
r"""
- **A and H are exact.** Notice what H counts: its total contains the adapters, and is a little more than the model had before.
- **B, C, D and G are near**, and not all to the same side: B claims less than is true, C more, and D leaves almost 3 MB out. For a slogan that will do. For planning a disk, work it out.
- **E is twice too large**: 37.7 million is what $r = 4$ would give. A paper's authors can slip too.
- **F falls short** by a ninth of what its own settings give. What was counted there, the formula cannot say.
- **I** is the bias of lesson 04. The formula was right and the layer was not: count the model too.
- **J is near, and true of what it names.** Read as a claim about all of training memory, it would be wrong by a factor of thousands.

## What to remember

- An adapter's size follows from two shapes. Work out a claim before you repeat it.
- Count the model as well as the formula: what trains, what there is in all, shared parameters once.
- LoRA takes away nearly all gradients and moments, and no weights: with Adam, at most three quarters of it all.

**Next:** [06 · Merging](../06_merging/06_merging.ipynb) folds the adapter into the weight, so that using it costs nothing at all.
"""
