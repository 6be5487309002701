"""Random inputs for checks of adapted layers: sizes that reveal a transposition, scalings that reveal a lost one."""


def layer_sizes(draw, low=5, high=11):
    """Sizes of one adapted layer, pairwise distinct: in_features, out_features, rank (2 or more, the smallest)."""
    rank = draw.choice([2, 3])
    in_features, out_features = draw.sizes(2, max(low, rank + 2), high)
    return in_features, out_features, rank


def scaling(draw):
    """A scaling that is neither 1 nor a power of two, so that a forgotten or squared one shows."""
    return draw.choice([0.3, 0.6, 1.7, 2.3, 3.1])
