"""Teaching the small GPT a language, and letting it write: what lessons 09 and 10 do again and again."""

import torch

from autograde.lesson_kit.text import excerpts, names

LENGTH = 33  # characters in a text: 32 to read, 32 to guess


def as_ids(language, characters, device="cpu"):
    """(for training, held out): the names of a language, a line each, as two long tensors of ids."""
    return [characters.encode("\n" + "\n".join(part) + "\n").to(device) for part in names(language)]


def learn(model, ids, steps, lr=0.02, seed=0, after_step=None):
    """Train everything in `model` that requires a gradient on the text `ids`, with Adam and a rate that falls to zero.

    after_step: called with the number of steps done, after each of them.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=lr)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimiser.zero_grad()
        model.loss(excerpts(ids, 16, LENGTH, generator)).backward()
        optimiser.step()
        if after_step:
            after_step(step + 1)
    optimiser.zero_grad()


@torch.no_grad()
def loss_on(model, ids):
    """The mean cross-entropy on a text, in nats a character, as a number."""
    return model.loss(ids[: len(ids) // LENGTH * LENGTH].view(-1, LENGTH)).item()


def write_lines(model, characters, starts, seed=0, temperature=0.5, longest=40):
    """For each of `starts`, texts of one length, the line that the model makes of it."""
    device = next(model.parameters()).device
    ids = torch.stack([characters.encode("\n" + start) for start in starts]).to(device)
    generator = torch.Generator(device).manual_seed(seed)
    written = model.generate(ids, longest, temperature, generator)
    return [characters.decode(row).split("\n")[1] for row in written.tolist()]


def write_text(model, characters, start, length=200, seed=0, temperature=0.5):
    """A piece of running text that begins with `start`."""
    device = next(model.parameters()).device
    ids = characters.encode(start)[None].to(device)
    generator = torch.Generator(device).manual_seed(seed)
    return characters.decode(model.generate(ids, length, temperature, generator)[0].tolist())
