"""Random inputs for a check: new at every run, and the same for the same seed."""

import random

import torch


class Draw:
    """Draws sizes and tensors from one seed.

    Sizes drawn together are pairwise distinct, so that a transposed or mixed-up answer cannot fit by chance.
    """

    def __init__(self, seed):
        self.seed = seed
        self._random = random.Random(seed)
        self._generator = torch.Generator().manual_seed(seed)

    def sizes(self, count, low=2, high=11):
        """`count` pairwise distinct ints between `low` and `high`, both included."""
        return self._random.sample(range(low, high + 1), count)

    def choice(self, options):
        """One of `options`."""
        return self._random.choice(list(options))

    def shuffled(self, items):
        """A list of `items` in another order."""
        return self._random.sample(items, len(items))

    def integer(self, low, high):
        """An int between `low` and `high`, both included."""
        return self._random.randint(low, high)

    def tensor(self, *shape, dtype=torch.float32, contiguous=True):
        """Standard normal values. ``contiguous=False`` gives the same kind of tensor as a strided view (1-D and up)."""
        # On the CPU, where the generator is, whatever default device the notebook has set.
        values = torch.randn(*shape, generator=self._generator, dtype=torch.float64, device="cpu").to(dtype)
        if contiguous or not shape:
            return values
        if len(shape) == 1:
            return torch.stack([values, values], dim=-1).flatten()[::2]
        return values.mT.contiguous().mT


def devices():
    """The devices this machine has, by name: ``["cpu"]`` or ``["cpu", "cuda"]``."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
