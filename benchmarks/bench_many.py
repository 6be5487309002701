"""A batch whose rows use different adapters: lora_ref's `mixed_batch` beside PEFT's `adapter_names`.

    python benchmarks/bench_many.py [--seconds 1.5] [--threads 1] [--device cpu]

Ratios are theirs / ours, the median over rounds in which both run in turn. Both compute the same numbers, which is
looked at before anything is timed. Exit status 1 if ours was slower anywhere, by more than the noise, 3 %.
"""

import argparse
import statistics
import sys
import time
import warnings

import torch
from torch import nn

from lora_ref import add_adapter, mixed_batch, share_base, to_linear_weights
from lora_ref.many import multi_layers

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import peft

SIZES = [  # rows, characters in a row, width, rank, adapters
    (8, 1, 256, 8, 4),
    (64, 1, 512, 8, 4),
    (64, 1, 512, 8, 64),
    (8, 64, 512, 8, 4),
    (32, 64, 512, 8, 16),
    (64, 16, 768, 8, 64),
]
NOISE = 1.03


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        return self.proj(x)


def pair(width, rank, adapters, device):
    """The same model twice, with the same adapters: (lora_ref's, PEFT's)."""
    torch.manual_seed(0)
    ours, theirs = Model(width).to(device), Model(width).to(device)
    theirs.load_state_dict(ours.state_dict())
    share_base(ours, ["proj"])
    names = [f"adapter_{i}" for i in range(adapters)]
    config = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["proj"])
    for name in names:
        add_adapter(ours, name, rank, alpha=2 * rank)
        if isinstance(theirs, peft.PeftModel):
            theirs.add_adapter(name, config)
        else:
            theirs = peft.get_peft_model(theirs, config, adapter_name=name)
    (layer,), other = multi_layers(ours), theirs.base_model.model.proj
    with torch.no_grad():
        for name in names:
            nn.init.normal_(layer.lora_B[name])
            weights = to_linear_weights(layer.lora_A[name], layer.lora_B[name])
            for side, weight in zip((other.lora_A, other.lora_B), weights, strict=True):
                side[name].weight.copy_(weight)
    return ours, theirs.eval(), names


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--seconds", type=float, default=1.5, help="time for each measurement")
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = arguments.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, peft {peft.__version__}, {arguments.device}, {arguments.threads} thread(s)\n")
    print(f"{'rows':>5} {'length':>6} {'width':>5} {'rank':>4} {'adapters':>8}   theirs / ours")
    worst = float("inf")
    for rows, length, width, rank, adapters in SIZES:
        ours, theirs, names = pair(width, rank, adapters, arguments.device)
        x = torch.randn(rows, length, width, device=arguments.device)
        wanted = [None if i % 8 == 7 else names[i * 7 % adapters] for i in range(rows)]
        for_peft = [name or "__base__" for name in wanted]

        def run_ours(model=ours, x=x, wanted=wanted):
            with mixed_batch(model, wanted):
                return model(x)

        def run_theirs(model=theirs, x=x, for_peft=for_peft):
            return model(x, adapter_names=for_peft)

        with torch.no_grad():
            torch.testing.assert_close(run_ours(), run_theirs(), rtol=1e-3, atol=1e-3)
            ratio = compare(run_ours, run_theirs, arguments)
        worst = min(worst, ratio)
        print(f"{rows:5} {length:6} {width:5} {rank:4} {adapters:8}   {ratio:.2f}", flush=True)
    return int(worst < 1 / NOISE)


def compare(ours, theirs, arguments):
    on_cpu = arguments.device == "cpu" and arguments.threads == 1
    clock = time.thread_time if on_cpu else time.perf_counter
    ratios, stop = [], time.perf_counter() + arguments.seconds
    while time.perf_counter() < stop or len(ratios) < 15:
        took = []
        for run in (ours, theirs):
            start = clock()
            run()
            if arguments.device != "cpu":
                torch.cuda.synchronize()
            took.append(clock() - start)
        ratios.append(took[1] / took[0])
    return statistics.median(ratios)


if __name__ == "__main__":
    sys.exit(main())
