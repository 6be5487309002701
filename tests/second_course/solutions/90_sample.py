# %% [markdown]
r"""
# 90 · A sample

Three small exercises.
"""

# %%
import torch

from autograde import check

print("the first cell ran")


# %% exercise="double"
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% check="double"
check.double(double)


# %% exercise="halve"
def halve(x):
    ### BEGIN SOLUTION
    return x / 2
    ### END SOLUTION


# %% check="halve"
check.halve(halve)

# %% demonstration=true
print("the demonstration ran")

# %% [markdown]
r"""
The last one.
"""


# %% exercise="total"
def total(x):
    ### BEGIN SOLUTION
    return torch.sum(x)
    ### END SOLUTION


# %% check="total"
check.total(total)
