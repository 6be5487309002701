"""The known ways in which a MergeableLoRALinear goes wrong. The judge knows each by what its layer does."""

import torch
from torch import nn

from autograde.checks.merging.in_place import mergeable, symptom


def _points_to(name):
    return lambda case, seen: symptom(case, seen) == name


@mergeable.misconception(
    "base_replaced",
    thought="The merged weight takes the place of the old one: base_layer.weight = nn.Parameter(…).",
    hint="An optimiser, a tied layer or another part of the model may hold the old Parameter, and would hear nothing "
    "of it. Write the new values into the one that is there.",
    recognise=_points_to("base_replaced"),
)
class BaseReplaced(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight = nn.Parameter(
                self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T, False
            )
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight = nn.Parameter(self.kept, False)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "no_grad_forgotten",
    thought="The base is frozen, so autograd takes no notice of what is done to its weight.",
    hint="Look at the first experiment again: what became of the frozen weight, and which context keeps autograd out?",
    recognise=_points_to("no_grad_forgotten"),
)
class NoGradForgotten(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "merges_by_itself",
    thought="Evaluating means that the training is over, so eval() can merge.",
    hint="eval() is called at every validation, between two epochs of training. Let merge() be called by whoever wants "
    "it, and leave train() and eval() as they are.",
    recognise=_points_to("merges_by_itself"),
)
class MergesByItself(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def train(self, mode=True):
        super().train(mode)
        self.unmerge() if mode else self.merge()
        return self

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "flag_forgotten",
    thought="Whether the layer is merged can be seen from its weight.",
    hint="Nobody can see that from the weight, the layer itself included. What has to be noted down after merging?",
    recognise=_points_to("flag_forgotten"),
)
class FlagForgotten(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)

    @torch.no_grad()
    def unmerge(self):
        if self.kept is not None:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "flag_not_reset",
    thought="Once merged, a layer has been merged.",
    hint="After unmerge the weight holds no delta. What must forward, and the next merge, know of that?",
    recognise=_points_to("flag_not_reset"),
)
class FlagNotReset(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "merged_twice",
    thought="Nobody calls merge a second time.",
    hint="A notebook cell is run again, a script merges what was merged before. What must a layer know of itself, so "
    "that a second call changes nothing?",
    recognise=_points_to("merged_twice"),
)
class MergedTwice(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        self.kept = self.base_layer.weight.detach().clone()
        self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "scaling_forgotten",
    thought="Merging adds the product of the two matrices: W + BA.",
    hint="So it stands in a published text. delta_weight gives what must be added: does it pass its check, and do you "
    "use it?",
    recognise=_points_to("scaling_forgotten"),
)
class ScalingForgotten(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_((self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "view_for_transpose",
    thought="A view or a reshape makes the product fit.",
    hint="It makes the shape fit and puts the numbers at the wrong places. Does your delta_weight pass its check?",
    recognise=_points_to("view_for_transpose"),
)
class ViewForTranspose(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(
                (self.scaling * (self.lora_A @ self.lora_B)).reshape(self.base_layer.weight.shape)
            )
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "no_transpose",
    thought="The weight and lora_A @ lora_B fit together as they are.",
    hint="On a square layer they do, and the result is wrong. Which shape has nn.Linear's weight? And "
    "does your delta_weight pass its check?",
    recognise=_points_to("no_transpose"),
)
class NoTranspose(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B))
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "merged_beside",
    thought="The merged weight can be kept beside the base's, and forward chooses.",
    hint="Then the layer holds two weights for good, and whoever saves or reads base_layer gets the old one. A merge "
    "writes into base_layer.weight.",
    recognise=_points_to("merged_beside"),
)
class MergedBeside(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight + self.scaling * (self.lora_A @ self.lora_B).T
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.kept = None
            self.merged = False

    def forward(self, x):
        if self.merged:
            return nn.functional.linear(x, self.kept, self.base_layer.bias)
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "delta_too_early",
    thought="What is to be added can be worked out when the layer is made, or at the first merge.",
    hint="When the layer is made, lora_B is zero, and every step of training changes it. At which moment must the "
    "delta be worked out?",
    recognise=_points_to("delta_too_early"),
)
class DeltaTooEarly(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None
        self.delta = (self.scaling * (self.lora_A @ self.lora_B).T).detach()

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.delta)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "unmerge_unguarded",
    thought="Whoever calls unmerge has merged before.",
    hint="Call unmerge on a layer that was just made: there is nothing to give back. What should happen?",
    recognise=_points_to("unmerge_unguarded"),
)
class UnmergeUnguarded(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        self.base_layer.weight.sub_(self.scaling * (self.lora_A @ self.lora_B).T)
        self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


# Before kept_by_reference: a copy in a narrower dtype is none at all where the base has that dtype.
@mergeable.misconception(
    "drifts",
    thought="What was added can be subtracted again.",
    hint="Floating-point sums round: the third experiment showed what (w + δ) - δ is. Which numbers would you need to "
    "have kept?",
    recognise=_points_to("drifts"),
)
class Drifts(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.sub_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "kept_by_reference",
    thought="self.kept = weight keeps the old values.",
    hint="After unmerge the delta is still in the weight. Assigning a tensor copies nothing: both names stand for the "
    "same numbers, and what is added in place to one of them is in the other. What makes a copy?",
    recognise=_points_to("kept_by_reference"),
)
class KeptByReference(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.data
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "still_adding",
    thought="forward stays as it is: merging changes the weight and nothing else.",
    hint="The weight holds the delta now. What does forward add to base_layer(x) all the same?",
    recognise=_points_to("still_adding"),
)
class StillAdding(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "bias_dropped",
    thought="A merged layer is one product: x times the merged weight.",
    hint="Merge a layer whose base has a bias, and call it and base_layer with x = 0.",
    recognise=_points_to("bias_dropped"),
)
class BiasDropped(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        if self.merged:
            return x @ self.base_layer.weight.T
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "adapter_lost",
    thought="With the delta in the weight, the adapter can be set to zero, and forward needs no change.",
    hint="Then there is nothing to add after unmerge, and nothing to train on. Leave lora_A and lora_B, and let "
    "forward know that the layer is merged.",
    recognise=_points_to("adapter_lost"),
)
class AdapterLost(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True
            self.lora_B.zero_()

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


@mergeable.misconception(
    "trains_no_more",
    thought="After a merge the adapter is done, so it is frozen or cut off.",
    hint="unmerge is there so that training can go on: lora_A and lora_B must get gradients again, and be the same "
    "Parameters that they were.",
    recognise=_points_to("trains_no_more"),
)
class TrainsNoMore(nn.Module):
    def __init__(self, base_layer, rank=4, alpha=1):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / rank
        like = {"dtype": base_layer.weight.dtype, "device": base_layer.weight.device}
        self.lora_A = nn.Parameter(torch.randn(base_layer.in_features, rank, **like))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features, **like))
        self.merged, self.kept = False, None

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.kept = self.base_layer.weight.detach().clone()
            self.base_layer.weight.add_(self.scaling * (self.lora_A @ self.lora_B).T)
            self.merged = True
            self.lora_A.requires_grad_(False)
            self.lora_B.requires_grad_(False)

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.base_layer.weight.copy_(self.kept)
            self.merged = False

    def forward(self, x):
        out = self.base_layer(x)
        return out if self.merged else out + self.scaling * (x @ self.lora_A) @ self.lora_B
