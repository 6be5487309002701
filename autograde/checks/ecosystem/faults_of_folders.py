"""Faults of adapter folders that PEFT does not load, or loads as something else."""

from autograde.judge import describe
from autograde.judge.compare import Fault

# By the kind of a `peft_reader.Stop`: what is wrong, and what to look at.
MESSAGES = {
    "no config": ("There is no adapter_config.json in the directory.", "Both files have fixed names and are directly in the directory."),
    "config is no JSON": ("adapter_config.json is not a JSON object.", "json.dumps turns a dict into the text of the file."),
    "no peft_type": ("The config has no peft_type.", "PEFT has many methods. Which entry says that this is LoRA?"),
    "peft_type": ("The config's peft_type is {about!r}, which is not LoRA's name in PEFT.", "Compare it with the folder that PEFT wrote, letter by letter."),
    "other kind": (
        "The config has {about}, and with it PEFT does not compute plain LoRA.",
        "Leave the entry out: the four entries that the lesson names are enough.",
    ),
    "start": (
        "The config's init_lora_weights is {about!r}: PEFT initialises the adapter again while loading, and "
            "may change the base.",
        "Leave the entry out. A and B come from the tensors in the file.",
    ),
    "r": ("The config's r is {about!r}.", "r is the rank, a whole number."),
    "lora_alpha": ("The config's lora_alpha is {about!r}.", "It must be the alpha that your function gets, a number."),
    "pattern": (
        "target_modules is the single string {about!r}, which is a regular expression for the whole name.",
        "Your function gets a list of names. Write it as a list.",
    ),
    "no targets": ("The config has no target_modules.", "Where does PEFT learn which modules it must adapt?"),
    "targets match nothing": (
        "target_modules is {about}, and no module has such a name.",
        "Each name in a list matches whole parts at the end of a path. A single string is a regular expression.",
    ),
    "target is no Linear": ("target_modules also matches {about}, which is not an nn.Linear.", "Name the adapted modules and no others."),
    "no tensors": (
        "There is no adapter_model.safetensors in the directory.",
        "Both files have fixed names and are directly in the directory.",
    ),
    "pickle": (
        "There is an adapter_model.bin, but no adapter_model.safetensors.",
        "A pickle can run code when it is loaded, so do not make anybody load one. save_file writes safetensors.",
    ),
    "tensors cannot be read": (
        "adapter_model.safetensors cannot be read.",
        "safetensors.torch.save_file takes a dict of tensors and the path.",
    ),
    "shape": ("A tensor does not have the shape that PEFT needs: {about}.", "PEFT stores A and B as nn.Linears store their weights."),
}  # fmt: skip


def unreadable_fault(stop, names):
    """The fault of a folder that PEFT does not load as plain LoRA; `names` are the file names in it."""
    problem, hint = MESSAGES[stop.kind]
    problem = problem.format(about=describe.clean(stop.about, 120))
    if stop.raises:
        problem += f" PEFT raises {stop.raises}."
    file_names = ", ".join(describe.clean(name, 60) for name in names[:8]) or "nothing"
    return Fault(problem, returned=f"in the directory: {file_names}", hint=hint)


def incomplete_fault(reading, adapted):
    """The fault of a folder that PEFT loads with parts missing or left over; None where every tensor has its place.

    Args:
        reading: a `peft_reader.Reading`.
        adapted: the names of the modules that carry an adapter.
    """
    tensor_names = ", ".join(describe.clean(name, 80) for name in sorted(reading.tensors)[:3]) or "no tensors"
    if reading.missing:
        return Fault(
            f"PEFT warns, and leaves {len(reading.missing)} of {2 * len(reading.adapters)} matrices as they "
            f"are before training: it does not find {reading.missing[0]}.",
            returned=f"in the file, among others: {tensor_names}",
            hint="Compare three parts of the names: what comes before the module's name, that name itself, and "
            "what comes after it.",
        )
    if not_adapted := sorted(set(adapted) - reading.adapters.keys()):
        return Fault(
            f"PEFT does not adapt {not_adapted[0]}: target_modules does not name it.",
            returned=f"target_modules is {describe.clean(str(reading.config['target_modules']), 80)}",
            hint="Write all the names that your function gets, as a list.",
        )
    if reading.unused:
        return Fault(
            f"The file has {len(reading.unused)} tensors that belong to no adapter, such as "
            f"{describe.clean(reading.unused[0], 80)}.",
            hint="Every tensor in the file must be A or B of a module that is adapted.",
        )
    return None
