"""Parameters, floating-point operations and bytes.

Throughout: d in_features, k out_features, r the rank, n rows in a batch.
"""


def lora_parameters(d, k, r):
    """A is `(d, r)` and B is `(r, k)`."""
    return r * (d + k)


def reduction(d, k, r):
    """How many times fewer parameters the adapter holds than the weight, a float."""
    return d * k / lora_parameters(d, k, r)


def largest_rank_within(d, k, budget):
    """The largest rank whose adapter holds at most `budget` parameters; 0 where not even rank 1 fits.

    A rank above min(d, k) adds nothing that a smaller one could not do, and LoRALinear refuses it.
    """
    return max(0, budget // lora_parameters(d, k, 1))


def largest_cheap_rank(d, k):
    """The largest r with r(d + k) < dk: up to it the adapter is smaller than the weight. 0 where there is none."""
    return (d * k - 1) // (d + k)


def flops_thin(n, d, k, r):
    """(x @ A) @ B, a multiplication and an addition counted as two: `(n, d) @ (d, r)`, then `(n, r) @ (r, k)`."""
    return 2 * n * d * r + 2 * n * r * k


def flops_full(n, d, k, r):
    """x @ (A @ B), counted the same way: `(d, r) @ (r, k)`, then `(n, d) @ (d, k)`."""
    return 2 * d * r * k + 2 * n * d * k


def count_parameters(module):
    """(trainable, total). A parameter that several modules share is counted once."""
    parameters = list(module.parameters())  # nn.Module lists a shared one only once
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def training_bytes(total, trainable, bytes_per_value=4):
    """Memory for training with Adam, activations aside: all weights, and a gradient and two moments of what trains.

    Paper: section 4.2. What is frozen needs no gradient and no moments: that, and not A and B, is the saving.
    """
    return bytes_per_value * (total + 3 * trainable)
