"""Probes: they run the learner's code and report what it does. They run in its process, so they hold no right answer."""


def warm_up():
    """Compute a grouped convolution, which lesson 07 asks for: the first one of a process takes 35 ms more than the second."""
    import torch

    torch.conv2d(torch.zeros(2, 4, 3, 3), torch.zeros(4, 2, 2, 2), groups=2)
