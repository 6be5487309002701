"""The map of lesson 02: what a wrong product does with layers of every size."""

import matplotlib.pyplot as plt
from matplotlib.patches import Patch, Rectangle

LOOKS = {  # colour, hatch
    "raises": ("white", ""),
    "runs, another shape": ("white", "////"),
    "runs, and is right": ("silver", ""),
    "right shape, wrong values": ("black", ""),
}


def draw_outcomes(outcomes_by_shape):
    """A map over d and k for each shape of x.

    Args:
        outcomes_by_shape: ``{shape of x, as text: {(d, k): a key of LOOKS}}``.
    """
    sizes = sorted({size for pairs in outcomes_by_shape.values() for pair in pairs for size in pair})
    figure, axes = plt.subplots(
        1, len(outcomes_by_shape), figsize=(3 * len(outcomes_by_shape), 3.9), layout="constrained", sharey=True
    )
    for axis, (shape, outcomes) in zip(axes, outcomes_by_shape.items(), strict=True):
        for (d, k), outcome in outcomes.items():
            colour, hatch = LOOKS[outcome]
            axis.add_patch(Rectangle((k - 0.5, d - 0.5), 1, 1, facecolor=colour, edgecolor="grey", hatch=hatch, lw=0.5))
        axis.set(title=f"x of shape {shape}", xlabel="k, outputs", xticks=sizes, yticks=sizes, aspect="equal")
        axis.set(xlim=(sizes[0] - 0.5, sizes[-1] + 0.5), ylim=(sizes[0] - 0.5, sizes[-1] + 0.5))
    axes[0].set_ylabel("d, inputs")
    legend = [Patch(fc=colour, ec="grey", hatch=hatch, label=name) for name, (colour, hatch) in LOOKS.items()]
    figure.legend(handles=legend, loc="outside lower center", ncols=len(LOOKS), frameon=False)
    plt.show()
