"""What the checks of lesson 01 share: matrices with given singular values, and the errors of mismatched sizes."""

import torch

BROADCAST_MESSAGES = (
    "must match the size of tensor",
    "could not be broadcast together",
)  # of `*`, in torch and in numpy


SIZE_ERRORS = ("RuntimeError", "ValueError", "IndexError")  # what a misfit of sizes is reported by


def with_values(draw, d, k, values, dtype=torch.float32, contiguous=True):
    """A dense (d, k) matrix with these singular values, its singular vectors drawn at random."""
    n = len(values)
    U, _ = torch.linalg.qr(draw.tensor(d, n, dtype=torch.float64))
    V, _ = torch.linalg.qr(draw.tensor(k, n, dtype=torch.float64))
    M = ((U * torch.tensor(values, dtype=torch.float64)) @ V.T).to(dtype)
    return M if contiguous else M.mT.contiguous().mT
