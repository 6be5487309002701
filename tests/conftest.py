"""Threads off: the course's tensors are small, and the tests share the machine."""

import torch

torch.set_num_threads(1)
