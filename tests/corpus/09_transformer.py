# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 09; format: tests/corpus/README.md


# %% wheat="two passes, rpartition" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("give a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(n == t or n.endswith("." + t) for t in target_modules)]
    if not found:
        raise ValueError(f"{target_modules} not found among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
    return found


# %% wheat="as in peft: key, parent, target, target_name" exercise="inject"
from lora_ref.layer import LoRALinear


def _check_target_module_exists(target_modules, key):
    if isinstance(target_modules, str):
        return key == target_modules or key.endswith(f".{target_modules}")
    if key in target_modules:
        return True
    return any(key.endswith(f".{target_key}") for target_key in target_modules)


def _get_submodules(model, key):
    parent = model.get_submodule(".".join(key.split(".")[:-1]))
    target_name = key.split(".")[-1]
    target = model.get_submodule(key)
    return parent, target, target_name


def inject(model, target_modules, rank, alpha):
    key_list = [key for key, _ in model.named_modules()]
    targeted_module_names = []
    for key in key_list:
        if not _check_target_module_exists(target_modules, key):
            continue
        parent, target, target_name = _get_submodules(model, key)
        if not isinstance(target, nn.Linear):
            continue
        new_module = LoRALinear(target, rank=rank, alpha=alpha)
        setattr(parent, target_name, new_module)
        targeted_module_names.append(key)
    if not targeted_module_names:
        names = sorted(n for n, m in model.named_modules() if isinstance(m, nn.Linear))
        raise ValueError(
            f"Target modules {target_modules} not found in the base model. "
            f"Please check the target modules and try again. Candidates: {names}"
        )
    return targeted_module_names


# %% wheat="recursion over named_children, torchtune's way" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        target_modules = [target_modules]
    target_modules = tuple("." + target for target in target_modules)
    replaced, seen = [], []

    def visit(module, prefix):
        for name, child in list(module.named_children()):
            full = f"{prefix}{name}"
            if isinstance(child, LoRALinear):
                continue
            if isinstance(child, nn.Linear):
                seen.append(full)
                if ("." + full).endswith(target_modules):
                    setattr(module, name, LoRALinear(child, rank=rank, alpha=alpha))
                    replaced.append(full)
            else:
                visit(child, full + ".")

    visit(model, "")
    if not replaced:
        raise ValueError("nothing matched; there are: " + ", ".join(seen))
    return replaced


# %% wheat="parts of the name compared from the end" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    assert_list = list(target_modules) if not isinstance(target_modules, str) else None
    if assert_list is None:
        raise TypeError("one string")

    def matches(name):
        parts = name.split(".")
        for target in assert_list:
            wanted = target.split(".")
            if parts[-len(wanted):] == wanted:
                return True
        return False

    todo = []
    for parent_name, parent in model.named_modules():
        if isinstance(parent, LoRALinear):
            continue
        for child_name, child in parent.named_children():
            full_name = child_name if parent_name == "" else parent_name + "." + child_name
            if type(child) is nn.Linear and matches(full_name):
                todo.append((full_name, parent, child_name, child))
    if len(todo) == 0:
        known = {n.split(".")[-1] for n, m in model.named_modules() if type(m) is nn.Linear}
        raise ValueError(f"no layer for {target_modules}, only {known}")
    for _, parent, child_name, child in todo:
        parent._modules[child_name] = LoRALinear(child, rank, alpha)
    return tuple(name for name, *_ in todo)


# %% wheat="a regular expression; a second call returns an empty list" exercise="inject"
import re

from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    targets = [target_modules] if isinstance(target_modules, str) else target_modules
    pattern = re.compile(r"(?:.*\.)?(?:%s)" % "|".join(map(re.escape, targets)))
    modules = dict(model.named_modules())
    done = [n for n, m in modules.items() if isinstance(m, LoRALinear) and pattern.fullmatch(n)]
    todo = [n for n, m in modules.items() if isinstance(m, nn.Linear) and pattern.fullmatch(n)]
    if not todo and not done:
        raise ValueError("no match. Linear layers: %s" % [n for n, m in modules.items() if isinstance(m, nn.Linear)])
    for n in todo:
        *path, last = n.split(".")
        parent = model
        for part in path:
            parent = getattr(parent, part)
        setattr(parent, last, LoRALinear(modules[n], rank=rank, alpha=alpha))
    return todo


# %% wheat="set_submodule" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if not isinstance(target_modules, (list, tuple, set)):
        raise TypeError(type(target_modules))
    names = []
    for name, module in list(model.named_modules()):
        is_wanted = any(("." + name).endswith("." + t) for t in target_modules)
        if isinstance(module, nn.Linear) and is_wanted:
            model.set_submodule(name, LoRALinear(module, rank, alpha))
            names.append(name)
    if not names:
        linear = next(n for n, m in model.named_modules() if isinstance(m, nn.Linear))
        raise ValueError(f"nothing is called {target_modules}; for example there is {linear}")
    return names


# %% wheat="refuses a tied weight, and says so" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list, please")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"none of {target_modules}; the model has {list(linears)}")
    holders = {}
    for n, m in model.named_modules():
        for p in m.parameters(recurse=False):
            holders.setdefault(id(p), []).append(n)
    for n in found:
        if len(holders[id(linears[n].weight)]) > 1:
            raise ValueError(f"{n} shares its weight with another module: they are tied")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
    return found


# %% chaff="substring, and replaced while walking" exercise="inject" misconception="replaced_while_walking"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    names = []
    for name, module in model.named_modules():
        for child_name, child in module.named_children():
            full = f"{name}.{child_name}" if name else child_name
            if isinstance(child, nn.Linear) and any(t in full.split(".") for t in target_modules):
                setattr(module, child_name, LoRALinear(child, rank, alpha))
                names.append(full)
    if not names:
        raise ValueError([n for n, m in model.named_modules() if isinstance(m, nn.Linear)])
    return names


# %% chaff="only children of the model itself" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    names = []
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear) and name in target_modules:
            setattr(model, name, LoRALinear(child, rank, alpha))
            names.append(name)
    if not names:
        raise ValueError([n for n, m in model.named_modules() if isinstance(m, nn.Linear)])
    return names


# %% chaff="a new Linear with the old weight, so the tie is kept and the layer is not" exercise="inject" misconception="base_copied"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(list(linears))
    for n in found:
        old = linears[n]
        new = nn.Linear(old.in_features, old.out_features, bias=old.bias is not None)
        new.weight = old.weight
        new.bias = old.bias
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(new, rank, alpha))
    return found


# %% chaff="an error of the wrong kind" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise KeyError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
    return found


# %% chaff="freezes first, and then finds no match" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    kept = {n: p.requires_grad for n, p in model.named_parameters()}
    model.requires_grad_(False)
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n, p in model.named_parameters():
        p.requires_grad_(kept[n])
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
    return found


# %% chaff="every Linear, whatever was asked for" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    names = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    for n in names:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(model.get_submodule(n), rank, alpha))
    return names


# %% chaff="keeps it to itself" exercise="inject" misconception="names_not_returned"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(list(linears))
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))


# %% chaff="trained values are lost, B is filled at once" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(list(linears))
    for n in found:
        parent, _, child = n.rpartition(".")
        layer = LoRALinear(linears[n], rank, alpha)
        nn.init.normal_(layer.lora_B)
        setattr(model.get_submodule(parent), child, layer)
    return found


# %% wheat="over named_modules, detached copies" exercise="adapter_state_dict"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    state = {}
    for name, module in model.named_modules():
        if isinstance(module, LoRALinear):
            state[f"{name}.lora_A"] = module.lora_A.detach().clone()
            state[f"{name}.lora_B"] = module.lora_B.detach().clone()
    return state


# %% wheat="a filter of state_dict by a set of ids" exercise="adapter_state_dict"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    return {n: p.data for n, p in model.named_parameters() if id(p) in ids}


# %% wheat="adapter names of each layer, torchtune's way" exercise="adapter_state_dict"
def adapter_state_dict(model):
    adapter_params = {}
    for k, v in model.named_modules():
        if hasattr(v, "adapter_names"):
            for name, p in v.named_parameters(recurse=False):
                if name in v.adapter_names:
                    adapter_params[f"{k}.{name}"] = p
    return adapter_params


# %% wheat="an OrderedDict, on the cpu" exercise="adapter_state_dict"
from collections import OrderedDict

from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    full = model.state_dict()
    prefixes = tuple(n + ".lora_" for n, m in model.named_modules() if isinstance(m, LoRALinear))
    return OrderedDict((k, v.cpu()) for k, v in full.items() if k.startswith(prefixes))


# %% wheat="the Parameters themselves" exercise="adapter_state_dict"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    return {
        f"{prefix}.{side}": getattr(layer, side)
        for prefix, layer in model.named_modules()
        if isinstance(layer, LoRALinear)
        for side in ("lora_A", "lora_B")
    }


# %% wheat="a layer's own state_dict, with a prefix" exercise="adapter_state_dict"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    state = {}
    for prefix, layer in model.named_modules():
        if isinstance(layer, LoRALinear):
            own = layer.state_dict(prefix=prefix + ".")
            state.update({k: v for k, v in own.items() if ".base_layer." not in k})
    return state


# %% chaff="as loralib filters: lora_ in the name" exercise="adapter_state_dict" misconception="lora_in_the_name"
def adapter_state_dict(model):
    my_state_dict = model.state_dict()
    return {k: my_state_dict[k] for k in my_state_dict if "lora_" in k}


# %% chaff="named_parameters that require a gradient" exercise="adapter_state_dict" misconception="what_trains"
def adapter_state_dict(model):
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}


# %% chaff="everything" exercise="adapter_state_dict" misconception="whole_state"
def adapter_state_dict(model):
    return model.state_dict()


# %% chaff="all that is not of a base" exercise="adapter_state_dict" misconception=""
def adapter_state_dict(model):
    return {k: v for k, v in model.state_dict().items() if "base_layer" not in k}


# %% chaff="a list of pairs" exercise="adapter_state_dict" misconception=""
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    return [(n, m.lora_A, m.lora_B) for n, m in model.named_modules() if isinstance(m, LoRALinear)]


# %% chaff="transposed for nn.Linear" exercise="adapter_state_dict" misconception=""
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    return {
        f"{n}.{side}": getattr(m, side).detach().T.contiguous()
        for n, m in model.named_modules()
        if isinstance(m, LoRALinear)
        for side in ("lora_A", "lora_B")
    }


# %% chaff="in float32, to be safe" exercise="adapter_state_dict" misconception=""
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    return {n: p.detach().float() for n, p in model.named_parameters() if id(p) in ids}


# %% chaff="only the layers in the blocks" exercise="adapter_state_dict" misconception=""
def adapter_state_dict(model):
    return {
        k: v for k, v in model.state_dict().items()
        if k.startswith("blocks") and k.endswith(("lora_A", "lora_B"))
    }


# %% chaff="freezes what it saves" exercise="adapter_state_dict" misconception="changed_input"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    state = {}
    for n, m in model.named_modules():
        if isinstance(m, LoRALinear):
            state[f"{n}.lora_A"] = m.lora_A.requires_grad_(False)
            state[f"{n}.lora_B"] = m.lora_B.requires_grad_(False)
    return state


# %% chaff="keeps it to itself" exercise="adapter_state_dict" misconception="returned_none"
from lora_ref.layer import LoRALinear


def adapter_state_dict(model):
    state = {}
    for n, m in model.named_modules():
        if isinstance(m, LoRALinear):
            state[f"{n}.lora_A"], state[f"{n}.lora_B"] = m.lora_A, m.lora_B


# %% wheat="two differences of sets, then shapes, then copies" exercise="load_adapter"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    own = {}
    for n, m in model.named_modules():
        if isinstance(m, LoRALinear):
            own[n + ".lora_A"], own[n + ".lora_B"] = m.lora_A, m.lora_B
    missing, unexpected = set(own) - set(state), set(state) - set(own)
    if missing or unexpected:
        raise KeyError(f"missing {sorted(missing)}, unexpected {sorted(unexpected)}")
    for k in own:
        if own[k].shape != state[k].shape:
            raise ValueError(f"size mismatch for {k}: {state[k].shape} against {own[k].shape}")
    for k in own:
        own[k].data.copy_(state[k])


# %% wheat="assertions with messages" exercise="load_adapter"
from lora_ref.layer import LoRALinear


@torch.no_grad()
def load_adapter(model, state):
    adapters = {
        f"{name}.{side}": getattr(module, side)
        for name, module in model.named_modules()
        if isinstance(module, LoRALinear)
        for side in ("lora_A", "lora_B")
    }
    for key in {**adapters, **state}:
        assert key in adapters, f"{key} is no adapter here"
        assert key in state, f"{key} is missing"
        assert adapters[key].shape == state[key].shape, f"{key} has another shape"
    for key, tensor in state.items():
        adapters[key].copy_(tensor)


# %% wheat="a strict load of the whole state, tried on a copy first" exercise="load_adapter"
import copy

from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    keys = {n for n, p in model.named_parameters() if id(p) in ids}
    for k in keys ^ set(state):
        raise KeyError(k)
    whole = {**model.state_dict(), **state}
    copy.deepcopy(model).load_state_dict(whole)
    model.load_state_dict(whole)


# %% wheat="all errors gathered, torch's way" exercise="load_adapter"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, LoRALinear)]
    wanted = {f"{n}.{p}": getattr(m, p) for n, m in layers for p in ("lora_A", "lora_B")}
    error_msgs = []
    for key in wanted.keys() - state.keys():
        error_msgs.append(f"Missing key: {key}")
    for key in state.keys() - wanted.keys():
        error_msgs.append(f"Unexpected key: {key}")
    for key in wanted.keys() & state.keys():
        if tuple(wanted[key].shape) != tuple(state[key].shape):
            error_msgs.append(f"size mismatch for {key}")
    if error_msgs:
        raise RuntimeError("Error(s) in loading:\n\t" + "\n\t".join(error_msgs))
    with torch.no_grad():
        for key, parameter in wanted.items():
            parameter[...] = state[key].to(parameter)


# %% wheat="a backup, given back when something fails" exercise="load_adapter"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    own = {}
    for n, m in model.named_modules():
        if isinstance(m, LoRALinear):
            own[f"{n}.lora_A"] = m.lora_A
            own[f"{n}.lora_B"] = m.lora_B
    backup = {k: p.detach().clone() for k, p in own.items()}
    left = dict(state)
    try:
        with torch.no_grad():
            for k, p in own.items():
                if k not in left:
                    raise KeyError(f"{k} is not in the state")
                value = left.pop(k)
                if value.shape != p.shape:
                    raise ValueError(f"{k}: {tuple(value.shape)} is not {tuple(p.shape)}")
                p.copy_(value)
            if left:
                raise KeyError(f"not used: {list(left)}")
    except Exception:
        with torch.no_grad():
            for k, p in own.items():
                p.copy_(backup[k])
        raise


# %% chaff="strict=False, as loralib's README says" exercise="load_adapter" misconception="strict_false"
def load_adapter(model, state):
    model.load_state_dict(state, strict=False)


# %% chaff="strict load of adapters alone" exercise="load_adapter" misconception="half_loaded"
def load_adapter(model, state):
    model.load_state_dict(state)


# %% chaff="only what is in the state" exercise="load_adapter" misconception="missing_ignored"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k, v in state.items():
        if k not in own or own[k].shape != v.shape:
            raise KeyError(k)
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v)


# %% chaff="setattr, one by one, with checks on the way" exercise="load_adapter" misconception="new_parameters"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        raise KeyError(k)
    for k in own:
        if own[k].shape != state[k].shape:
            raise ValueError(k)
    for k, v in state.items():
        name, side = k.rsplit(".", 1)
        setattr(model.get_submodule(name), side, nn.Parameter(v.clone(), requires_grad=own[k].requires_grad))


# %% chaff="broadcasts a row" exercise="load_adapter" misconception="nothing_named"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        raise KeyError(k)
    for k in own:
        if own[k].shape[1] != state[k].shape[-1]:
            raise ValueError(k)
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v.expand_as(own[k]) if v.shape[0] == 1 else v[: own[k].shape[0]])


# %% chaff="adds to what is there" exercise="load_adapter" misconception=""
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        raise KeyError(k)
    for k in own:
        if own[k].shape != state[k].shape:
            raise ValueError(k)
    with torch.no_grad():
        for k, v in state.items():
            own[k].add_(v)


# %% chaff="returns False instead of raising" exercise="load_adapter" misconception=""
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    if set(own) != set(state) or any(own[k].shape != state[k].shape for k in own):
        return False
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v)
    return True


# %% chaff="warns" exercise="load_adapter" misconception=""
import warnings

from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        warnings.warn(f"{k} does not fit")
    with torch.no_grad():
        for k in set(own) & set(state):
            if own[k].shape == state[k].shape:
                own[k].copy_(state[k])


# %% chaff="an assertion without a word" exercise="load_adapter" misconception="nothing_named"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    assert set(own) == set(state)
    assert all(own[k].shape == state[k].shape for k in own)
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v)


# %% chaff="one adapter for all layers of a shape" exercise="inject" misconception="adapter_shared"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("target_modules is a list")
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    names = [name for name in linears if any(f".{name}".endswith(f".{target}") for target in target_modules)]
    if not names:
        raise ValueError(f"no match in {linears}")
    adapters = {}
    for name in names:
        layer = LoRALinear(model.get_submodule(name), rank, alpha)
        shape = layer.lora_A.shape, layer.lora_B.shape
        layer.lora_A, layer.lora_B = adapters.setdefault(shape, (layer.lora_A, layer.lora_B))
        model.set_submodule(name, layer)
    return names


# %% chaff="checks, and then writes into leaves" exercise="load_adapter" misconception="no_grad_forgotten"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}
    own = {f"{name}.{side}": getattr(m, side) for name, m in layers.items() for side in ("lora_A", "lora_B")}
    for key in own.keys() ^ state.keys():
        raise KeyError(key)
    for key, tensor in state.items():
        if own[key].shape != tensor.shape:
            raise ValueError(key)
    for key, tensor in state.items():
        own[key].copy_(tensor)


# %% wheat="candidates by their own names, with commas" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        target_modules = [target_modules]
    found = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    hits = {n: m for n, m in found.items() if any(n == t or n.endswith("." + t) for t in target_modules)}
    if not hits:
        kinds = sorted({n.rsplit(".", 1)[-1] for n in found})
        raise ValueError(f"Target modules {target_modules} not found. Candidates: {', '.join(kinds[:5])}.")
    for n, m in hits.items():
        *path, last = n.split(".")
        parent = model
        for p in path:
            parent = getattr(parent, p)
        setattr(parent, last, LoRALinear(m, rank=rank, alpha=alpha))
    return list(hits)


# %% wheat="a single example, in backquotes" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("list")
    done, seen = [], []

    def walk(parent, prefix):
        for name, child in list(parent.named_children()):
            full = f"{prefix}.{name}" if prefix else name
            if isinstance(child, LoRALinear):
                continue
            if isinstance(child, nn.Linear):
                seen.append(name)
                if any(("." + full).endswith("." + t) for t in target_modules):
                    setattr(parent, name, LoRALinear(child, rank, alpha))
                    done.append(full)
            else:
                walk(child, full)

    walk(model, "")
    if not done:
        raise ValueError("nothing matches; there is e.g. `%s`" % next(s for s in seen if s.endswith("_proj")))
    return tuple(done)


# %% wheat="refuses a tied weight in other words" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("list of names")
    linear = {k: m for k, m in model.named_modules() if isinstance(m, nn.Linear)}
    hits = {k: m for k, m in linear.items() if any(f".{k}".endswith(f".{t}") for t in target_modules)}
    if not hits:
        raise ValueError(f"none of {target_modules}; have {list(linear)}")
    emb = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for k, m in hits.items():
        if id(m.weight) in emb:
            raise ValueError(f"{k}: its weight also belongs to an embedding (weight tying)")
    for k, m in hits.items():
        parent, _, leaf = k.rpartition(".")
        setattr(model.get_submodule(parent), leaf, LoRALinear(m, rank, alpha))
    return list(hits)


# %% wheat="a message that speaks of dtypes" exercise="load_adapter"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    mine = {
        f"{n}.{s}": getattr(m, s)
        for n, m in model.named_modules()
        if isinstance(m, LoRALinear)
        for s in ("lora_A", "lora_B")
    }
    if missing := sorted(mine.keys() - state.keys()):
        raise KeyError(f"Missing key(s) in state_dict: {missing}")
    if unexpected := sorted(state.keys() - mine.keys()):
        raise KeyError(f"Unexpected key(s) in state_dict: {unexpected}")
    for k, p in mine.items():
        if state[k].shape != p.shape or state[k].dtype != p.dtype:
            raise ValueError(
                f"{k}: expected shape {tuple(p.shape)} and dtype {p.dtype}, but got {tuple(state[k].shape)} and {state[k].dtype}"
            )
    for k, p in mine.items():
        p.data.copy_(state[k])


# %% chaff="the rank is not handed on" exercise="inject" misconception="rank_forgotten"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(n == t or n.endswith("." + t) for t in target_modules)]
    if not found:
        raise ValueError(f"nothing matches; there are {sorted(linears)}")
    for name in found:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[name], alpha=alpha))
    return found


# %% chaff="a parent for every name" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(n == t or n.endswith("." + t) for t in target_modules)]
    if not found:
        raise ValueError(f"nothing matches; there are {sorted(linears)}")
    for name in found:
        parent, child = name.rsplit('.', 1)
        setattr(model.get_submodule(parent), child, LoRALinear(linears[name], rank=rank, alpha=alpha))
    return found


# %% chaff="shared lora factors" exercise="inject" misconception="adapter_shared"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(n == t or n.endswith("." + t) for t in target_modules)]
    if not found:
        raise ValueError(f"nothing matches; there are {sorted(linears)}")
    made = {}
    for name in found:
        parent, _, child = name.rpartition(".")
        l = made.setdefault(child, LoRALinear(linears[name], rank=rank, alpha=alpha))
        setattr(model.get_submodule(parent), child, l)
    return found


# %% chaff="how many" exercise="inject" misconception="names_not_returned"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    linears = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and not n.endswith("base_layer")]
    hits = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not hits:
        raise ValueError(f"there are {linears}")
    for n in hits:
        parent, _, last = n.rpartition(".")
        setattr(model.get_submodule(parent), last, LoRALinear(model.get_submodule(n), rank, alpha))
    return len(hits)


# %% chaff="rank for alpha, by name" exercise="inject" misconception="rank_and_alpha_swapped"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    linears = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and not n.endswith("base_layer")]
    hits = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not hits:
        raise ValueError(f"there are {linears}")
    for n in hits:
        parent, _, last = n.rpartition(".")
        setattr(model.get_submodule(parent), last, LoRALinear(model.get_submodule(n), rank=alpha, alpha=rank))
    return hits


# %% chaff="lists in place of tensors" exercise="adapter_state_dict" misconception=""
def adapter_state_dict(model):
    return {n: p.tolist() for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))}


# %% chaff="every key of the model is loaded that has its shape" exercise="load_adapter" misconception="keys_of_the_base_accepted"
def load_adapter(model, state):
    all_of_it = model.state_dict()
    for key, value in state.items():
        if key not in all_of_it or value.shape != all_of_it[key].shape:
            raise ValueError(key)
    for key in all_of_it:
        if key.endswith((".lora_A", ".lora_B")) and key not in state:
            raise KeyError(key)
    with torch.no_grad():
        for key, value in state.items():
            all_of_it[key].copy_(value)


# %% chaff="ends with the letters, and one string is taken apart" exercise="inject" misconception="ends_with_letters"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    done = []
    for name, m in list(model.named_modules()):
        if isinstance(m, nn.Linear) and any(name.endswith(t) for t in target_modules):
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoRALinear(m, rank, alpha))
            done.append(name)
    if not done:
        raise ValueError(str([n for n, m in model.named_modules() if isinstance(m, nn.Linear)]))
    return done


# %% chaff="ends with the letters, target by target, and no match is not told" exercise="inject" misconception="ends_with_letters"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    replaced = []
    for name, module in list(model.named_modules()):
        for target in target_modules:
            if isinstance(module, nn.Linear) and name.endswith(target):
                parent = model.get_submodule(name.rpartition('.')[0])
                setattr(parent, name.split('.')[-1], LoRALinear(module, rank, alpha))
                replaced.append(name)
    return replaced


# %% chaff="in, one string is taken apart, and the message says nothing" exercise="inject" misconception="substring_match"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    done = []
    for name, m in list(model.named_modules()):
        if isinstance(m, nn.Linear) and any(t in name for t in target_modules):
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoRALinear(m, rank, alpha))
            done.append(name)
    if not done:
        raise ValueError('nothing found')
    return done


# %% chaff="the last part is in the list, or in the string" exercise="inject" misconception="last_part_only"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    done = []
    for name, m in list(model.named_modules()):
        if isinstance(m, nn.Linear) and name.split('.')[-1] in target_modules:
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoRALinear(m, rank, alpha))
            done.append(name)
    if not done:
        raise ValueError([n for n, m in model.named_modules() if isinstance(m, nn.Linear)])
    return done


# %% chaff="the last part is in the list, and the model is frozen" exercise="inject" misconception="last_part_only"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    for p in model.parameters():
        p.requires_grad = False
    done = []
    for name, m in list(model.named_modules()):
        if isinstance(m, nn.Linear) and name.split('.')[-1] in target_modules:
            parent, _, child = name.rpartition('.')
            setattr(model.get_submodule(parent), child, LoRALinear(m, rank, alpha))
            done.append(name)
    return done



# %% chaff="the new layer is frozen as a whole" exercise="inject" misconception="adapter_frozen"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha).requires_grad_(False))
    return found


# %% chaff="everything is frozen in the end" exercise="inject" misconception="adapter_frozen"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
    for p in model.parameters():
        p.requires_grad = False
    return found


# %% chaff="the new layer trains as a whole" exercise="inject" misconception="base_unfrozen"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha).requires_grad_(True))
    return found


# %% chaff="requires_grad of every layer put back" exercise="inject" misconception="base_unfrozen"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        flags = [p.requires_grad for p in linears[n].parameters()]
        setattr(model.get_submodule(parent), child, LoRALinear(linears[n], rank, alpha))
        for p, flag in zip(linears[n].parameters(), flags):
            p.requires_grad_(flag)
    return found


# %% chaff="lora_A frozen, as some papers do" exercise="inject" misconception=""
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        layer = LoRALinear(linears[n], rank, alpha)
        layer.lora_A.requires_grad_(False)
        setattr(model.get_submodule(parent), child, layer)
    return found


# %% chaff="both matrices zero" exercise="inject" misconception="both_zero"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        layer = LoRALinear(linears[n], rank, alpha)
        nn.init.zeros_(layer.lora_A)
        setattr(model.get_submodule(parent), child, layer)
    return found


# %% chaff="lora_A of ones" exercise="inject" misconception="constant_A"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        layer = LoRALinear(linears[n], rank, alpha)
        nn.init.ones_(layer.lora_A)
        setattr(model.get_submodule(parent), child, layer)
    return found


# %% chaff="a layer of one's own that does not freeze its base" exercise="inject" misconception="base_unfrozen"
from lora_ref.layer import LoRALinear


class Mine(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, Mine(linears[n], rank, alpha))
    return found


# %% wheat="a layer of one's own" exercise="inject"
from lora_ref.layer import LoRALinear


class Mine(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + self.scaling * self.lora_B(self.lora_A(x))


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        setattr(model.get_submodule(parent), child, Mine(linears[n], rank, alpha))
    return found


# %% wheat="lora_A drawn once more, in another way" exercise="inject"
from lora_ref.layer import LoRALinear


def inject(model, target_modules, rank, alpha):
    if isinstance(target_modules, str):
        raise TypeError("a list of names")
    linears = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    found = [n for n in linears if any(f".{n}".endswith(f".{t}") for t in target_modules)]
    if not found:
        raise ValueError(f"no match among {list(linears)}")
    for n in found:
        parent, _, child = n.rpartition(".")
        layer = LoRALinear(linears[n], rank, alpha)
        nn.init.xavier_normal_(layer.lora_A)
        layer.lora_A.requires_grad_(True)
        setattr(model.get_submodule(parent), child, layer.train(model.training))
    return found


# %% chaff="the first axis alone is compared" exercise="load_adapter" misconception="one_axis_looked_at"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        raise KeyError(k)
    for k in own:
        if own[k].ndim != state[k].ndim or own[k].shape[0] != state[k].shape[0]:
            raise ValueError(k)
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v)


# %% chaff="the last axis alone is compared" exercise="load_adapter" misconception="one_axis_looked_at"
from lora_ref.layer import LoRALinear


def load_adapter(model, state):
    ids = {id(p) for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)}
    own = {n: p for n, p in model.named_parameters() if id(p) in ids}
    for k in set(own) ^ set(state):
        raise KeyError(k)
    for k in own:
        if own[k].ndim != state[k].ndim or own[k].shape[-1] != state[k].shape[-1]:
            raise ValueError(k)
    with torch.no_grad():
        for k, v in state.items():
            own[k].copy_(v)


# %% chaff="keys of the first call are remembered" exercise="load_adapter" misconception="kept_between_calls"
known = []


def load_adapter(model, state):
    if not known:
        known.extend(state)
    own = dict(model.named_parameters())
    for key in known:
        if key not in state:
            raise KeyError(key)
    for key in state:
        if key not in known or state[key].shape != own[key].shape:
            raise KeyError(key)
    with torch.no_grad():
        for key in state:
            own[key].copy_(state[key])


# %% chaff=".lora_ in the name" exercise="load_adapter" misconception="lora_in_the_name"
def load_adapter(model, state):
    own = dict(model.named_parameters())
    mine = [key for key in own if ".lora_" in key]
    for key in mine:
        if key not in state:
            raise KeyError(key)
    for key in state:
        if key not in mine or state[key].shape != own[key].shape:
            raise KeyError(key)
    with torch.no_grad():
        for key in state:
            own[key].copy_(state[key])


# %% wheat="by the ends of the names" exercise="load_adapter"
def load_adapter(model, state):
    own = {n: p for n, p in model.named_parameters() if n.endswith((".lora_A", ".lora_B"))}
    wrong = [k for k in own.keys() | state.keys() if k not in own or k not in state or own[k].shape != state[k].shape]
    if wrong:
        raise ValueError(f"these keys do not fit: {', '.join(wrong)}")
    for k, p in own.items():
        p.data[:] = state[k]


# %% wheat="by the ends of the names" exercise="adapter_state_dict"
def adapter_state_dict(model):
    return {n: p.detach() for n, p in model.named_parameters() if n.endswith((".lora_A", ".lora_B"))}


# %% chaff="a dot and lora_ in the key" exercise="adapter_state_dict" misconception="lora_in_the_name"
def adapter_state_dict(model):
    return {k: v for k, v in model.state_dict().items() if ".lora_" in k}


# %% chaff="the last letter" exercise="adapter_state_dict" misconception="by_the_last_letter"
def adapter_state_dict(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if n[-1] in "AB"}


# %% chaff="neither weight nor bias" exercise="adapter_state_dict" misconception="all_but_weights_and_biases"
def adapter_state_dict(model):
    return {k: v for k, v in model.state_dict().items() if k.split(".")[-1] not in ("weight", "bias")}


# %% chaff="names written down" exercise="adapter_state_dict" misconception=""
PATHS = [f"blocks.{i}.{name}" for i in range(2) for name in ("q_proj", "o_proj")] + ["head"]


def adapter_state_dict(model):
    state = model.state_dict()
    return {f"{path}.{side}": state[f"{path}.{side}"] for path in PATHS for side in ("lora_A", "lora_B")}
