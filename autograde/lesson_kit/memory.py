"""The picture of lesson 05: what training keeps in memory, and how far LoRA's saving goes."""

import matplotlib.pyplot as plt

REPORTED = (1200, 350)  # GB: the LoRA paper, section 4.2, full fine-tuning and LoRA


def plot_memory(full, lora, fewer, less, mark):
    """Memory of both ways to train GPT-3, stacked, and beside it the saving against how many times fewer values train.

    Args:
        full, lora: ``(GB of weights, GB of gradients and moments)``.
        fewer: how many times fewer values train, increasing.
        less: for each of them how many times less memory everything takes.
        mark: ``(fewer, less)`` of the LoRA on the left.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
    _stacked(left, full, lora)
    right.plot(fewer, fewer, "--", color="0.45", label="gradients and moments")
    right.plot(fewer, less, "-", color="black", linewidth=2, label="all of it")
    right.axhline(4, linestyle=":", color="black", label="4, the limit")
    right.plot(*mark, "s", color="black", label="GPT-3, q and v, r = 4")
    right.set(xscale="log", yscale="log", xlabel="times fewer values train", ylabel="times less memory")
    right.set_title("How far the saving goes")
    right.legend()
    plt.show()


def _stacked(axis, full, lora):
    bottom = [0, 0]
    # Three numbers are kept beside each value that trains: a gradient and two moments.
    for kind, at, share, grey, hatch in (
        ("weights", 0, 1, "0.9", ""),
        ("gradients", 1, 1 / 3, "0.75", ".."),
        ("moments", 1, 2 / 3, "0.5", "//"),
    ):
        heights = [full[at] * share, lora[at] * share]
        axis.bar([0, 1], heights, 0.6, bottom, color=grey, hatch=hatch, edgecolor="black", label=kind)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axis.plot([0, 1], REPORTED, "o", color="black", markerfacecolor="white", label="reported by the paper")
    axis.text(1, 380, f"gradients and\nmoments: {lora[1]:.2f} GB", ha="center")
    axis.set(xticks=[0, 1], xticklabels=["full fine-tuning", "LoRA, q and v, r = 4"], ylabel="GB")
    axis.set_title("Training GPT-3 in 16 bit")
    axis.legend()
