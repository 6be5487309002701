"""The shortest training loop that keeps LoRA's promise: afterwards the base is what it was, bit for bit."""

import torch
from torch import nn

from .adapters import adapter_parameters


def fine_tune(model, x, y, epochs, lr):
    """Train the adapters of a classifier, and nothing else, on all rows at once. Returns the model, in eval mode.

    x  what the model takes, `(n, ...)`; it answers with logits `(n, classes)`
    y  class numbers, int64 `(n,)`

    One step of Adam an epoch. What else in the model requires a gradient (a norm, say) stays as it is and still does.
    Raises ValueError for a model without adapters.
    """
    adapters = adapter_parameters(model)
    if not adapters:
        raise ValueError("This model holds no adapter: call add_lora or inject first.")
    optimiser = torch.optim.Adam(adapters, lr=lr)  # only what it is given can change
    model.train()
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(x), y)
        model.zero_grad()  # all of the model's, not only the optimiser's
        loss.backward()
        optimiser.step()
    model.zero_grad()
    return model.eval()
