"""Probes: they run the learner's code and report what it does. They run in its process, so they hold no right answer."""


def warm_up():
    """Compute a grouped convolution and its gradients, which lesson 07 asks for: the first ones of a process take 40 ms
    more than the second.
    """
    import torch

    weight = torch.zeros(4, 2, 2, 2, requires_grad=True)
    torch.conv2d(torch.zeros(2, 4, 3, 3), weight, groups=2).sum().backward()
