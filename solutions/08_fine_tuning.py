# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
r"""
# 08 · Fine-tuning

At the end of this lesson a network of 26,122 parameters that reads upright digits has learned a second task with only 448
new ones, and it can still do the first task exactly as before. You can say from your own measurements what LoRA gives you,
what it costs, and when not to use it.

*About 60 minutes · difficulty 3 of 5 · builds on: [04 · LoRALinear](../04_lora_linear/04_lora_linear.ipynb) and
[05 · Counting](../05_counting/05_counting.ipynb)*

## From memory

Answer these before you open them.

<details><summary>04 · Which parameters of a LoRALinear require a gradient? Name one that is easily forgotten.</summary>
Only A and B. The bias of the base is easily forgotten: it must be frozen too.
</details>
<details><summary>05 · How many parameters does a LoRA of rank 1 have on a layer from 64 to 128 features?</summary>
64 + 128 = 192. The weight has 8,192.
</details>
<details><summary>04 · You wrap a layer in a new LoRALinear. By how much does the output of the model change?</summary>
Not at all, bit for bit: B is zero.
</details>
"""

# %%
import copy

import matplotlib.pyplot as plt
import torch
from torch import nn

from autograde import check
from autograde.lesson_kit import fine_tuning as kit
from autograde.lesson_kit.digits import accuracy, digits, inverted, turned
from autograde.lesson_kit.predictions import show_prediction
from lora_ref.layer import LoRALinear

device = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
r"""
From here on `LoRALinear` is given: it is the layer of lesson [04](../04_lora_linear/04_lora_linear.ipynb), imported from
`lora_ref/layer.py`. When your work is graded, the rest of `lora_ref` is refused.

## A network that reads digits

The network has two hidden layers, its *body*, and a *head* that turns 128 features into ten logits. The next cell trains it
on 1,400 upright digits; 397 more are held out, and every accuracy in this lesson is measured on those. One digit of 397 is a
quarter of a percentage point, and another seed changes an accuracy by a few points. So the experiments below run with
several seeds and show the average and the range.
"""


# %% demonstration=true alt="Two rows of ten handwritten digits of 8 by 8 pixels, dark on white. Above, upright; below, the same digits turned by 30 degrees."
class Reader(nn.Module):
    """Reads digits: 64 pixels to ten logits."""

    def __init__(self, width=128):
        super().__init__()
        hidden = [nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        self.body = nn.Sequential(*hidden)
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.body(x))


(images, y), (held_out_images, y_held_out) = digits(device)
x, x_turned = images.flatten(1), turned(images, 30).flatten(1)  # (1400, 64)
x_held_out = held_out_images.flatten(1)
x_turned_held_out = turned(held_out_images, 30).flatten(1)


def reader(seed, width=128, lr=3e-3):
    """A network that has learned the upright digits."""
    torch.manual_seed(seed)
    model = Reader(width).to(device)
    kit.train(model, list(model.parameters()), x, y, lr, steps=150, seed=seed)
    return model


SEEDS = range(5)
readers = [reader(seed) for seed in SEEDS]
before_upright = [accuracy(model, x_held_out, y_held_out) for model in readers]
before_turned = [accuracy(model, x_turned_held_out, y_held_out) for model in readers]
print(f"parameters of the network: {sum(p.numel() for p in readers[0].parameters()):,}")
print("accuracy on upright digits:", kit.spread(before_upright), "over five seeds")
print("accuracy on turned digits: ", kit.spread(before_turned))

figure, axes = plt.subplots(2, 10, figsize=(9, 2), layout="constrained")
for column in range(10):
    sample = images[(y == column).nonzero()[0]]
    for axis, picture in zip(axes[:, column], (sample[0], turned(sample, 30)[0])):
        axis.imshow(picture.cpu(), cmap="gray_r", vmin=0, vmax=1)
        axis.axis("off")
plt.show()

# %% [markdown]
r"""
## Predict first

Now the network has to read digits that are turned by 30°. Here are three ways to train it, on the same 1,400 digits, turned:

- **full**: all 26,122 parameters are trained;
- **head**: only the last layer, 1,290 parameters;
- **LoRA, rank 1** on the two layers of the body, with the head frozen: 448 new parameters.

> What accuracy on held-out turned digits do you expect from each? And after training with LoRA, with the adapters switched
> off: what is the accuracy on upright digits?
"""

# %%
my_prediction = {
    "full": "?",
    "head": "?",
    "LoRA, rank 1": "?",
    "LoRA switched off, upright": "?",
}

# %% [markdown]
r"""
To find out you need three functions: one that puts the adapters in, one that collects the parameters to train, and one that
trains them.

## Replacing one layer by hand

A model is a tree: modules hold modules. Replacing one of them takes four steps. Here is a small model. The layer that you
will replace is two levels deep, the last one in the list:
"""

# %% demonstration=true
small = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)))
for name, module in small.named_modules():
    print(f"{name!r:6} {type(module).__name__}")

# %% [markdown]
r"""
1. **find** · its full name is `"1.1"`: the module with the name `"1"` holds one that also has the name `"1"`.
2. **parent** · to replace a layer you set an attribute of the module that holds it, its parent. Here that is `small[1]`.
3. **wrap** · `LoRALinear(layer, rank, alpha)` keeps the layer and freezes it.
4. **put back** · under the same name, in the parent.
"""

# %% demonstration=true
parent, name = small[1], "1"
parent.register_module(name, LoRALinear(getattr(parent, name), rank=2, alpha=4))
print(small)

# %% [markdown]
r"""
Now look at the names again. What would a second pass over this model find, if it looked for every `nn.Linear`?
"""

# %% demonstration=true
for name, module in small.named_modules():
    print(f"{name!r:18} {type(module).__name__}")

# %% [markdown]
r"""
## Exercise: `add_lora`

*About 10 minutes · difficulty 3 of 5 · 3 points*

Now replace every `nn.Linear` of a model, at any depth. You need not freeze anything yourself: `LoRALinear` freezes the layer
that it wraps. Whether anything else in the model trains (a norm, say) is the caller's decision.

<details><summary>Hint 1: what to look at</summary>
<code>named_children()</code> gives a module's own parts, and <code>named_modules()</code> gives all of them, at every depth,
with full names. With which of the two do you have the parent already?
</details>
<details><summary>Hint 2: the idea</summary>
Walk the tree with a function that calls itself: for each part, either it is what you are looking for, or you look inside
it. There is one kind of part that you must not look into.
</details>
<details><summary>Hint 3: nearly there</summary>
If your loop changes the collection that it runs over, make a list of it first. And call your function twice on one model: the
second call must leave the adapters as they are, with the values that they have learned.
</details>
"""


# %% exercise="add_lora"
def add_lora(model, rank, alpha):
    """Put a LoRALinear around every nn.Linear of a model, in place.

    Args:
        model: a module that is not itself an nn.Linear; it holds nn.Linears at any depth. It
            may hold LoRALinears already: those, and all that is inside them, stay as they are.
        rank: r of every new LoRALinear.
        alpha: of every new LoRALinear.

    Returns:
        The model. In place of each nn.Linear there is now a LoRALinear whose base_layer is
        that same nn.Linear object. Every parameter that was there keeps its value, and none
        that was frozen requires a gradient. (You may freeze more, or leave it to the caller.)
    """
    ### BEGIN SOLUTION
    for name, part in list(model.named_children()):
        if isinstance(part, nn.Linear):
            setattr(model, name, LoRALinear(part, rank, alpha))
        elif not isinstance(part, LoRALinear):
            add_lora(part, rank, alpha)
    return model
    ### END SOLUTION


# %% check="add_lora"
check.add_lora(add_lora)

# %% [markdown]
r"""
## Exercise: `adapter_parameters`

*About 5 minutes · difficulty 2 of 5 · 1 point*

Collect the parameters for the optimiser: the adapters, and only these. Not every parameter that requires a gradient belongs
to an adapter: a norm or an embedding may require one as well, and the optimiser would change it.

<details><summary>Hint 1: what to look at</summary>
<code>model.modules()</code> gives every module of the model, each once.
</details>
<details><summary>Hint 2: the idea</summary>
Do not search by name. Find the modules that have adapters, and take the two Parameters of each.
</details>
<details><summary>Hint 3: nearly there</summary>
An optimiser needs the Parameters themselves. <code>.data</code>, <code>.detach()</code> and <code>.clone()</code> return
another tensor, which is not the Parameter that holds the gradient.
</details>
"""


# %% exercise="adapter_parameters"
def adapter_parameters(model):
    """The Parameters lora_A and lora_B of every LoRALinear in a model.

    Args:
        model: a module. The same LoRALinear may be used at two places in it.

    Returns:
        A list (or another iterable) of the Parameters themselves, each once, in any order,
        and nothing else.
    """
    ### BEGIN SOLUTION
    layers = [module for module in model.modules() if isinstance(module, LoRALinear)]
    return [parameter for layer in layers for parameter in (layer.lora_A, layer.lora_B)]
    ### END SOLUTION


# %% check="adapter_parameters"
check.adapter_parameters(adapter_parameters)

# %% [markdown]
r"""
### Experiment: the optimiser came first

A training script creates its model, whose head is frozen, and its optimiser at the top. Below that, somebody adds one line:
`add_lora(model.body, 4, 8)`. The rest of the script stays as it is, and it runs.

> After 100 steps: has the base changed? Have the adapters changed? Does the loss fall?
"""

# %%
my_second_prediction = {"base changed": "?", "adapters changed": "?", "loss falls": "?"}

# %% demonstration=true
model = copy.deepcopy(readers[0])
model.head.requires_grad_(False)
optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)  # the top of the script
torch.manual_seed(0)
add_lora(model.body, rank=4, alpha=8)  # the line that was added
was = {name: tensor.clone() for name, tensor in model.state_dict().items()}
losses = list(kit.losses(optimiser, model, x_turned, y))  # the rest of the script: 100 steps
changed = [
    name for name, tensor in model.state_dict().items() if not torch.equal(tensor, was[name])
]
show_prediction(
    my_second_prediction,
    guess={"base changed": "yes", "adapters changed": "yes", "loss falls": "yes"},
)
print("changed:", changed or "nothing")
print(f"loss of the first 20 steps, on average: {kit.mean(losses[:20]):.3f}")
print(f"loss of the last 20 steps:              {kit.mean(losses[-20:]):.3f}")

# %% [markdown]
r"""
It is tempting to expect that the script trains what it trained before, and the adapters as well. But nothing changes at
all. The optimiser holds the Parameters that it was given, and these are now frozen; the adapters were made later. The
adapters' gradients were computed 100 times and never used. (They even add up: an optimiser clears only the gradients of its
own Parameters.) So make the adapters first, then the optimiser.
"""

# %% [markdown]
r"""
## Exercise: `fine_tune`

*About 12 minutes · difficulty 3 of 5 · 4 points: 2 for what the model learns, 2 for the state in which you leave it*

Write the training loop. You choose the optimiser (`torch.optim.Adam` is a good start), batches or all rows at once, weight
decay, a schedule. The check looks only at the result. Its network has a body of two hidden layers, a norm that requires a
gradient, and LoRA of rank 8 with $\alpha = 24$ on every `nn.Linear`. You train it on 200 digits turned by 30°, with
`epochs=100` and `lr=5e-3`. Before training it reads 47 % of 397 held-out turned digits correctly. After training it must
read at least **60 %**. The bar is low, so that a schedule or an early stop passes, too: plain gradient descent on all rows
at once reaches about 81 %, Adam about 90 %.

<details><summary>Hint 1: what to look at</summary>
Most of it is the same as in any training loop. Which parameters must the optimiser get here? You have a function for that.
</details>
<details><summary>Hint 2: the idea</summary>
Each batch takes three steps: compute the loss, compute its gradients, let the optimiser step. Gradients add up in
<code>.grad</code> until your code clears them: where in the loop does that belong, and where not?
</details>
<details><summary>Hint 3: nearly there</summary>
Look at the model when your function is done. Is <code>model.training</code> what it should be? Does an adapter still have a
<code>.grad</code>? Do exactly those parameters require a gradient that did before?
</details>
"""


# %% exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    """Train the adapters of a classifier, and nothing else, in place.

    Args:
        model: contains LoRALinears; model(x) returns logits of shape (n, classes).
        x: float tensor of shape (n, features).
        y: int64 tensor of shape (n,), the classes.
        epochs: how many times each row is used.
        lr: the learning rate.

    Afterwards: only lora_A and lora_B of the LoRALinears have changed, and every other
    parameter is unchanged, bit for bit; requires_grad of every parameter is as before; no
    adapter has a gradient left (.grad is None or zero); and the model is in eval mode. The
    return value is up to you.
    """
    ### BEGIN SOLUTION
    optimiser = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()
    ### END SOLUTION


# %% check="fine_tune"
check.fine_tune(fine_tune)

# %% [markdown]
r"""
## The pay-off

Now run your three functions on the network from your prediction:
"""

# %% demonstration=true
torch.manual_seed(0)
model = copy.deepcopy(readers[0])
add_lora(model.body, rank=1, alpha=8)
trained = list(adapter_parameters(model))
fine_tune(model, x_turned, y, epochs=150, lr=3e-2)


def switch(model, on):
    """Switch all adapters of a model on or off."""
    for module in model.modules():
        if isinstance(module, LoRALinear):
            module.enabled = on


count = sum(p.numel() for p in trained)
total = sum(p.numel() for p in readers[0].parameters())
show_prediction(
    my_prediction,
    guess={
        "full": "95 %",
        "head": "90 %",
        "LoRA, rank 1": "60 %",
        "LoRA switched off, upright": "70 %",
    },
)
print(f"trained: {count} parameters, one for every {total / count:.0f} that were there")
print(f"turned digits:  {before_turned[0]:.1%} before, ", end="")
print(f"{accuracy(model, x_turned_held_out, y_held_out):.1%} after")
print(f"upright digits: {before_upright[0]:.1%} before, ", end="")
print(f"{accuracy(model, x_held_out, y_held_out):.1%} with the adapters on")
switch(model, on=False)
print(
    f"                {accuracy(model, x_held_out, y_held_out):.1%} with the adapters off, ",
    end="",
)
print(
    "every logit the same bit for bit:", torch.equal(model(x_held_out), readers[0](x_held_out))
)

# %% [markdown]
r"""
Two wrong guesses are tempting here: that so few parameters can learn only little, and that a network which has learned a
second task has lost part of the first forever. But one new parameter for every 58 old ones was enough to read most turned
digits, and the old network is not lost: switch the adapters off, and it is back, bit for bit. Full fine-tuning cannot do
that, because it overwrites the only copy of the weights.

But with the adapters *on*, the network reads far fewer upright digits than before. It does not do both tasks at once: it is
two networks in the memory of little more than one.

## Accuracy against parameters

The next cell compares five ways to train, with five seeds each. The same loop trains them all: Adam, 100 steps of 64 digits.
Each method gets a learning rate that suits it (they come from the sweep in the next section); $\alpha$ is 8 for every rank.
"""


# %% demonstration=true alt="Accuracy on held-out turned digits against the number of parameters trained, on a logarithmic axis, with a small point for each of five seeds and a large one for their average. LoRA of rank 1 lies lowest of the trained ones with the fewest parameters; LoRA of rank 4 comes within two points of full fine-tuning and rank 16 reaches it, with a fraction of its parameters; the head alone has about three quarters as many parameters as LoRA of rank 4 and is clearly below it. A dotted line far below marks the accuracy before training."
RATES = {"full": 3e-3, "head": 3e-2} | {f"LoRA, rank {r}": 3e-2 for r in (1, 4, 16)}


def prepare(method, base, seed):
    """A copy of the base, and what to train of it."""
    torch.manual_seed(100 + seed)
    model = copy.deepcopy(base)
    if method == "full":
        return model, list(model.parameters())
    if method == "head":
        return model, list(model.head.parameters())
    rank = int(method.split()[-1])
    add_lora(model.body, rank, alpha=8)
    return model, list(adapter_parameters(model))


results, counts = {}, {}
for method, rate in RATES.items():
    results[method] = []
    for seed, base in zip(SEEDS, readers):
        model, parameters = prepare(method, base, seed)
        kit.train(model, parameters, x_turned, y, rate, seed=seed)
        results[method].append(accuracy(model, x_turned_held_out, y_held_out))
    counts[method] = sum(p.numel() for p in parameters)
    print(f"{method:13} {counts[method]:6,} parameters   {kit.spread(results[method])}")
kit.plot_against_parameters(results, counts, kit.mean(before_turned))

# %% [markdown]
r"""
Compare the head with rank 4. The head has about three quarters as many parameters, but it is clearly worse. It can only
combine the 128 features that are there, and these were learned from upright digits. LoRA changes the features themselves.

## The learning rate

Suppose that full fine-tuning works well at `lr=3e-3`, and you replace it with LoRA.

> Which rate suits LoRA of rank 4: 3e-4, 1e-3, 3e-3, 1e-2, 3e-2 or 1e-1? And does the best rate depend on the rank?
"""

# %%
my_third_prediction = {"best rate for rank 4": "?", "depends on the rank": "?"}

# %% demonstration=true alt="Accuracy on held-out turned digits against the learning rate on a logarithmic axis, for full fine-tuning and LoRA of rank 1, 4 and 16, with bars for the spread over three seeds. Each line rises to a broad top and falls again at the largest rate. Full fine-tuning rises at smaller rates than LoRA; the three ranks have their tops at about the same rate, at different heights."
SWEEP = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SWEPT = ("full", "LoRA, rank 1", "LoRA, rank 4", "LoRA, rank 16")


def look(model):
    """Accuracy on turned and on upright digits."""
    new, old = (
        accuracy(model, x_turned_held_out, y_held_out),
        accuracy(model, x_held_out, y_held_out),
    )
    return new, old


sweep, paths = {}, {}
for method in SWEPT:
    sweep[method], paths[method] = {}, []
    for rate in SWEEP:
        sweep[method][rate] = []
        for seed, base in zip(SEEDS[:3], readers):
            model, parameters = prepare(method, base, seed)
            points = kit.train(model, parameters, x_turned, y, rate, seed=seed, look=look)
            sweep[method][rate].append(points[-1][0])
            paths[method] += points
    best = max(SWEEP, key=lambda rate: kit.mean(sweep[method][rate]))
    good = [
        r for r in SWEEP if kit.mean(sweep[method][r]) > kit.mean(sweep[method][best]) - 0.02
    ]
    also = ", ".join(f"{rate:g}" for rate in good)
    print(f"{method:13} best at {best:g}, within two points of it at {also}")
show_prediction(
    my_third_prediction, guess={"best rate for rank 4": "3e-3", "depends on the rank": "yes"}
)
kit.plot_sweep(sweep)

# %% [markdown]
r"""
There are two results, both measured on this network and this task, with $\alpha = 8$:

- LoRA needs a **larger** rate than full fine-tuning: it is tempting to keep the old rate, but it is too small. The exact
  factor is hard to read here, because each curve is flat near its top. Do not learn a factor by heart. A report on language
  models found about 10 ("LoRA Without Regret", 2025); the factor changes with $\alpha$, because $\alpha$ scales the update.
- The best rate hardly depends on the **rank**, as long as the update is scaled by $\alpha / r$. A public sweep on
  Llama-3.2-1B found the same: 1e-3 was best at rank 4, 16, 64 and 128 alike (thinking-machines-lab/tinker-cookbook,
  `sft_sweep.md`).

### The same layer under another name

A widely read README defines the layer as $xW + \alpha\,(xAB)$, without dividing by $r$, and says:
`LinearWithLoRA(nn.Linear(d, k), rank=4, alpha=8)`.

> You pass `rank=4, alpha=8` to `LoRALinear`. Is it the same layer? If not: which alpha do you have to pass?
"""

# %%
my_alpha = "?"


# %% demonstration=true
class LinearWithLoRA(nn.Module):
    """As published: alpha is not divided by the rank."""

    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear, self.alpha = linear, alpha
        self.A = nn.Parameter(torch.randn(linear.in_features, rank) / rank**0.5)
        self.B = nn.Parameter(torch.zeros(rank, linear.out_features))

    def forward(self, x):
        return self.linear(x) + self.alpha * (x @ self.A @ self.B)


torch.manual_seed(0)
theirs = LinearWithLoRA(nn.Linear(6, 5), rank=4, alpha=8)
nn.init.normal_(theirs.B)
row = torch.randn(1, 6)
show_prediction(my_alpha, guess="the same layer, alpha=8")
for alpha in (2, 8, 32):
    ours = LoRALinear(copy.deepcopy(theirs.linear), rank=4, alpha=alpha)
    with torch.no_grad():
        ours.lora_A.copy_(theirs.A)
        ours.lora_B.copy_(theirs.B)
    print(
        f"LoRALinear(…, rank=4, alpha={alpha:2}) computes the same:",
        torch.allclose(ours(row), theirs(row), atol=1e-5),
    )

# %% [markdown]
r"""
The same two names with the same two values look like the same layer. But the layers differ. To get the README's layer with
`LoRALinear`, multiply its alpha by the rank: $8 \cdot 4 = 32$. In the other direction, divide by the rank. Without the
division the update grows with the rank, so do not expect one learning rate to suit every rank.

## Learned against forgotten

Every run of the sweep was also measured while it trained, with the adapters on: the accuracy on turned digits, and the
accuracy on upright digits that is left. LoRA is said to "learn less and forget less" (arXiv 2405.09673, on language models).

> The next cell plots all these points: what is learned on the horizontal axis, what is kept on the vertical axis. Do the
> points of LoRA lie above those of full fine-tuning, among them, or below?
"""

# %%
my_fourth_prediction = "?"

# %% demonstration=true alt="Scatter plot of accuracy on upright digits against accuracy on turned digits, one point for each method, learning rate, seed and step. A star at the upper middle marks the start. From it the points of all methods run to the right along one upper edge, which then falls steeply. Below the edge lie scattered points of all methods, down to the lower left corner, where neither task is read. LoRA of rank 1 does not get as far to the right as the others."
show_prediction(my_fourth_prediction, guess="above")
start = kit.mean(before_turned[:3]), kit.mean(before_upright[:3])
kit.plot_learned_against_forgotten(paths, start)
for method, points in paths.items():
    near = [old for new, old in points if 0.84 <= new < 0.88]
    if near:
        print(
            f"{method:13} at 84 to 88 % on turned digits: {kit.spread(near)} on upright ones"
        )

# %% [markdown]
r"""
"Above" is what the slogan suggests. But the points of all methods have the same upper edge. At first it is nearly flat:
much is learned before much is forgotten. Then it falls steeply. At 84 to 88 % on turned digits, LoRA keeps no more than full
fine-tuning does. The points far below the edge come from runs with too large a learning rate, and every method has some:
they forget without learning. So here the *size of the update* decides, not the name of the method. PEFT's own comparison on
Llama-3.2-3B points the same way: LoRA of rank 32 forgets *more* than full fine-tuning (.050 against .030), at about the
same score. So do not choose LoRA for what it keeps while it is on. Choose it because it can be switched off.

## Where LoRA fails

Here is another task for the same network: digits with light and dark exchanged. For you that is as easy as reading turned
digits.

> Which of the three is best at inverted digits: full, the head alone, or LoRA of rank 16?
"""

# %%
my_fifth_prediction = "?"

# %% demonstration=true
x_inverted = inverted(images).flatten(1)
x_inverted_held_out = inverted(held_out_images).flatten(1)
show_prediction(my_fifth_prediction, guess="full: it can change everything")
failing = {}
for method in ("full", "head", "LoRA, rank 4", "LoRA, rank 16"):
    failing[method] = []
    for seed, base in zip(SEEDS[:3], readers):
        model, parameters = prepare(method, base, seed)
        kit.train(model, parameters, x_inverted, y, RATES[method], seed=seed)
        failing[method].append(accuracy(model, x_inverted_held_out, y_held_out))
    print(f"{method:13} {kit.spread(failing[method])}")

# %% [markdown]
r"""
Full fine-tuning can change everything, so it is tempting to bet on it. But in 100 steps it does not get as far as the head
alone, and LoRA fails.

A little algebra shows why the task is hard for the body. An inverted image is $1 - x$. The first layer computed $Wx + b$
from $x$. To get the same result from the inverted image, the layer has to compute $W' (1 - x) + b'$ with

$$W' = -W, \quad b' = b + W 1 \qquad \text{so} \qquad \Delta W = -2W .$$

The change is *twice as large as the weight itself*, its rank is that of $W$, and the bias, which LoRA keeps frozen, has to
change too. Which of the three (the size, the rank, the bias) is the obstacle? You can make this change by hand, without any
training: take $-2W$, replace it by the closest matrix of rank $r$ (lesson [01](../01_low_rank/01_low_rank.ipynb)), and add
that to the weight, once with the right bias and once with the old one.
"""

# %% demonstration=true alt="Line chart of the accuracy on inverted digits against the rank of the closest matrix to minus two W, from 1 to 64. With the right bias, a solid line stays low up to rank 4, climbs steeply, and is at the top from rank 16 on. With the old bias, a dashed line stays below it at every rank and never gets far above one half."
RANKS_BY_HAND = (1, 2, 4, 8, 12, 16, 32, 64)
by_hand = {
    name: {rank: [] for rank in RANKS_BY_HAND} for name in ("the right bias", "the old bias")
}
for base in readers[:3]:
    first = base.body[0]
    U, S, Vh = torch.linalg.svd(-2 * first.weight.detach())
    for rank in RANKS_BY_HAND:
        model = copy.deepcopy(base)
        with torch.no_grad():
            model.body[0].weight.add_((U[:, :rank] * S[:rank]) @ Vh[:rank])
            by_hand["the old bias"][rank].append(
                accuracy(model, x_inverted_held_out, y_held_out)
            )
            model.body[0].bias.add_(first.weight.sum(1))
            by_hand["the right bias"][rank].append(
                accuracy(model, x_inverted_held_out, y_held_out)
            )
figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
for (name, by_rank), line in zip(by_hand.items(), ("-", "--")):
    for rank in (4, 8, 16, 64):
        print(f"-2W at rank {rank:2}, {name:14} {kit.spread(by_rank[rank])}")
    axis.plot(
        RANKS_BY_HAND,
        [kit.mean(v) for v in by_rank.values()],
        "o" + line,
        color="black",
        label=name,
    )
axis.set(
    xscale="log", xlabel="rank of the change", ylabel="accuracy, inverted digits", ylim=(0, 1)
)
axis.set(xticks=RANKS_BY_HAND, xticklabels=RANKS_BY_HAND)
axis.minorticks_off()
axis.legend()
plt.show()

# %% [markdown]
r"""
The full change has the rank of $W$, but for these images rank 16 is enough. Rank 4, which was nearly enough for turning,
achieves little here; and with the old bias no rank is enough. What about the size of the change? And would more steps help?
"""

# %% demonstration=true
model, parameters = prepare("full", readers[0], seed=0)
kit.train(model, parameters, x_turned, y, RATES["full"], seed=0)
before, after = readers[0].body[0].weight, model.body[0].weight
turning, inverting = (
    (change.norm() / before.norm()).item() for change in (after - before, 2 * before)
)
print(f"norm of the change / norm of the weight: turning {turning:.2f}", end="")
print(f", inverting {inverting:.2f}")
for method, rate in (("full", 3e-3), ("LoRA, rank 16", 1e-2)):
    patient = []
    for seed, base in zip(SEEDS[:3], readers):
        model, parameters = prepare(method, base, seed)
        kit.train(model, parameters, x_inverted, y, rate, steps=1000, seed=seed)
        patient.append(accuracy(model, x_inverted_held_out, y_held_out))
    print(f"1,000 steps, {method:13} {kit.spread(patient)}")

# %% [markdown]
r"""
The change is several times as large as the one for turning, so it takes more steps: with ten times as many, full fine-tuning
succeeds. LoRA of rank 16 comes close with one seed and stays at chance with another, and its best run is below what the
head alone reached in 100 steps.

A task that is easy for you may need a large change of high rank, and one that seems harder (turning) a small change of low
rank. Here training the head alone works well, and it is cheap: the old features are still useful when the head combines
them differently. **Low rank is a hypothesis about the change that a task needs.** It is often true. It can be false, and
then no learning rate helps.

## Rank follows the task, not the width

Real models are wider than 128. Must the rank grow with the width? The next two cells train networks of three widths on the
same task, with two seeds each. (The widest takes longest.)

> Which rank comes within two points of full fine-tuning at width 128? And at width 1,024, whose hidden weight has 64 times
> as many entries?
"""

# %%
my_sixth_prediction = {"width 128": "?", "width 1024": "?"}

# %% demonstration=true
RANKS = (1, 2, 4, 8, 16)
curves, full = {}, {}


def by_rank(width, rate):
    """Fine-tune a network of this width in full, at learning rate `rate`, and at each rank."""
    full[width], curves[width] = [], {rank: [] for rank in RANKS}
    for seed in SEEDS[:2]:
        torch.manual_seed(seed)
        base = Reader(width).to(device)
        kit.train(base, list(base.parameters()), x, y, rate, seed=seed)
        for rank in (None, *RANKS):
            torch.manual_seed(100 + seed)
            model = copy.deepcopy(base)
            if rank:
                add_lora(model.body, rank, alpha=8)
            parameters = list(adapter_parameters(model) if rank else model.parameters())
            kit.train(model, parameters, x_turned, y, 1e-2 if rank else rate, seed=seed)
            reached = curves[width][rank] if rank else full[width]
            reached.append(accuracy(model, x_turned_held_out, y_held_out))
    print(f"width {width:5,}: full {kit.spread(full[width])}", end="")
    for points in (1, 2):
        goal = kit.mean(full[width]) - points / 100
        enough = next((r for r in RANKS if kit.mean(curves[width][r]) >= goal), None)
        print(f"; within {points} from rank {enough}", end="")
    print(f"\n{'':12} rank 4, in parameters: {8 / width:.1%} of the hidden weight")


by_rank(128, rate=3e-3)
by_rank(512, rate=1e-3)

# %% demonstration=true alt="Accuracy on held-out turned digits against rank, on a logarithmic axis from 1 to 16, one line for each of three widths, 128, 512 and 1,024, with a dotted line for full fine-tuning of the same width. The three lines rise together, steeply up to rank 4 and slowly from there, where each comes close to its dotted line; the widest network needs no larger rank."
by_rank(1024, rate=1e-3)
show_prediction(my_sixth_prediction, guess={"width 128": "4", "width 1024": "32"})
kit.plot_ranks(curves, full)

# %% [markdown]
r"""
It is tempting to make the rank eight times as large when the width is eight times as large. But this is not needed: the rank
that comes within two points is the same at all widths. (Within one point it varies by chance, since one point is four
digits of 397.) While the weight becomes 64 times as large, the rank that this task needs does not grow. So LoRA saves more
the larger the model is. Which rank is needed depends on the task, as the inverted digits have shown.

## What LoRA gives you, what it costs, when not to use it

| | |
|---|---|
| it gives you | few parameters to train and to store for each task; a base that does not change and is back as soon as you switch the adapters off |
| it costs | a new search for the learning rate; a rank to choose; a little extra work at every call, until you merge it (lesson [06](../06_merging/06_merging.ipynb)) |
| it does not give you | a faster pass through the base; less forgetting while it is on |
| do not use it | if the change needs a high rank (inverted digits); if the features already suit the task (train the head); if the network is small and has only one task |

## What to remember

- Make the adapters first, then the optimiser, and give it only the adapters. Then the base stays the same, bit for bit.
- LoRA needs a larger learning rate than full fine-tuning, about the same for every rank. Measure the factor; do not assume it.
- The rank depends on the task. Low rank is a hypothesis, and there are tasks for which it is false.

**Next:** [09 · A transformer](../09_transformer/09_transformer.ipynb) chooses *which* layers to adapt, by name, in a small language model.
"""
