"""Misconceptions that several exercises share, each with its thought and its hint; an exercise may override both."""

from autograde.judge.misconception import Misconception

SCALING_FORGOTTEN = Misconception(
    "scaling_forgotten",
    thought="The product of the two matrices is the whole result.",
    hint="Call your function with scaling 1 and with scaling 10, all else the same. What should change?",
)
SCALING_TWICE = Misconception(
    "scaling_twice",
    thought="Both matrices belong to the adapter, so each of them is scaled.",
    hint="Count how many times the product is multiplied by the scaling on the way to the result.",
)
DIVIDED_BY_RANK_AGAIN = Misconception(
    "divided_by_rank_again",
    thought="The result has to be divided by the rank.",
    hint="The scaling is already alpha / rank. What is left to divide by here?",
)
NO_TRANSPOSE = Misconception(
    "no_transpose",
    thought="A weight and lora_A @ lora_B fit together as they are.",
    hint="On a square layer they do, and the result is wrong. Print both shapes: which axis of each counts the inputs?",
)
VIEW_FOR_TRANSPOSE = Misconception(
    "view_for_transpose",
    thought="A tensor viewed or reshaped to the transposed shape is the transpose.",
    hint="view and reshape keep the values in their order in memory. Compare with .T on a small matrix, entry by "
    "entry.",
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
    hint="In the paper x is a column. Here x is a row on the left of A: which size of A must match the size of x?",
)
ADAPTERS_WITH_BIAS = Misconception(
    "adapters_with_bias",
    thought="An nn.Linear with its default arguments can be an adapter.",
    hint="nn.Linear brings a bias unless told not to. LoRA has two matrices and nothing else.",
)
GRADIENT_CUT = Misconception(
    "gradient_cut",
    thought="forward needs only the numbers in the tensors.",
    hint="Look in forward for .data, .detach(), torch.no_grad() or a new nn.Parameter: each cuts the gradient.",
)
GRADIENT_TO_X_CUT = GRADIENT_CUT.reworded(
    thought="x is only read, so its part in the graph is not needed.",
    hint="x comes from the layers before this one, and they learn from its gradient, which comes through the base "
    "and through the adapter. Look in forward for .data, .detach() or torch.no_grad(): on which of the two "
    "paths is x cut off?",
)
CHANGED_LAYER = Misconception(
    "changed_layer",
    thought="The function has the layer, so it can change it.",
    hint="The layer is still in use, so it must stay as it was. Make a new tensor.",
)
ALPHA_NOT_DIVIDED = Misconception(
    "alpha_not_divided",
    thought="alpha itself is the scaling.",
    hint="Compare two ranks with the same alpha: what should keep their updates about equally large?",
)
BOTH_RANDOM = Misconception(
    "both_random",
    thought="Weights are initialised at random, so both matrices are.",
    hint="With both random, what does the layer add to its base before a single step of training?",
)
BOTH_ZERO = Misconception(
    "both_zero",
    thought="If the start must equal the base, both matrices are best set to zero.",
    hint="Derive the gradient of A when B = 0, and that of B when A = 0. When both are zero, can either of them "
    "ever change?",
)
CONSTANT_A = Misconception(
    "constant_A",
    thought="A only has to differ from zero, so ones will do.",
    hint="If all columns of A are equal, what can the columns of A ever learn that the first one does not?",
)
ONE_PER_MULTIPLY_ADD = Misconception(
    "one_per_multiply_add",
    thought="A multiplication with its addition is one operation.",
    hint="Here each counts on its own. What does one entry of a product cost, then?",
)
ONE_ADDITION_LESS = Misconception(
    "one_addition_less",
    thought="A sum of b terms takes b - 1 additions.",
    hint="That is exact. But the usual count, which this exercise states, gives every multiplication an addition.",
)
SIZES_MULTIPLIED = Misconception(
    "sizes_multiplied",
    thought="A product of three matrices costs the product of all the sizes.",
    hint="There are two products, one after the other. Are their costs multiplied or added?",
)
POWER_BEFORE_DIVISION = Misconception(
    "precedence",
    thought="r ** 1/2 is the square root of r.",
    hint="Python raises to the power first and divides afterwards. What is 9 ** 1 / 2?",
)
WHOLE_ROOT = Misconception(
    "whole_root",
    thought="The square root of a whole number is a whole number.",
    hint="math.isqrt rounds down. For which of your test numbers would you not have noticed?",
)
FULL_NAME_AS_ATTRIBUTE = Misconception(
    "full_name_as_attribute",
    thought="setattr finds a nested layer by its full name.",
    hint="Print the model after the call: it has new children with dots in their names, and the nn.Linears are still in "
    "their places. Which module holds the layer, and what is the layer called there?",
)
BRACKETS_LOST = Misconception(
    "brackets_lost",
    thought="Python reads the line the way it is meant.",
    hint="`*` and `/` come before `+`, and of `*` and `/` the one further left comes first. Put small numbers "
    "into your line and compute it in that order.",
)
KEPT_ON_THE_CLASS = Misconception(
    "kept_on_the_class",
    thought="An attribute of the class belongs to one layer.",
    hint="A name on the class, or outside of it, exists once for all layers, and holds what the last layer has "
    "set. Where does each layer keep its own values?",
)
ADAPTER_SHARED = Misconception(
    "adapter_shared",
    thought="An adapter can serve every layer of its size.",
    hint="Each layer learns its own change. Which tensors do two of your layers share?",
)
