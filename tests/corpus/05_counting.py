# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 05; format: tests/corpus/README.md

# lora_parameters -----------------------------------------------------------------------------------------------------


# %% wheat="one matrix after the other" exercise="lora_parameters"
def lora_parameters(d, k, r):
    in_A = d * r
    in_B = r * k
    return in_A + in_B


# %% wheat="factored" exercise="lora_parameters"
def lora_parameters(d, k, r):
    return (d + k) * r


# %% wheat="numel of two tensors without memory" exercise="lora_parameters"
def lora_parameters(d, k, r):
    A = torch.empty(d, r, device="meta")
    B = torch.empty(r, k, device="meta")
    return A.numel() + B.numel()


# %% wheat="two bias-free layers, counted" exercise="lora_parameters"
def lora_parameters(d, k, r):
    adapter = nn.Sequential(nn.Linear(d, r, bias=False, device="meta"), nn.Linear(r, k, bias=False, device="meta"))
    return sum(p.numel() for p in adapter.parameters())


# %% wheat="shapes and math.prod" exercise="lora_parameters"
import math


def lora_parameters(d, k, r):
    shapes = [(d, r), (r, k)]
    return sum(math.prod(shape) for shape in shapes)


# %% wheat="numpy" exercise="lora_parameters"
import numpy as np


def lora_parameters(d, k, r):
    return np.dot([d, k], [r, r])


# %% wheat="a float" exercise="lora_parameters"
def lora_parameters(d, k, r):
    return float(r) * (d + k)


# %% wheat="a 0-dimensional tensor" exercise="lora_parameters"
def lora_parameters(d, k, r):
    return torch.tensor(r) * (d + k)


# %% wheat="one rank at a time" exercise="lora_parameters"
def lora_parameters(d, k, r):
    count = 0
    for _ in range(r):
        count += d  # one more column of A
        count += k  # one more row of B
    return count


# %% wheat="with the course's defaults and a lambda" exercise="lora_parameters"
lora_parameters = lambda d, k, r=4: d * r + k * r


# %% chaff="all sizes multiplied, by numpy" exercise="lora_parameters" misconception="sizes_multiplied"
import numpy as np


def lora_parameters(d, k, r):
    return np.prod([d, k, r])


# %% chaff="a weight on the meta device" exercise="lora_parameters" misconception="weight_counted"
def lora_parameters(d, k, r):
    A, B = torch.empty(d, r, device="meta"), torch.empty(r, k, device="meta")
    return (A @ B).numel()


# %% chaff="two layers with biases, counted" exercise="lora_parameters" misconception="bias_in_both"
def lora_parameters(d, k, r):
    adapter = nn.Sequential(nn.Linear(d, r, device="meta"), nn.Linear(r, k, device="meta"))
    return sum(p.numel() for p in adapter.parameters())


# %% chaff="a whole layer, counted" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return d * k + k + d * r + r * k


# %% chaff="arguments in another order" exercise="lora_parameters" misconception="arguments_reordered"
def lora_parameters(d, r, k):
    return d * r + r * k


# %% chaff="sizes added" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return d + k + 2 * r


# %% chaff="the scaling counted" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return r * (d + k) + 1


# %% chaff="rank squared" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return r * r * (d + k)


# %% chaff="a matrix between A and B" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return d * r + r * r + r * k


# %% chaff="rank forgotten" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return d + k


# %% chaff="doubled" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return 2 * r * (d + k)


# %% chaff="never more than the weight" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return min(r * (d + k), d * k)


# %% chaff="bytes" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return 4 * r * (d + k)


# %% chaff="both counts in a tuple" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return d * r, r * k


# %% chaff="in words" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return f"{r * (d + k):,}"


# %% chaff="prints" exercise="lora_parameters" misconception="returned_none"
def lora_parameters(d, k, r):
    print(r * (d + k))


# %% chaff="a number" exercise="lora_parameters" misconception=""
lora_parameters = 65_536

# reduction -----------------------------------------------------------------------------------------------------------


# %% wheat="through the exercise before" exercise="reduction"
def lora_parameters(d, k, r):
    return r * (d + k)


def reduction(d, k, r):
    return d * k / lora_parameters(d, k, r)


# %% wheat="in one line" exercise="reduction"
def reduction(d, k, r):
    return (d * k) / (d * r + r * k)


# %% wheat="harmonic" exercise="reduction"
def reduction(d, k, r):
    return 1 / (r / d + r / k)


# %% wheat="the other way up, turned round" exercise="reduction"
def reduction(d, k, r):
    share = (r * d + r * k) / (d * k)
    return share**-1


# %% wheat="a 0-dimensional tensor" exercise="reduction"
def reduction(d, k, r):
    return torch.tensor(float(d * k)) / (r * (d + k))


# %% wheat="numel of meta tensors" exercise="reduction"
def reduction(d, k, r):
    W, A, B = (torch.empty(*shape, device="meta") for shape in ((k, d), (d, r), (r, k)))
    return W.numel() / (A.numel() + B.numel())


# %% wheat="numpy, true division" exercise="reduction"
import numpy as np


def reduction(d, k, r):
    return np.true_divide(d * k, r * (d + k))


# %% wheat="exact, then a float" exercise="reduction"
from fractions import Fraction


def reduction(d, k, r):
    return float(Fraction(d * k, r * (d + k)))


# %% wheat="whole part and rest" exercise="reduction"
def reduction(d, k, r):
    whole, rest = divmod(d * k, r * (d + k))
    return whole + rest / (r * (d + k))


# %% chaff="adapter over weight" exercise="reduction" misconception="inverted"
def reduction(d, k, r):
    adapter = d * r + r * k
    return adapter / (d * k)


# %% chaff="floor division, an int" exercise="reduction" misconception="integer_division"
def reduction(d, k, r):
    return (d * k) // (r * (d + k))


# %% chaff="int()" exercise="reduction" misconception="integer_division"
def reduction(d, k, r):
    return int(d * k / (r * (d + k)))


# %% chaff="round()" exercise="reduction" misconception="rounded_to_whole"
def reduction(d, k, r):
    return round(d * k / (r * (d + k)))


# %% chaff="two decimals by way of a string" exercise="reduction" misconception="rounded_to_decimals"
def reduction(d, k, r):
    return float(f"{d * k / (r * (d + k)):.2f}")


# %% chaff="one decimal" exercise="reduction" misconception="rounded_to_decimals"
def reduction(d, k, r):
    return round(d * k / (r * (d + k)), 1)


# %% chaff="three decimals" exercise="reduction" misconception="rounded_to_decimals"
def reduction(d, k, r):
    return round(d * k / (r * (d + k)), 3)


# %% chaff="rounded up" exercise="reduction" misconception=""
import math


def reduction(d, k, r):
    return math.ceil(d * k / (r * (d + k)))


# %% chaff="never below one" exercise="reduction" misconception=""
def reduction(d, k, r):
    return max(1.0, d * k / (r * (d + k)))


# %% chaff="r * d * k below" exercise="reduction" misconception=""
def reduction(d, k, r):
    return d * k / (r * d * k)


# %% chaff="side over rank" exercise="reduction" misconception=""
def reduction(d, k, r):
    return min(d, k) / (2 * r)


# %% chaff="operators in the wrong order" exercise="reduction" misconception="brackets_lost"
def reduction(d, k, r):
    return d * k / r * (d + k)


# %% chaff="bracket lost" exercise="reduction" misconception="brackets_lost"
def reduction(d, k, r):
    return d * k / d * r + r * k


# %% chaff="as a text" exercise="reduction" misconception=""
def reduction(d, k, r):
    return f"{d * k / (r * (d + k)):.1f}x"


# %% chaff="saved, in per cent, one line" exercise="reduction" misconception="percent_saved"
def reduction(d, k, r):
    return (d * k - d * r - r * k) / (d * k) * 100


# %% chaff="logarithm" exercise="reduction" misconception=""
import math


def reduction(d, k, r):
    return math.log10(d * k / (r * (d + k)))


# %% chaff="prints" exercise="reduction" misconception="returned_none"
def reduction(d, k, r):
    print(d * k / (r * (d + k)))


# count_parameters ----------------------------------------------------------------------------------------------------


# %% wheat="a list, two sums" exercise="count_parameters"
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% wheat="parameters() twice" exercise="count_parameters"
def count_parameters(module):
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    total = sum(p.numel() for p in module.parameters())
    return trainable, total


# %% wheat="a loop" exercise="count_parameters"
import math


def count_parameters(module):
    trainable = total = 0
    for _, parameter in module.named_parameters():
        size = math.prod(parameter.shape)
        total += size
        if parameter.requires_grad:
            trainable += size
    return (trainable, total)


# %% wheat="frozen and trainable, added" exercise="count_parameters"
def count_parameters(module):
    counts = {True: 0, False: 0}
    for p in module.parameters():
        counts[p.requires_grad] += p.nelement()
    return counts[True], counts[True] + counts[False]


# %% wheat="a walk that remembers ids" exercise="count_parameters"
def count_parameters(module):
    seen, trainable, total = set(), 0, 0
    for m in module.modules():
        for p in m._parameters.values():
            if p is None or id(p) in seen:
                continue
            seen.add(id(p))
            total += p.numel()
            trainable += p.numel() * p.requires_grad
    return trainable, total


# %% wheat="recursion, a set of parameters" exercise="count_parameters"
def count_parameters(module):
    def collect(m):
        found = set(m.parameters(recurse=False))
        for child in m.children():
            found |= collect(child)
        return found

    parameters = collect(module)
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% wheat="a dict by id over all names" exercise="count_parameters"
def count_parameters(module):
    unique = {id(p): p for _, p in module.named_parameters(remove_duplicate=False)}
    sizes = [(p.numel(), p.requires_grad) for p in unique.values()]
    return [sum(n for n, trains in sizes if trains), sum(n for n, _ in sizes)]


# %% wheat="duplicates by where they lie in memory" exercise="count_parameters"
def count_parameters(module):
    unique = {p.data_ptr(): p for p in module.parameters()}.values()
    trainable = [p for p in unique if p.requires_grad]
    return sum(p.numel() for p in trainable), sum(p.numel() for p in unique)


# %% wheat="state_dict with its own tensors" exercise="count_parameters"
def count_parameters(module):
    buffers = {name for name, _ in module.named_buffers(remove_duplicate=False)}
    held = module.state_dict(keep_vars=True).items()
    parameters = {id(t): t for name, t in held if name not in buffers}.values()
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% wheat="a tensor of two counts" exercise="count_parameters"
def count_parameters(module):
    counts = torch.zeros(2, dtype=torch.int64)
    for p in module.parameters():
        counts += torch.tensor([p.numel() if p.requires_grad else 0, p.numel()])
    return counts


# %% wheat="numpy" exercise="count_parameters"
import numpy as np


def count_parameters(module):
    table = np.array([(p.requires_grad, p.numel()) for p in module.parameters()], dtype=np.int64).reshape(-1, 2)
    return int((table[:, 0] * table[:, 1]).sum()), int(table[:, 1].sum())


# %% wheat="sizes and flatten" exercise="count_parameters"
def count_parameters(module):
    def size(p):
        return len(p.detach().flatten())

    return sum(map(size, filter(lambda p: p.requires_grad, module.parameters()))), sum(map(size, module.parameters()))


# %% wheat="a named tuple" exercise="count_parameters"
from collections import namedtuple

Counts = namedtuple("Counts", "trainable total")


def count_parameters(module):
    parameters = [*module.parameters()]
    return Counts(
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        total=sum(p.numel() for p in parameters),
    )


# %% wheat="an optimiser's view" exercise="count_parameters"
def count_parameters(module):
    total = sum(p.shape.numel() for p in module.parameters())
    frozen = sum(p.shape.numel() for p in module.parameters() if not p.requires_grad)
    return total - frozen, total


# %% wheat="a stack of modules" exercise="count_parameters"
def count_parameters(module):
    waiting, met, trainable, total = [module], [], 0, 0
    while waiting:
        part = waiting.pop()
        waiting.extend(part.children())
        for p in part.parameters(recurse=False):
            if all(p is not other for other in met):
                met.append(p)
                total += p.numel()
                trainable += p.numel() if p.requires_grad else 0
    return trainable, total


# %% wheat="zipped" exercise="count_parameters"
def count_parameters(module):
    pairs = [(p.numel() if p.requires_grad else 0, p.numel()) for p in module.parameters()]
    return tuple(map(sum, zip(*pairs))) if pairs else (0, 0)


# %% wheat="two copies of the generator" exercise="count_parameters"
def count_parameters(module):
    import itertools

    one, other = itertools.tee(module.parameters())
    return sum(p.numel() for p in one if p.requires_grad), sum(map(torch.numel, other))


# %% chaff="a total of what has one axis or two" exercise="count_parameters" misconception="matrices_and_vectors"
def count_parameters(module):
    P = [p for p in module.parameters()]
    return sum(p.numel() for p in P if p.requires_grad), sum(math.prod(p.shape) for p in P if p.ndim < 3)


# %% chaff="rows times columns" exercise="count_parameters" misconception="matrices_and_vectors"
def count_parameters(module):
    def size(p):
        if p.ndim == 0:
            return 1
        return p.shape[0] if p.ndim == 1 else p.shape[0] * p.shape[1]

    ps = list(module.parameters())
    return sum(size(p) for p in ps if p.requires_grad), sum(map(size, ps))


# %% chaff="nothing of the base trains" exercise="count_parameters" misconception="adapters_by_name"
def count_parameters(module):
    named = list(module.named_parameters())
    return sum(p.numel() for n, p in named if p.requires_grad and "base" not in n), sum(p.numel() for _, p in named)


# %% chaff="sets all values to zero" exercise="count_parameters" misconception="changed_input"
def count_parameters(module):
    parameters = list(module.parameters())
    with torch.no_grad():
        for p in parameters:
            p.zero_()
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% chaff="clears the gradients" exercise="count_parameters" misconception="changed_input"
def count_parameters(module):
    module.zero_grad()
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% chaff="leaves the module in eval mode" exercise="count_parameters" misconception="changed_input"
def count_parameters(module):
    parameters = list(module.eval().parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% chaff="all trains or nothing does" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    total = sum(p.numel() for p in parameters)
    return total if all(p.requires_grad for p in parameters) else 0, total


# %% chaff="swapped" exercise="count_parameters" misconception="swapped"
def count_parameters(module):
    total = sum(p.numel() for p in module.parameters())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return total, trainable


# %% chaff="a generator, twice" exercise="count_parameters" misconception="used_up"
def count_parameters(module):
    params = (p for p in module.parameters())
    trainable = 0
    for p in params:
        if p.requires_grad:
            trainable += p.numel()
    total = 0
    for p in params:
        total += p.numel()
    return trainable, total


# %% chaff="filter, then the total" exercise="count_parameters" misconception="frozen_left_out"
def count_parameters(module):
    parameters = [p for p in module.parameters() if p.requires_grad]
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters)


# %% chaff="requires_grad_ for requires_grad" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad_()), sum(p.numel() for p in parameters)


# %% chaff="the method requires_grad_, not called" exercise="count_parameters" misconception="frozen_counted_as_trainable"
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad_), sum(p.numel() for p in parameters)


# %% chaff="freezes what it counts" exercise="count_parameters" misconception="changed_input"
def count_parameters(module):
    parameters = list(module.parameters())
    counts = sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
    module.requires_grad_(False)
    return counts


# %% chaff="len of the list" exercise="count_parameters" misconception="tensors_counted"
def count_parameters(module):
    trainable = [p for p in module.parameters() if p.requires_grad]
    return len(trainable), len(list(module.parameters()))


# %% chaff="shape[0]" exercise="count_parameters" misconception="rows_counted"
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.shape[0] for p in parameters if p.requires_grad), sum(p.shape[0] for p in parameters)


# %% chaff="children of children, each on its own" exercise="count_parameters" misconception=""
def count_parameters(module):
    children = list(module.children())
    if not children:
        parameters = list(module.parameters())
        return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
    counts = [count_parameters(child) for child in children]
    return sum(t for t, _ in counts), sum(n for _, n in counts)


# %% chaff="all levels, shared ones each time" exercise="count_parameters" misconception="shared_across_modules"
def count_parameters(module):
    trainable = total = 0
    for m in module.modules():
        for p in m.parameters(recurse=False):
            total += p.numel()
            if p.requires_grad:
                trainable += p.numel()
    return trainable, total


# %% chaff="shared twice in the total only" exercise="count_parameters" misconception=""
def count_parameters(module):
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for _, p in module.named_parameters(remove_duplicate=False))


# %% chaff="keep_vars, with buffers and duplicates" exercise="count_parameters" misconception="state_dict_counted"
def count_parameters(module):
    held = module.state_dict(keep_vars=True).values()
    trainable = {id(t): t for t in held if t.requires_grad}.values()
    return sum(t.numel() for t in trainable), sum(t.numel() for t in held)


# %% chaff="equal values taken for one parameter" exercise="count_parameters" misconception=""
def count_parameters(module):
    unique = []
    for p in module.parameters():
        if not any(p.shape == q.shape and torch.equal(p, q) for q in unique):
            unique.append(p)
    return sum(p.numel() for p in unique if p.requires_grad), sum(p.numel() for p in unique)


# %% chaff="last part of the name as a key" exercise="count_parameters" misconception=""
def count_parameters(module):
    unique = {name.split(".")[-1]: p for name, p in module.named_parameters()}.values()
    return sum(p.numel() for p in unique if p.requires_grad), sum(p.numel() for p in unique)


# %% chaff="as one vector" exercise="count_parameters" misconception=""
def count_parameters(module):
    trainable = nn.utils.parameters_to_vector(p for p in module.parameters() if p.requires_grad)
    return trainable.numel(), nn.utils.parameters_to_vector(module.parameters()).numel()


# %% chaff="only two axes thought of" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = [p for p in module.parameters() if p.ndim == 2]
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


# %% chaff="what base is called is frozen" exercise="count_parameters" misconception=""
def count_parameters(module):
    named = list(module.named_parameters())
    return sum(p.numel() for name, p in named if "base" not in name), sum(p.numel() for _, p in named)


# %% chaff="the first parameter speaks for all" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    total = sum(p.numel() for p in parameters)
    return (total if parameters and parameters[0].requires_grad else 0), total


# %% chaff="a dict" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    return {
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "total": sum(p.numel() for p in parameters),
    }


# %% chaff="in millions" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad) / 1e6, sum(p.numel() for p in parameters) / 1e6


# %% chaff="three numbers" exercise="count_parameters" misconception=""
def count_parameters(module):
    total = sum(p.numel() for p in module.parameters())
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, total, trainable / max(total, 1)


# %% chaff="lists of sizes" exercise="count_parameters" misconception=""
def count_parameters(module):
    parameters = list(module.parameters())
    return [p.numel() for p in parameters if p.requires_grad], [p.numel() for p in parameters]


# %% chaff="prints" exercise="count_parameters" misconception="returned_none"
def count_parameters(module):
    print(sum(p.numel() for p in module.parameters()))


# largest_rank_within -------------------------------------------------------------------------------------------------


# %% wheat="integer division" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    return budget // (d + k)


# %% wheat="count up" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    r = 0
    while (r + 1) * (d + k) <= budget:
        r += 1
    return r


# %% wheat="count down from the largest rank of the layer" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    for r in range(min(d, k), 0, -1):
        if d * r + r * k <= budget:
            return r
    return 0


# %% wheat="capped at the smaller side" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    return min(budget // (d + k), d, k)


# %% wheat="floor of a quotient" exercise="largest_rank_within"
import math


def largest_rank_within(d, k, budget):
    return math.floor(budget / (d + k))


# %% wheat="int() of a quotient" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    if budget < d + k:
        return 0
    return int(budget / (d + k))


# %% wheat="through the exercise before, all ranks that fit" exercise="largest_rank_within"
def lora_parameters(d, k, r):
    return r * d + r * k


def largest_rank_within(d, k, budget):
    fitting = [r for r in range(1, min(d, k) + 1) if lora_parameters(d, k, r) <= budget]
    return max(fitting, default=0)


# %% wheat="divmod" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    rank, _ = divmod(budget, d + k)
    return rank


# %% wheat="spending the budget" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    rank = 0
    while budget >= d + k:
        budget -= d + k
        rank += 1
    return rank


# %% wheat="bisection" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    low, high = 0, budget + 1  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        if middle * (d + k) <= budget:
            low = middle
        else:
            high = middle
    return low


# %% wheat="numpy, a float" exercise="largest_rank_within"
import numpy as np


def largest_rank_within(d, k, budget):
    return np.floor(budget / (d + k))


# %% wheat="torch, rounding down" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    return torch.div(torch.tensor(budget), d + k, rounding_mode="floor")


# %% wheat="bisect over the costs" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    import bisect

    return bisect.bisect_right(range(1, budget + 2), budget, key=lambda r: r * (d + k))


# %% wheat="as many as there are steps in a range" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    return len(range(d + k, budget + 1, d + k))


# %% wheat="recursion" exercise="largest_rank_within"
def largest_rank_within(d, k, budget):
    return 0 if budget < d + k else 1 + largest_rank_within(d, k, budget - d - k)


# %% chaff="-1 where nothing fits" exercise="largest_rank_within" misconception="minus_one_for_none"
def largest_rank_within(d, k, budget):
    if budget < d + k:
        return -1
    return budget // (d + k)


# %% chaff="ceiling by a negative floor" exercise="largest_rank_within" misconception="rounded_up"
def largest_rank_within(d, k, budget):
    return -(-budget // (d + k))


# %% chaff="< in a loop" exercise="largest_rank_within" misconception="exact_fit_refused"
def largest_rank_within(d, k, budget):
    r = 0
    while (r + 1) * (d + k) < budget:
        r += 1
    return r


# %% chaff="the loop's last value" exercise="largest_rank_within" misconception="first_that_exceeds"
def largest_rank_within(d, k, budget):
    r = 1
    while r * (d + k) <= budget:
        r += 1
    return r


# %% chaff="the loop's last value, < in the loop" exercise="largest_rank_within" misconception="rounded_up"
def largest_rank_within(d, k, budget):
    r = 0
    while r * (d + k) < budget:
        r += 1
    return r


# %% chaff="counts from one" exercise="largest_rank_within" misconception="never_zero"
def largest_rank_within(d, k, budget):
    r = 1
    while (r + 1) * (d + k) <= budget:
        r += 1
    return r


# %% chaff="max without a default" exercise="largest_rank_within" misconception=""
def largest_rank_within(d, k, budget):
    return max(r for r in range(1, min(d, k) + 1) if r * (d + k) <= budget)


# %% chaff="None where nothing fits" exercise="largest_rank_within" misconception=""
def largest_rank_within(d, k, budget):
    best = None
    for r in range(1, min(d, k) + 1):
        if r * (d + k) <= budget:
            best = r
    return best


# %% chaff="the smaller side left out" exercise="largest_rank_within" misconception="one_too_few"
def largest_rank_within(d, k, budget):
    return max([r for r in range(1, min(d, k)) if r * (d + k) <= budget], default=0)


# %% chaff="no rank above 64" exercise="largest_rank_within" misconception=""
def largest_rank_within(d, k, budget):
    return max([r for r in range(65) if r * (d + k) <= budget])


# %% chaff="only while the adapter is smaller than the weight" exercise="largest_rank_within" misconception="only_while_smaller"
def largest_rank_within(d, k, budget):
    return min(budget // (d + k), (d * k - 1) // (d + k))


# %% chaff="the usual ranks" exercise="largest_rank_within" misconception="power_of_two"
def largest_rank_within(d, k, budget):
    return max([r for r in (0, 1, 2, 4, 8, 16, 32, 64, 128) if r * (d + k) <= budget])


# %% chaff="power of two, by a loop" exercise="largest_rank_within" misconception="power_of_two"
def largest_rank_within(d, k, budget):
    r = 1
    while 2 * r * (d + k) <= budget:
        r *= 2
    return r if r * (d + k) <= budget else 0


# %% chaff="bracket lost" exercise="largest_rank_within" misconception="brackets_lost"
def largest_rank_within(d, k, budget):
    return budget // d + k


# %% chaff="each matrix gets half of the budget" exercise="largest_rank_within" misconception="half_for_each"
def largest_rank_within(d, k, budget):
    return min(budget // 2 // d, budget // 2 // k)


# %% chaff="the bias paid for" exercise="largest_rank_within" misconception="bias_paid_from_budget"
def largest_rank_within(d, k, budget):
    return max(0, (budget - k) // (d + k))


# %% chaff="each matrix may use it all" exercise="largest_rank_within" misconception=""
def largest_rank_within(d, k, budget):
    return min(budget // d, budget // k)


# %% chaff="one less, never below zero" exercise="largest_rank_within" misconception="one_too_few"
def largest_rank_within(d, k, budget):
    return max(0, budget // (d + k) - 1)


# %% chaff="weight and adapter within the budget" exercise="largest_rank_within" misconception="base_paid_from_budget"
def largest_rank_within(d, k, budget):
    r = 0
    while d * k + (r + 1) * (d + k) <= budget:
        r += 1
    return r


# %% chaff="whether it fits" exercise="largest_rank_within" misconception=""
def largest_rank_within(d, k, budget):
    return budget >= d + k


# %% chaff="prints" exercise="largest_rank_within" misconception="returned_none"
def largest_rank_within(d, k, budget):
    print(budget // (d + k))


# training_bytes ------------------------------------------------------------------------------------------------------


# %% wheat="the four kinds, one by one" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    weights = total * bytes_per_value
    gradients = trainable * bytes_per_value
    moments = 2 * trainable * bytes_per_value
    return weights + gradients + moments


# %% wheat="in one line" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable)


# %% wheat="frozen and trainable apart" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    frozen = total - trainable
    return (frozen + 4 * trainable) * bytes_per_value


# %% wheat="a float" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4.0):
    return float(bytes_per_value * total + bytes_per_value * trainable * 3)


# %% wheat="by way of bits" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    bits = 8 * bytes_per_value
    return (total + trainable + trainable + trainable) * bits / 8


# %% wheat="a dict of what is kept" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    kept = {"weights": total, "gradients": trainable, "first moments": trainable, "second moments": trainable}
    return sum(kept.values()) * bytes_per_value


# %% wheat="numpy" exercise="training_bytes"
import numpy as np


def training_bytes(total, trainable, bytes_per_value=4):
    return np.array([total, trainable, 2 * trainable], dtype=np.int64).sum() * bytes_per_value


# %% wheat="a 0-dimensional tensor" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    return torch.tensor(total + 3 * trainable) * bytes_per_value


# %% wheat="what Adam really holds, per value" exercise="training_bytes"
def training_bytes(total, trainable, bytes_per_value=4):
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.Adam([weight])
    weight.sum().backward()
    optimiser.step()
    moments = [t for name, t in optimiser.state[weight].items() if name != "step"]
    per_trainable = weight.grad.numel() + sum(t.numel() for t in moments)
    return bytes_per_value * (total + per_trainable * trainable)


# %% chaff="full fine-tuning" exercise="training_bytes" misconception="everything_for_all"
def training_bytes(total, trainable, bytes_per_value=4):
    weights, gradients, moments = total, total, 2 * total
    return bytes_per_value * (weights + gradients + moments)


# %% chaff="one moment" exercise="training_bytes" misconception="two_numbers_each"
def training_bytes(total, trainable, bytes_per_value=4):
    weights, gradients, moment = total, trainable, trainable
    return bytes_per_value * (weights + gradients + moment)


# %% chaff="moments without gradients" exercise="training_bytes" misconception="two_numbers_each"
def training_bytes(total, trainable, bytes_per_value=4):
    moments = 2 * trainable
    return (total + moments) * bytes_per_value


# %% chaff="gradients without moments" exercise="training_bytes" misconception="one_number_each"
def training_bytes(total, trainable, bytes_per_value=4):
    return total * bytes_per_value + trainable * bytes_per_value


# %% chaff="weights of what is frozen only" exercise="training_bytes" misconception="two_numbers_each"
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total - trainable) + bytes_per_value * 3 * trainable


# %% chaff="no default" exercise="training_bytes" misconception="default_lost"
def training_bytes(total, trainable, bytes_per_value):
    weights = total * bytes_per_value
    return weights + 3 * trainable * bytes_per_value


# %% chaff="no third argument" exercise="training_bytes" misconception=""
def training_bytes(total, trainable):
    return 4 * (total + 3 * trainable)


# %% chaff="16 bit as the default" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=2):
    return bytes_per_value * (total + 3 * trainable)


# %% chaff="three moments" exercise="training_bytes" misconception="trainable_weights_twice"
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + trainable + 3 * trainable)


# %% chaff="width forgotten for the weights" exercise="training_bytes" misconception="brackets_lost"
def training_bytes(total, trainable, bytes_per_value=4):
    return total + 3 * trainable * bytes_per_value


# %% chaff="bracket lost" exercise="training_bytes" misconception="width_for_weights_only"
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * total + trainable + 2 * trainable


# %% chaff="weights in 16 bit" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=4):
    return 2 * total + bytes_per_value * 3 * trainable


# %% chaff="in megabytes" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable) / 1e6


# %% chaff="a text" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=4):
    return f"{bytes_per_value * (total + 3 * trainable)} bytes"


# %% chaff="the parts, not their sum" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * total, bytes_per_value * trainable, bytes_per_value * 2 * trainable


# %% chaff="saved, not needed" exercise="training_bytes" misconception=""
def training_bytes(total, trainable, bytes_per_value=4):
    return bytes_per_value * 3 * (total - trainable)


# %% chaff="prints" exercise="training_bytes" misconception="returned_none"
def training_bytes(total, trainable, bytes_per_value=4):
    print(bytes_per_value * (total + 3 * trainable))


# %% chaff="infinity" exercise="lora_parameters" misconception=""
def lora_parameters(d, k, r):
    return float("inf")


# %% chaff="infinity" exercise="reduction" misconception=""
def reduction(d, k, r):
    return float("inf")


# worked_out ----------------------------------------------------------------------------------------------------------


# %% wheat="the formula in each branch" exercise="worked_out"
def worked_out(claim):
    if claim == "D":
        return 2 * 96 * 2 * 4 * (12288 + 12288)
    elif claim == "E":
        return 96 * 4 * 2 * (12288 + 12288)
    return 24 * 2 * 4 * (1024 + 1024)


# %% wheat="a dict of numbers, worked out on paper" exercise="worked_out"
def worked_out(claim):
    return {"D": 37_748_736, "E": 18_874_368, "F": 393_216}[claim]


# %% wheat="settings in a table" exercise="worked_out"
def worked_out(claim):
    layers, matrices, d, r, size = {
        "D": (96, 2, 12288, 4, 2),
        "E": (96, 4, 12288, 2, 1),
        "F": (24, 2, 1024, 4, 1),
    }[claim]
    return layers * matrices * (d * r + r * d) * size


# %% wheat="match, floats and numel" exercise="worked_out"
def worked_out(claim):
    def adapter(d, r):
        return torch.empty(d, r, device="meta").numel() + torch.empty(r, d, device="meta").numel()

    match claim:
        case "D":
            return 96.0 * 2 * adapter(12288, 4) * 16 / 8
        case "E":
            return 96.0 * 4 * adapter(12288, 2)
        case "F":
            return 24.0 * 2 * adapter(1024, 4)


# %% wheat="modules on the meta device" exercise="worked_out"
def worked_out(claim):
    layers, d, r, names, width = {
        "D": (96, 12288, 4, "qv", 2), "E": (96, 12288, 2, "qkvo", 1), "F": (24, 1024, 4, "qv", 1)
    }[claim]
    count = 0
    for _ in range(layers):
        for _ in names:
            A, B = nn.Linear(d, r, bias=False, device="meta"), nn.Linear(r, d, bias=False, device="meta")
            count += A.weight.numel() + B.weight.numel()
    return count * width


# %% chaff="the paper's figures" exercise="worked_out" misconception="published_figure"
def worked_out(claim):
    return {"D": 35_000_000, "E": 37_700_000, "F": 350_000}[claim]


# %% chaff="E at rank 4" exercise="worked_out" misconception="rank_of_the_other_claim"
def worked_out(claim):
    if claim == "D":
        return 2 * 96 * 2 * 4 * 2 * 12288
    if claim == "E":
        return 96 * 4 * 4 * 2 * 12288
    return 24 * 2 * 4 * 2 * 1024


# %% chaff="32 bit on disk" exercise="worked_out" misconception="four_bytes"
def worked_out(claim):
    return {"D": 4 * 96 * 2 * 8 * 12288, "E": 96 * 4 * 4 * 12288, "F": 24 * 2 * 8 * 1024}[claim]


# %% chaff="only A counted, without its partner" exercise="worked_out" misconception="one_factor"
def worked_out(claim):
    return {"D": 2 * 96 * 2 * 4 * 12288, "E": 96 * 4 * 2 * 12288, "F": 24 * 2 * 4 * 1024}[claim]


# %% chaff="another model's layers" exercise="worked_out" misconception=""
def worked_out(claim):
    return {"D": 37_748_736, "E": 18_874_368, "F": 12 * 2 * 8 * 1024}[claim]


# %% chaff="a string" exercise="worked_out" misconception=""
def worked_out(claim):
    return {"D": "37,748,736", "E": "18,874,368", "F": "393,216"}[claim]


# %% chaff="one claim forgotten" exercise="worked_out" misconception=""
def worked_out(claim):
    if claim == "D":
        return 37_748_736
    if claim == "E":
        return 18_874_368


# %% wheat="a Counter" exercise="count_parameters"
from collections import Counter
def count_parameters(module):
    c = Counter()
    for p in module.parameters():
        c[p.requires_grad] += p.numel()
    return c[True], c.total()


# %% chaff="a set that is a default value" exercise="count_parameters" misconception="kept_between_calls"
def count_parameters(module, seen=set()):
    t = n = 0
    for p in module.parameters():
        if p in seen: continue
        seen.add(p)
        n += p.numel(); t += p.numel() if p.requires_grad else 0
    return t, n


# %% chaff="counters outside of the function" exercise="count_parameters" misconception="kept_between_calls"
total = trainable = 0
def count_parameters(module):
    global total, trainable
    for p in module.parameters():
        total += p.numel()
        trainable += p.numel() * p.requires_grad
    return trainable, total


# %% chaff="counts as text" exercise="count_parameters" misconception=""
def count_parameters(module):
    t = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return f"{t}", f"{sum(p.numel() for p in module.parameters())}"


# %% chaff="the budget first" exercise="largest_rank_within" misconception="arguments_reordered"
def largest_rank_within(budget, d, k): return budget // (d + k)


# %% chaff="trainable first" exercise="training_bytes" misconception="arguments_reordered"
def training_bytes(trainable, total, bytes_per_value=4):
    return bytes_per_value * (total + 3 * trainable)


# %% chaff="a huge number" exercise="worked_out" misconception=""
def worked_out(claim):
    return 10**400 if claim == "D" else 1


# %% chaff="a condition that is always true" exercise="worked_out" misconception="same_for_all_claims"
def worked_out(claim):
    if claim == "D" or "E":
        return 2 * 96 * 2 * 4 * 2 * 12288
    return 24 * 2 * 4 * 2 * 1024


# %% chaff="values in place of bytes" exercise="worked_out" misconception="bytes_forgotten"
def worked_out(claim):
    return {"D": 96 * 2 * 4 * 2 * 12288, "E": 96 * 4 * 2 * 2 * 12288, "F": 24 * 2 * 4 * 2 * 1024}[claim]


# %% chaff="everything is made trainable, and then counted" exercise="count_parameters" misconception="changed_input"
def count_parameters(module):
    trainable = total = 0
    for p in module.parameters():
        p.requires_grad = True
        total += p.numel()
        if p.requires_grad:
            trainable += p.numel()
    return trainable, total


# %% wheat="recursion, a set handed on" exercise="count_parameters"
def count_parameters(module, seen=None):
    seen = set() if seen is None else seen
    trains = total = 0
    for p in module.parameters(recurse=False):
        if p not in seen:
            seen.add(p)
            total += p.nelement()
            trains += p.nelement() * p.requires_grad
    for child in module.children():
        t, n = count_parameters(child, seen)
        trains, total = trains + t, total + n
    return trains, total


# %% chaff="return in the loop, nothing after it" exercise="count_parameters" misconception="first_parameter_alone"
def count_parameters(module):
    t = n = 0
    for p in module.parameters():
        n += p.numel()
        if p.requires_grad: t += p.numel()
        return t, n


# %% wheat="bisect over a range" exercise="largest_rank_within"
from bisect import bisect_right


def largest_rank_within(d, k, budget):
    return bisect_right(range(d + k, budget + d + k + 1, d + k), budget)


# %% wheat="one over a sum" exercise="reduction"
def reduction(d, k, r):
    return 1 / (r / d + r / k)


# %% wheat="logarithms" exercise="reduction"
def reduction(d, k, r):
    return math.exp(math.log(d) + math.log(k) - math.log(r) - math.log(d + k))
