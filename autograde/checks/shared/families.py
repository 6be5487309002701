"""Misconceptions that several exercises share. Each says once what the learner thought; an exercise may hint in its own words."""

from autograde.judge.misconception import Misconception

SCALING_FORGOTTEN = Misconception(
    "scaling_forgotten",
    thought="The product of the two matrices is all there is.",
    hint="Call your function with scaling 1 and with scaling 10, all else the same. What should change?",
)
SCALING_TWICE = Misconception(
    "scaling_twice",
    thought="Both matrices belong to the adapter, so each of them is scaled.",
    hint="Count how often the scaling meets the product on its way to the result.",
)
DIVIDED_BY_RANK_AGAIN = Misconception(
    "divided_by_rank_again",
    thought="The result has to be divided by the rank.",
    hint="The scaling is alpha / rank already: whoever made it has divided. What is left to do with it here?",
)
NO_TRANSPOSE = Misconception(
    "no_transpose",
    thought="A weight and lora_A @ lora_B fit together as they are.",
    hint="On a square layer they do, and the result is wrong. Print both shapes: which axis counts the inputs?",
)
VIEW_FOR_TRANSPOSE = Misconception(
    "view_for_transpose",
    thought="A tensor viewed or reshaped to the transposed shape is the transpose.",
    hint="view and reshape keep the numbers in their order in memory. Compare with .T on a small matrix, number by number.",
)
TWO_DIMENSIONAL_ONLY = Misconception(
    "two_dimensional_only",
    thought="x is always a batch of rows.",
    hint="x may be one row, or a batch of sequences. `@` treats all leading axes alike; which of yours does not?",
)
BIAS_DROPPED = Misconception(
    "bias_dropped",
    thought="LoRA changes the weight, so the weight is all that the result needs.",
    hint="The base may have a bias, and its outputs need it.",
)
TURNED_ROUND = Misconception(
    "turned_round",
    thought="A is (r, d) and B is (k, r), as the paper writes them.",
    hint="In the paper x is a column. Here x is a row and stands on the left: which size of A must it meet?",
)
ADAPTERS_WITH_BIAS = Misconception(
    "adapters_with_bias",
    thought="An nn.Linear for each adapter, as it comes.",
    hint="nn.Linear brings a bias unless told not to. LoRA has two matrices and nothing else.",
)
GRADIENT_CUT = Misconception(
    "gradient_cut",
    thought="forward needs only the numbers in the tensors.",
    hint="Look in forward for .data, .detach(), torch.no_grad() or a new nn.Parameter: each cuts the gradient.",
)
CHANGED_LAYER = Misconception(
    "changed_layer",
    thought="The layer is at hand, so it can be written into.",
    hint="The layer is still in use, so it must stay as it came. Make a new tensor.",
)
