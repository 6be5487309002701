"""The layers that lora_parameters and reduction are asked about."""

from autograde.checks.shared.draws import layer_sizes
from autograde.judge.check import Case


def layers(draw):
    """Layers small and large, wide and deep; the adapter of some is larger than the weight."""
    d, k, r = layer_sizes(draw)
    wide, deep = draw.sizes(2, low=100, high=900)
    large, narrow = draw.choice([12288, 16384]), draw.choice([3072, 5120])
    side, (low, high) = 2 * draw.integer(2, 8), draw.sizes(2, low=12, high=19)
    return [
        _layer(d, k, r),
        _layer(wide, deep, draw.integer(4, 60)),
        _layer(narrow, large, draw.choice([4, 8, 16, 64]), "a large layer"),
        _layer(large, narrow, draw.choice([4, 8, 16, 64]), "a large layer"),
        _layer(k + 20, d, 1, "rank 1"),
        _layer(4096, 4096, 8, "a square layer"),
        _layer(5000, 10000, 8),
        _layer(300, 100, 12),
        _layer(side, side, side // 2, "the adapter is as large as the weight"),
        _layer(low, high, draw.choice([10, 11]), "the adapter is larger than the weight"),
    ]


def _layer(d, k, r, label=""):
    return Case({"d": d, "k": k, "r": r}, label)
