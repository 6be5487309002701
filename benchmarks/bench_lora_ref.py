"""lora_ref beside PEFT, a loralib-style layer and the naive formula: time and memory, as ratios taken in one run.

    python benchmarks/bench_lora_ref.py [--seconds 1.5] [--threads 1] [--device cpu]

A ratio is theirs / ours, so 1.20 means that the other one takes 1.20 times as long, or as much memory. All four run in
turn, in a new order each round, and a ratio is the median over the rounds of the ratio within one round: a machine that
is busy with other things is busy for all four. On a CPU with one thread, time is the processor's time for this thread
alone. The layers hold the same numbers, and are compared before being timed.
Exit status 1 if ours was slower (by more than the noise, 3 %) or held more memory than any other, anywhere.
"""

import argparse
import os
import random
import statistics
import sys
import time
import warnings

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler, which counts the memory, is chatty

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from lora_ref import LoRALinear, to_linear_weights

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import peft

SIZES = [  # shape of x, k, r
    ((1, 64), 80, 4),
    ((4, 16, 64), 80, 4),
    ((64, 256), 320, 8),
    ((8, 64, 256), 256, 8),
    ((1024, 256), 2048, 8),
    ((4, 256, 768), 768, 16),
    ((2, 512, 1024), 1536, 8),
]
NOISE = 1.03


class Naive(nn.Module):
    """base(x) + scaling * (x @ A) @ B, as one writes it down."""

    def __init__(self, ours):
        super().__init__()
        self.base_layer, self.scaling = ours.base_layer, ours.scaling
        self.lora_A, self.lora_B = (nn.Parameter(p.detach().clone()) for p in (ours.lora_A, ours.lora_B))

    def forward(self, x):
        return self.base_layer(x) + self.scaling * ((x @ self.lora_A) @ self.lora_B)


class LoralibStyle(nn.Linear):
    """A Linear that carries A `(r, d)` and B `(k, r)` itself, transposes both, and scales the full output."""

    def __init__(self, ours):
        weight, bias = ours.base_layer.weight, ours.base_layer.bias
        super().__init__(weight.shape[1], weight.shape[0], device=weight.device)
        self.load_state_dict({"weight": weight, "bias": bias})
        self.requires_grad_(False)
        self.scaling, self.lora_dropout = ours.scaling, nn.Identity()
        self.lora_A, self.lora_B = (nn.Parameter(w.detach()) for w in to_linear_weights(ours.lora_A, ours.lora_B))

    def forward(self, x):
        result = nn.functional.linear(x, self.weight, bias=self.bias)
        result += (self.lora_dropout(x) @ self.lora_A.transpose(0, 1) @ self.lora_B.transpose(0, 1)) * self.scaling
        return result


def peft_layer(ours, rank, alpha):
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=["0"])
    base = nn.Linear(ours.base_layer.in_features, ours.base_layer.out_features, device=ours.lora_A.device)
    base.load_state_dict(ours.base_layer.state_dict())
    layer = peft.get_peft_model(nn.Sequential(base), config).base_model.model[0]
    with torch.no_grad():
        for side, w in zip((layer.lora_A, layer.lora_B), to_linear_weights(ours.lora_A, ours.lora_B), strict=True):
            side["default"].weight.copy_(w)
    return layer


def contestants(d, k, r, device):
    ours = LoRALinear(nn.Linear(d, k, device=device), rank=r, alpha=2 * r)
    nn.init.normal_(ours.lora_B)
    return {"lora_ref": ours, "PEFT": peft_layer(ours, r, 2 * r), "loralib": LoralibStyle(ours), "naive": Naive(ours)}


def forward(layer, x, upstream):
    with torch.no_grad():
        layer(x)


def forward_backward(layer, x, upstream):
    x.grad = None
    layer.zero_grad()
    layer(x).backward(upstream)


def ratios(layers, work, x, upstream, seconds):
    """How many times as long as the first layer the others take."""

    def once(layer, times):
        start = clock()
        for _ in range(times):
            work(layer, x, upstream)
        if x.is_cuda:
            torch.cuda.synchronize()
        return clock() - start

    clock = time.perf_counter if x.is_cuda or torch.get_num_threads() > 1 else time.thread_time
    names, rounds = list(layers), []
    warm = [once(layer, 3) for layer in layers.values()]
    times = max(1, int(0.005 / min(warm)))  # at least some milliseconds at a time
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(rounds) < 15:
        order = random.sample(names, len(names))
        rounds.append({name: once(layers[name], times) for name in order})
    return {name: statistics.median(took[name] / took[names[0]] for took in rounds) for name in names[1:]}


def saved_bytes(layer, x):
    """What autograd keeps from forward to backward, besides x and the parameters."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = layer(x)
    for known in (x, *layer.parameters()):
        kept.pop(known.untyped_storage().data_ptr(), None)
    del out
    return sum(kept.values())


def peak_bytes(layer, work, x, upstream):
    """The most memory held at one time during `work`, beyond what was held before it."""
    layer.zero_grad()
    x.grad = None
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work(layer, x, upstream)
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work(layer, x, upstream)
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--seconds", type=float, default=1.5, help="time for each measurement")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    random.seed(0)
    print(f"torch {torch.__version__}, peft {peft.__version__}, {arguments.device}, {arguments.threads} thread(s)")
    print(
        "theirs / ours; 'saved' and 'peak' are bytes: kept for backward, and most held at once, beyond x and weights\n"
    )

    worst = {}
    columns = ["forward", "fwd+bwd", "saved", "peak fwd", "peak f+b"]
    print(f"{'x':>16} {'k':>5} {'r':>3}  {'':8}" + "".join(f"{column:>10}" for column in columns))
    for shape, k, r in SIZES:
        layers = contestants(shape[-1], k, r, arguments.device)
        x = torch.randn(shape, device=arguments.device, requires_grad=True)
        upstream = torch.randn(*shape[:-1], k, device=arguments.device)
        for layer in layers.values():
            torch.testing.assert_close(layer(x), layers["lora_ref"](x), rtol=1e-3, atol=1e-3)
        times = [ratios(layers, work, x, upstream, arguments.seconds) for work in (forward, forward_backward)]
        memory = {
            name: [saved_bytes(layer, x), *(peak_bytes(layer, w, x, upstream) for w in (forward, forward_backward))]
            for name, layer in layers.items()
        }
        for name in times[0]:
            row = [taken[name] for taken in times]
            row += [theirs / ours for theirs, ours in zip(memory[name], memory["lora_ref"], strict=True)]
            where = f"{str(shape):>16} {k:>5} {r:>3}" if name == "PEFT" else ""
            print(f"{where:26}  {name:8}" + "".join(f"{ratio:10.2f}" for ratio in row), flush=True)
            for column, ratio in zip(columns, row, strict=True):
                worst[column] = min(worst.get(column, ratio), ratio)
    print("\nleast:  " + ", ".join(f"{column} {ratio:.3f}" for column, ratio in worst.items()))
    return int(min(worst["forward"], worst["fwd+bwd"]) < 1 / NOISE or min(worst[c] for c in columns[2:]) < 1)


if __name__ == "__main__":
    sys.exit(main())
