"""write_peft_adapter: a folder that PEFT loads, and with which it computes what the model does."""

import torch

from autograde.checks.ecosystem import peft_reader
from autograde.checks.ecosystem.faults_of_folders import incomplete_fault, unreadable_fault
from autograde.checks.shared.families import NO_TRANSPOSE, VIEW_FOR_TRANSPOSE
from autograde.judge import describe, tolerance
from autograde.judge.answer import RightAnswer
from autograde.judge.check import Case, Check
from autograde.judge.compare import Fault
from autograde.judge.misconception import Misconception
from autograde.probes.ecosystem import written
from autograde.remote.facts import same_bits

GIVEN = "from lora_ref.layer import LoRALinear"  # as in the lesson's first cell

answer = RightAnswer("""
import json
from pathlib import Path

from safetensors.torch import save_file

from lora_ref.layer import LoRALinear


def write_peft_adapter(model, directory, rank, alpha, target_modules):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"base_model.model.{name}.lora_A.weight"] = module.lora_A.detach().T.contiguous()
            state[f"base_model.model.{name}.lora_B.weight"] = module.lora_B.detach().T.contiguous()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(state, directory / "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps(config))
""")

CHANGED_MODEL = Misconception(
    "changed_model",
    thought="The model is only needed for the file, so it may be changed.",
    hint="The caller goes on using it. Look for what changes it: a name ending in _, half(), float(), "
    "requires_grad_, +=.",
)

FOLDER_EMPTIED = Misconception(
    "folder_emptied",
    thought="The folder belongs to the adapter, so it can be emptied before the files are written.",
    hint="The caller may keep other files in it, such as a README. Which two files do you write, and which of your lines removes "
    "more than those two?",
)


class WritePeftAdapter(Check):
    """Reads the folder as PEFT does, and compares what the adapters add to each weight."""

    name = "write_peft_adapter"
    points = 4
    answer = answer
    note = (
        "more entries in the config, as PEFT itself writes them; names as a list or a pattern; the scaling folded into B "
        "with lora_alpha = r; safetensors' save or save_file."
    )
    next_step = (
        "Write the folder for a small model of your own, and compare it with one that PEFT wrote: names, shapes, the four "
        "entries."
    )

    def cases(self, draw):
        r, *sizes = sorted(draw.sizes(4, low=2, high=9))
        d, k, m = sizes

        def linear(name, rows, columns, rank=None, bias=True, dtype=torch.float32):
            part = {"name": name, "weight": draw.tensor(rows, columns, dtype=dtype)}
            part["bias"] = draw.tensor(rows, dtype=dtype) if bias else None
            if rank:
                part |= {"A": draw.tensor(columns, rank, dtype=dtype), "B": draw.tensor(rank, rows, dtype=dtype)}
            return part

        def case(label, parts, rank, alpha, targets, folder="adapter", as_text=False, there=()):
            arguments = {"parts": parts, "rank": rank, "alpha": alpha, "target_modules": targets, "folder": folder}
            return Case(arguments | {"as_text": as_text, "there": dict(there)}, label)

        blocks = [
            linear("blocks.0.q_proj", k, d, r),
            linear("blocks.0.seq_proj", d, k),
            {"name": "blocks.0.norm", "size": d},
            linear("blocks.1.q_proj", k, d, r),
            linear("blocks.1.v_proj", m, d, r, bias=False),
        ]
        old = {"adapter_config.json": '{"r": 1}', "adapter_model.safetensors": "old", "README.md": "keep"}
        half = draw.choice([torch.bfloat16, torch.float16])
        return [
            case("two blocks; seq_proj and norm are not adapted", blocks, r, r + draw.choice([1, 3]), ["q_proj", "v_proj"]),
            case(
                "a folder within folders that are not there, given as a str",
                [linear("up", k, d, r), linear("down", d, k, r)], r, 2 * r, ["up", "down"], "runs/today/adapter", True,
            ),
            case(
                "square layers, rank 1, alpha is no whole number",
                [linear("up", d, d, 1), linear("middle", d, d, 1)], 1, 1.5, ["up", "middle"],
            ),
            case("old files in the folder", [linear("head", m, k, r), linear("tail", k, m)], r, 16, ["head"], there=old),
            case(f"{describe.dtype_name(half)}", [linear("encoder.up", k, d, r, dtype=half)], r, 16, ["encoder.up"]),
            case("float64", [linear("up", k, m, r, dtype=torch.float64)], r, 1, ["up"]),
            case("rank and size are equal", [linear("up", d, r, r), linear("down", r, d, r)], r, 3 * r, ["up", "down"]),
        ]  # fmt: skip

    def observe(self, target, case):
        return written(target, given=GIVEN, **case.args)

    def fault(self, case, observation):
        if fault := self.failed_call(observation):
            return fault
        try:
            reading = self._read(case, observation)
        except peft_reader.Stop as stop:
            return unreadable_fault(stop, [str(name) for name in observation["names"]])
        if fault := incomplete_fault(reading, [part["name"] for part in adapted(case.args)]):
            return fault
        for part in adapted(case.args):
            if fault := self._adapter_fault(part, reading, case):
                return fault
        gone = [name for name in case.args["there"] if name not in observation["names"]]
        if gone:
            return Fault(
                f"The adapter's files are right, but {gone[0]}, which was in the folder before the call, is gone.",
                misconception=FOLDER_EMPTIED,
            )
        if observation["changed"]:
            changed_names = ", ".join(describe.clean(str(name), 40) for name in observation["changed"][:3])
            return Fault(
                f"The folder is right, but the call changed the model: {changed_names}.", misconception=CHANGED_MODEL
            )
        return None

    def _read(self, case, observation):
        modules = {part["name"]: part["weight"].shape if "weight" in part else None for part in case.args["parts"]}
        for name in list(modules):  # those above them: blocks, blocks.0
            path = name.split(".")
            modules |= {".".join(path[:i]): None for i in range(1, len(path))}
        modules = {name: size and tuple(size) for name, size in modules.items()}
        return peft_reader.read(peft_reader.as_bytes(observation["files"]), modules)

    def _adapter_fault(self, part, reading, case):
        """The fault of one adapter."""
        A, B, _ = reading.adapters[part["name"]]
        dtype = part["A"].dtype
        delta = peft_reader.delta(reading.adapters[part["name"]])
        right = case.args["alpha"] / case.args["rank"] * (part["A"].double() @ part["B"].double()).T
        wrong_dtype = next((side for side in (A.dtype, B.dtype) if side != dtype), None)
        if wrong_dtype and wrong_dtype.is_floating_point and tolerance.close(delta, right, wrong_dtype, "cpu"):
            return Fault(
                f"The adapters are in the wrong dtype: {describe.dtype_name(wrong_dtype)}, not {describe.dtype_name(dtype)}.",
                hint="Write them as they are: a file in another dtype is larger than necessary, or less precise.",
            )
        if wrong_dtype or not tolerance.close(delta, right, dtype, "cpu"):
            difference = describe.largest_difference(delta, right)
            return Fault(
                "PEFT loads the folder without a warning, but does not add the right change to the weight of "
                f"{part['name']}: {difference}.",
                *(describe.contents(change.to(torch.float32)) for change in (delta, right)),
                tensors=(delta, right),
            )
        return None

    def same(self, case, a, b):
        """Whether PEFT reads the same from two folders: the entries that matter, and the tensors by name.

        An entry under another name is not the same mistake as one that was left out.
        """
        if "files" not in a or "files" not in b:
            return super().same(case, a, b)
        if bool(a["changed"]) != bool(b["changed"]) or _renamed(a) != _renamed(b):
            return False
        readings = []
        for observation in (a, b):
            try:
                readings.append(self._read(case, observation))
            except peft_reader.Stop as stop:
                readings.append(stop)
        first, second = readings
        if isinstance(first, peft_reader.Stop) or isinstance(second, peft_reader.Stop):
            return first == second and sorted(map(str, a["names"])) == sorted(map(str, b["names"]))
        return _entries(first) == _entries(second) and first.tensors.keys() == second.tensors.keys() and all(
            same_bits(tensor, second.tensors[key])
            for key, tensor in first.tensors.items()
        )  # fmt: skip

    def called(self, case):
        """The call, and the model it is called with."""
        lines = [f"write_peft_adapter(model, directory, rank, alpha, target_modules)  # {case.label}"]
        arguments = case.args
        directory = repr(arguments["folder"]) if arguments["as_text"] else f"Path({arguments['folder']!r})"
        for part in arguments["parts"]:
            size = " to ".join(str(n) for n in reversed(part["weight"].shape)) if "weight" in part else part["size"]
            kind = "LoRALinear" if "A" in part else "nn.Linear" if "weight" in part else "nn.LayerNorm"
            lines.append(f"  {part['name']}: {kind}, {size}")
        settings = f"rank = {arguments['rank']}, alpha = {arguments['alpha']}"
        return "\n".join(
            [*lines, f"  directory = {directory}, {settings}, target_modules = {arguments['target_modules']}"]
        )


def adapted(arguments):
    """The parts of a case's model that carry an adapter."""
    return [part for part in arguments["parts"] if "A" in part]


def _entries(reading):
    """The entries of the config that PEFT uses."""
    entries = [float(reading.config[name]) for name in ("r", "lora_alpha", "use_rslora")]
    return entries, reading.config["init_lora_weights"], reading.adapters.keys()


def _renamed(observation):
    """The entries that stand in the config under the name of an argument, in place of PEFT's name for them."""
    try:
        config = peft_reader.entries(peft_reader.as_bytes(observation["files"]))
    except peft_reader.Stop:
        return []
    return [own for own, name in (("rank", "r"), ("alpha", "lora_alpha")) if own in config and name not in config]


def _tensors(observation):
    """The tensors in an observed file by name; none where there is no file that can be read."""
    try:
        return peft_reader.tensors(peft_reader.as_bytes(observation["files"])) if "files" in observation else {}
    except peft_reader.Stop:
        return {}


def _named_like(pattern):
    """Return a recogniser of a file whose tensor names follow `pattern`, a text with {name}, {last} and {side}."""

    def keys(pattern, names):
        parts = [(name, name.rpartition(".")[2], side) for name in names for side in peft_reader.SIDES]
        return {pattern.format(name=name, last=last, side=side) for name, last, side in parts}

    def recognise(case, observation):
        names = [part["name"] for part in adapted(case.args)]
        wrong = keys(pattern, names)
        return _tensors(observation).keys() == wrong != keys("base_model.model.{name}.{side}.weight", names)

    return recognise


def _in_float32(case, observation):
    """Recognise a file in float32 where the adapters have another dtype."""
    dtypes = {tensor.dtype for tensor in _tensors(observation).values()}
    return dtypes == {torch.float32} and all(part["A"].dtype != torch.float32 for part in adapted(case.args))


write_peft_adapter = WritePeftAdapter()

answer.slip(
    NO_TRANSPOSE,
    "module.lora_A.detach().T.contiguous()",
    "module.lora_A.detach()",
    "module.lora_B.detach().T.contiguous()",
    "module.lora_B.detach()",
    thought="The file has the matrices as they are in the layer.",
    hint="PEFT keeps A and B as the weights of nn.Linears. What is the shape of nn.Linear(30, 4).weight?",
)
answer.slip(
    VIEW_FOR_TRANSPOSE,
    "module.lora_A.detach().T.contiguous()",
    "module.lora_A.detach().reshape(module.lora_A.shape[1], module.lora_A.shape[0])",
    "module.lora_B.detach().T.contiguous()",
    "module.lora_B.detach().reshape(module.lora_B.shape[1], module.lora_B.shape[0])",
)
answer.slip(
    "not_contiguous",
    "module.lora_A.detach().T.contiguous()",
    "module.lora_A.detach().T",
    "module.lora_B.detach().T.contiguous()",
    "module.lora_B.detach().T",
    thought="A transposed tensor is a tensor like any other.",
    hint="It is a view: its values are in memory in the old order, and safetensors writes memory as it is. Which "
    "method of a tensor puts the values into the new order?",
    recognise=lambda case, observation: (
        "raised" in observation and "non contiguous" in observation["raised"]["message"]
    ),
)
answer.slip(
    "sides_swapped",
    'lora_A.weight"] = module.lora_A',
    'lora_A.weight"] = module.lora_B',
    'lora_B.weight"] = module.lora_B',
    'lora_B.weight"] = module.lora_A',
    thought="The paper's A is our B.",
    hint="In both, A is the matrix that x is multiplied by first. Which shape does lora_A.weight have in the "
    "folder that PEFT wrote?",
)
answer.slip(
    "alpha_is_the_scaling",
    '"lora_alpha": alpha',
    '"lora_alpha": alpha / rank',
    thought="The reader needs the scaling.",
    hint="PEFT divides lora_alpha by r itself. Which scaling does it get from your file?",
)
answer.slip(
    "scaled_twice",
    "module.lora_B.detach().T.contiguous()",
    "(module.scaling * module.lora_B.detach()).T.contiguous()",
    thought="The update is scaled, so the matrices in the file are scaled.",
    hint="PEFT multiplies by lora_alpha / r when it computes. How many times is your B scaled in the end?",
)
answer.slip(
    "scaled_twice",
    "module.lora_A.detach().T.contiguous()",
    "(module.scaling * module.lora_A.detach()).T.contiguous()",
    thought="The update is scaled, so the matrices in the file are scaled.",
    hint="PEFT multiplies by lora_alpha / r when it computes. How many times is your A scaled in the end?",
)
answer.slip(
    "rank_and_alpha_swapped",
    '"r": rank, "lora_alpha": alpha',
    '"r": alpha, "lora_alpha": rank',
    thought="Both numbers are in the config, under either name.",
    hint="Read your adapter_config.json entry by entry. Which number has which name?",
)
answer.slip(
    "other_file_name",
    '"adapter_config.json"',
    '"config.json"',
    thought="A config's file is called config.json.",
    hint="PEFT looks for one file name only. Which one is in the folder that it wrote?",
)
answer.slip(
    "base_layer_in_names",
    "{name}.lora_A.weight",
    "{name}.base_layer.lora_A.weight",
    "{name}.lora_B.weight",
    "{name}.base_layer.lora_B.weight",
    thought="The adapted nn.Linear is called base_layer here, so that belongs in the name.",
    hint="The reader has the plain base, without LoRALinears and so without any base_layer. What is the layer "
    "called there?",
    recognise=_named_like("base_model.model.{name}.base_layer.{side}.weight"),
)
answer.slip(
    "targets_as_string",
    "list(target_modules)",
    '",".join(target_modules)',
    thought="target_modules is a string with the names in it.",
    hint="A single string is a regular expression for the whole name of a module. How does a config give more "
    "than one name?",
)
answer.slip(
    "pissa_flag",
    '"peft_type": "LORA"',
    '"peft_type": "LORA", "init_lora_weights": "pissa"',
    thought="The config says how the adapter was started.",
    hint="PEFT initialises adapters again while it loads, as the config says. What does PiSSA's initialisation do "
    "to the base?",
)
answer.slip(
    "beginning_forgotten",
    "base_model.model.{name}.lora_A",
    "{name}.lora_A",
    "base_model.model.{name}.lora_B",
    "{name}.lora_B",
    thought="A tensor has the same name as in the model.",
    hint="Compare your names with those in the folder that PEFT wrote, from the first letter on.",
    recognise=_named_like("{name}.{side}.weight"),
)
answer.slip(
    "beginning_forgotten",
    "base_model.model.{name}.lora_A",
    "base_model.{name}.lora_A",
    "base_model.model.{name}.lora_B",
    "base_model.{name}.lora_B",
    thought="PEFT's names begin with base_model.",
    hint="Compare your names with those in the folder that PEFT wrote, from the first letter on.",
    recognise=_named_like("base_model.{name}.{side}.weight"),
)
answer.slip(
    "ending_forgotten",
    "lora_A.weight",
    "lora_A",
    "lora_B.weight",
    "lora_B",
    thought="The tensor is called lora_A.",
    hint="Compare your names with those in the folder that PEFT wrote, up to the last letter.",
    recognise=_named_like("base_model.model.{name}.{side}"),
)
answer.slip(
    "last_part_of_the_name",
    "base_model.model.{name}.lora_A",
    "base_model.model.{name.split('.')[-1]}.lora_A",
    "base_model.model.{name}.lora_B",
    "base_model.model.{name.split('.')[-1]}.lora_B",
    thought="The name of a layer is its entry in target_modules.",
    hint="There may be a q_proj in every block. Under which name does each of them keep its own two matrices?",
    recognise=_named_like("base_model.model.{last}.{side}.weight"),
)
answer.slip(
    "no_rank",
    '"r": rank, ',
    "",
    thought="The rank can be seen from the shapes.",
    hint="They can, but PEFT makes its layers before it reads the tensors, with the r of the config, or else with 8.",
)
answer.slip(
    "no_alpha",
    '"lora_alpha": alpha, ',
    "",
    thought="alpha is only needed for training.",
    hint="The reader scales with it. Which value does PEFT use if the config has none?",
)
for own_names in (('"lora_alpha"', '"alpha"'), ('"r"', '"rank"'), ('"lora_alpha"', '"alpha"', '"r"', '"rank"')):
    answer.slip(
        "own_names_for_entries",
        *own_names,
        thought="An entry of the config has the name of the argument: rank, alpha.",
        hint="PEFT has its own names for the entries, and ignores others. Compare the names in your config with "
        "those in the folder that PEFT wrote.",
    )
answer.slip(
    "no_peft_type",
    '"peft_type": "LORA", ',
    "",
    thought="The folder is obviously a LoRA adapter, so the config does not have to say so.",
    hint="PEFT knows some thirty methods, and they all have an adapter_config.json. Which is yours?",
)
answer.slip(
    "no_targets",
    ', "target_modules": list(target_modules)',
    "",
    thought="The names of the tensors say which modules are adapted.",
    hint="PEFT makes its layers before it reads the tensors. Where does it learn which layers to adapt?",
)
answer.slip(
    "rank_stabilised",
    '"r": rank',
    '"r": rank, "use_rslora": True',
    thought="rsLoRA is the better scaling, so it is switched on.",
    hint="The adapter was trained with alpha / rank. With which scaling does PEFT use it now?",
)
answer.slip(
    "directory_not_made",
    "    directory.mkdir(parents=True, exist_ok=True)\n",
    "",
    thought="The directory is there.",
    hint="Read what the docstring says about the directory, and look up the parameters of Path(...).mkdir.",
    recognise=lambda case, observation: (
        "raised" in observation
        and (
            "FileNotFoundError" in observation["raised"]["bases"]
            or "No such file or directory" in observation["raised"]["message"]
        )
    ),
)
answer.slip(
    "directory_is_a_path",
    "    directory = Path(directory)\n",
    "",
    thought="The directory is a Path.",
    hint="It may be a str, and a str has neither mkdir nor /. What does Path(...) return for a str, and for a Path?",
    recognise=lambda case, observation: (
        case.args["as_text"] and "raised" in observation and "'str'" in observation["raised"]["message"]
    ),
)
answer.slip(
    "directory_is_text",
    'directory / "adapter_model.safetensors"',
    'directory + "/adapter_model.safetensors"',
    thought="The directory is a str.",
    hint="It may be a Path, and a Path cannot be added to a str. What does Path(...) return for a str, and for a Path?",
    recognise=lambda case, observation: (
        not case.args["as_text"] and "raised" in observation and "Path' and 'str'" in observation["raised"]["message"]
    ),
)
answer.slip(
    "directory_may_be_there",
    "exist_ok=True",
    "exist_ok=False",
    thought="The directory is new.",
    hint="Existing files are overwritten, so the directory may exist. Which parameter of mkdir allows that?",
    recognise=lambda case, observation: "raised" in observation and "FileExistsError" in observation["raised"]["bases"],
)
answer.slip(
    "in_float32",
    "module.lora_A.detach()",
    "module.lora_A.detach().float()",
    "module.lora_B.detach()",
    "module.lora_B.detach().float()",
    thought="Files hold float32.",
    hint="safetensors can store any dtype. Write the adapters as they are.",
    recognise=_in_float32,
)
answer.slip(
    "other_file_name",
    '"adapter_model.safetensors"',
    '"model.safetensors"',
    thought="A model's file is called model.safetensors.",
    hint="PEFT looks for one file name only. Which one is in the folder that it wrote?",
)
answer.slip(
    "returned_not_written",
    '    save_file(state, directory / "adapter_model.safetensors")\n    (directory / "adapter_config.json").write_text(json.dumps(config))\n',
    "    return state, config\n",
    thought="The function returns the two dicts, and the caller writes them.",
    hint="Look into the directory after the call. Which files should be there?",
)


@write_peft_adapter.misconception(
    "everything_written",
    thought="A state_dict is the whole model, so all of it must be written.",
    hint="The reader has the base. An adapter file contains A and B of the adapted layers and nothing else: how "
    "large would it be otherwise?",
    recognise=lambda case, observation: any("lora_" not in name for name in _tensors(observation)),
)
def everything_written(model, directory, rank, alpha, target_modules):
    import json
    from pathlib import Path

    from safetensors.torch import save_file

    state = {
        f"base_model.model.{name}" + (".weight" if "lora_" in name else ""): (
            tensor.T.contiguous() if "lora_" in name else tensor
        )
        for name, tensor in model.state_dict().items()
    }
    Path(directory).mkdir(parents=True, exist_ok=True)
    save_file(state, Path(directory) / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": list(target_modules)}
    (Path(directory) / "adapter_config.json").write_text(json.dumps(config))
