"""The lesson kit's four ways to route compute the same, and the workloads are what their names say."""

import pytest
import torch

from autograde.lesson_kit.routing import WAYS, WORKLOADS, counted, workload
from lora_ref import route


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", WORKLOADS)
def test_every_way_is_the_reference(way, kind):
    torch.manual_seed(0)
    n, m, d, r, k = 30, 7, 6, 2, 5
    x, A, B, scaling = torch.randn(n, d), torch.randn(m, d, r), torch.randn(m, r, k), torch.rand(m) + 0.5
    ids = workload(kind, n, m)
    torch.testing.assert_close(way(x, A, B, scaling, ids), route(x, A, B, scaling, ids))


def test_workloads():
    counts = {kind: torch.bincount(workload(kind, 400, 8), minlength=8) for kind in WORKLOADS}
    assert counts["distinct"].tolist() == [50] * 8
    assert counts["identical"].tolist() == [400] + [0] * 7
    assert 30 < counts["uniform"].min() and counts["uniform"].max() < 75
    assert counts["skewed"][0] > 1.4 * counts["skewed"][1] > 1.4 * counts["skewed"][5]


def test_what_is_counted():
    """Against torch's own counter, where it can count."""
    from torch.utils.flop_counter import FlopCounterMode

    n, m, d, r, k = 32, 4, 16, 2, 24
    x, A, B, scaling = torch.randn(n, d), torch.randn(m, d, r), torch.randn(m, r, k), torch.rand(m)
    for way in WAYS:
        with FlopCounterMode(display=False) as counter:
            way(x, A, B, scaling, workload("distinct", n, m))
        assert counter.get_total_flops() == counted(way.__name__, n, m, d, k, r)[0]
