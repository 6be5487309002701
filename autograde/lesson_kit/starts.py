"""The picture of lesson 04: the loss from four starts of the same two matrices."""

import matplotlib.pyplot as plt

STYLES = (":", "-", "--", "-.")


def plot_starts(curves, base_loss):
    """Loss against steps, a line for each start, and a mark where the base is.

    Args:
        curves: ``{start: losses}``; the second start is the one to look at, and is drawn thicker.
        base_loss: loss of the base on the new task, without an adapter.
    """
    figure, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
    for position, ((start, losses), style) in enumerate(zip(curves.items(), STYLES, strict=True)):
        axis.plot(losses, style, color="black", label=start, linewidth=2.4 if position == 1 else 1.2)
    axis.plot(0, base_loss, "o", color="black", markerfacecolor="white", markersize=9, label="the base", zorder=3)
    axis.set(xlabel="step of the optimiser", ylabel="cross-entropy, mirrored digits", ylim=(0, None))
    axis.set_title("Four starts, one task")
    axis.legend()
    plt.show()
