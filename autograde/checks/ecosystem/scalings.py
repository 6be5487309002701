"""The alphas and ranks that lesson 11's scalings are asked about."""

from autograde.judge.check import Case


def alphas_and_ranks(draw):
    """Ranks with a whole root and without, an alpha that is no whole number, rank 1, and rank above alpha."""
    return [
        Case({"alpha": 16, "r": 4}, "the numbers of hint 3"),
        Case({"alpha": draw.choice([8, 12, 20, 32]), "r": draw.choice([3, 5, 6, 10])}),
        Case({"alpha": draw.choice([0.5, 1.5, 2.25]), "r": draw.choice([2, 7, 8])}, "alpha is no whole number"),
        Case({"alpha": draw.choice([1, 2, 3]), "r": draw.choice([64, 128, 256])}, "a rank far above alpha"),
        Case({"alpha": draw.integer(2, 30), "r": 1}, "rank 1"),
    ]
