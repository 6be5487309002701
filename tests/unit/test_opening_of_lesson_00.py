"""What lesson 00 claims at its beginning."""

import torch

from autograde.lesson_kit.base import load_base
from autograde.lesson_kit.language import as_ids, learn, loss_on, write_lines
from lora_ref import adapters_off, inject


def test_the_opening_of_lesson_00():
    model, characters = load_base()
    model.requires_grad_(False)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    before = write_lines(model, characters, ["No", "Su"])
    torch.manual_seed(0)
    assert len(inject(model, ["q_proj", "v_proj"], rank=8, alpha=16)) == 6
    assert sum(own[name].numel() for name in own if name != "lm_head.weight") == 521_088
    assert round(521_088 / sum(p.numel() for p in model.parameters() if p.requires_grad)) == 42

    german, held_out = as_ids("de", characters)
    untrained = loss_on(model, held_out)
    learn(model, german, steps=40)
    assert loss_on(model, held_out) < untrained - 0.5
    kept = {name.replace("base_layer.", ""): value for name, value in model.state_dict().items() if "lora_" not in name}
    assert kept.keys() == own.keys()
    assert all(torch.equal(kept[name], own[name]) for name in own)
    assert write_lines(model, characters, ["No", "Su"]) != before
    with adapters_off(model):
        assert write_lines(model, characters, ["No", "Su"]) == before
