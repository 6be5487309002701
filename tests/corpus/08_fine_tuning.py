# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 08; format: tests/corpus/README.md


# %% wheat="a list of all modules, parents by get_submodule" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    taken = {part for layer in model.modules() if isinstance(layer, LoRALinear) for part in layer.modules()}
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module not in taken:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, LoRALinear(module, rank=rank, alpha=alpha))
    return model


# %% wheat="a stack in place of recursion" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    stack = [model]
    while stack:
        module = stack.pop()
        for name, child in module.named_children():
            if isinstance(child, LoRALinear):
                continue
            if isinstance(child, nn.Linear):
                module._modules[name] = LoRALinear(child, rank, alpha)
            else:
                stack.append(child)
    return model


# %% wheat="apply, which reaches every module" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    def replace(module):
        if not isinstance(module, LoRALinear):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Linear):
                    module.add_module(name, LoRALinear(child, rank, alpha))

    model.apply(replace)
    return model


# %% wheat="set_submodule, and names that lie in an adapter left out" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    targets = [n for n, m in model.named_modules() if type(m) is nn.Linear and not n.endswith("base_layer")]
    for name in targets:
        model.set_submodule(name, LoRALinear(model.get_submodule(name), rank, alpha))
    return model


# %% wheat="an inner function, match by attribute" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    def walk(parent):
        for name in [name for name, _ in parent.named_children()]:
            child = getattr(parent, name)
            if hasattr(child, "lora_A"):
                continue
            if isinstance(child, torch.nn.Linear):
                setattr(parent, name, LoRALinear(child, rank=rank, alpha=alpha))
                continue
            walk(child)

    walk(model)
    return model


# %% wheat="a LoRALinear of one's own" exercise="add_lora"
class MyLoRALinear(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer
        for parameter in base_layer.parameters():
            parameter.requires_grad = False
        self.lora_A = nn.Linear(base_layer.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base_layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + self.lora_B(self.lora_A(x)) * self.scaling


def add_lora(model, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, MyLoRALinear(child, rank, alpha))
        elif not hasattr(child, "base_layer"):
            add_lora(child, rank, alpha)
    return model


# %% wheat="everything frozen first, as in many scripts" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for parameter in model.parameters():
        parameter.requires_grad = False
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.endswith("base_layer"):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, LoRALinear(module, rank, alpha))
    return model


# %% chaff="all that is not a base trains afterwards" exercise="add_lora" misconception="unfroze_all"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.endswith("base_layer"):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, LoRALinear(module, rank, alpha))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "base_layer" not in name
    return model


# %% chaff="replaced while the loop runs over them" exercise="add_lora" misconception="wrapped_twice"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, LoRALinear(module, rank, alpha))
    return model


# %% chaff="a new layer of the same sizes" exercise="add_lora" misconception="base_copied"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            base = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None)
            base.load_state_dict(child.state_dict())
            setattr(model, name, LoRALinear(base, rank, alpha))
        elif not isinstance(child, LoRALinear):
            add_lora(child, rank, alpha)
    return model


# %% chaff="stops at the first one" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, LoRALinear(child, rank, alpha))
            return model
        if not isinstance(child, LoRALinear):
            add_lora(child, rank, alpha)
    return model


# %% chaff="an error on the second call" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    layers = [path for path, module in model.named_modules() if type(module) is nn.Linear and "base_layer" not in path]
    if not layers:
        raise RuntimeError("no nn.Linear in this model")
    for path in layers:
        model.set_submodule(path, LoRALinear(model.get_submodule(path), rank, alpha))
    return model


# %% wheat="by the last part of the name" exercise="adapter_parameters"
def adapter_parameters(model):
    return [p for name, p in model.named_parameters() if name.split(".")[-1] in ("lora_A", "lora_B")]


# %% wheat="a generator" exercise="adapter_parameters"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    for module in model.modules():
        if isinstance(module, LoRALinear):
            yield module.lora_A
            yield module.lora_B


# %% wheat="a set" exercise="adapter_parameters"
def adapter_parameters(model):
    layers = {m for m in model.modules() if hasattr(m, "base_layer")}
    return {p for m in layers for p in (m.lora_A, m.lora_B)}


# %% wheat="what each layer says of itself" exercise="adapter_parameters"
def adapter_parameters(model):
    found = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for adapter in getattr(module, "adapter_names", ()):
            parameter = module.get_parameter(adapter)
            found[id(parameter)] = parameter
    return found.values()


# %% wheat="filter, and names that hold lora_A or lora_B" exercise="adapter_parameters"
def adapter_parameters(model):
    pairs = filter(lambda pair: "lora_A" in pair[0] or "lora_B" in pair[0], model.named_parameters())
    return list(map(lambda pair: pair[1], pairs))


# %% chaff="all parameters of LoRALinears, base included" exercise="adapter_parameters" misconception="all_parameters"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in m.parameters()]


# %% chaff="what a LoRALinear trains, and each place of it" exercise="adapter_parameters" misconception="twice"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    layers = [m for _, m in model.named_modules(remove_duplicate=False) if isinstance(m, LoRALinear)]
    return [p for m in layers for p in m.parameters() if p.requires_grad]


# %% chaff="names" exercise="adapter_parameters" misconception="names_too"
def adapter_parameters(model):
    return [name for name, _ in model.named_parameters() if "lora_" in name]


# %% chaff="new Parameters of the same values" exercise="adapter_parameters" misconception="copies"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    layers = [m for m in model.modules() if isinstance(m, LoRALinear)]
    return [nn.Parameter(p.clone()) for m in layers for p in (m.lora_A, m.lora_B)]


# %% chaff="how many there are" exercise="adapter_parameters" misconception=""
def adapter_parameters(model):
    return sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)


# %% chaff="nothing handed back" exercise="adapter_parameters" misconception="returned_none"
def adapter_parameters(model):
    [p for name, p in model.named_parameters() if "lora_" in name]


# %% wheat="batches, AdamW with weight decay, a cosine schedule" exercise="fine_tune"
import torch.nn.functional as F


def adapters_of(model):
    return [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]


def fine_tune(model, x, y, epochs, lr, batch_size=128):
    params = adapters_of(model)
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=0.01)
    steps = epochs * math.ceil(len(x) / batch_size)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    model.train()
    for epoch in range(epochs):
        for batch in torch.randperm(len(x)).split(batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
            scheduler.step()
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    return model


# %% wheat="all rows at once, Adam, a cosine schedule" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    params = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(params, lr=lr, betas=(0.9, 0.99))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    for p in params:
        p.grad = None
    return model.eval()


# %% wheat="a DataLoader, SGD with momentum" exercise="fine_tune"
from torch.utils.data import DataLoader, TensorDataset

from lora_ref.layer import LoRALinear


def fine_tune(model, x, y, epochs, lr):
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    layers = [m for m in model.modules() if isinstance(m, LoRALinear)]
    optimizer = torch.optim.SGD([{"params": [m.lora_A for m in layers]}, {"params": [m.lora_B for m in layers]}], lr=lr, momentum=0.9)
    history = []
    for epoch in range(1, epochs + 1):
        model.train()
        total = 0.0
        for xb, yb in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(xb), yb)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(xb)
        model.eval()
        history.append(total / len(x))
    model.zero_grad()
    return history


# %% wheat="plain SGD on all rows at once" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def fine_tune(model, x, y, epochs, lr):
    layers = [module for module in model.modules() if isinstance(module, LoRALinear)]
    optimizer = torch.optim.SGD([p for layer in layers for p in (layer.lora_A, layer.lora_B)], lr=lr)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model.eval()


# %% wheat="plain SGD by hand, in batches" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.rsplit(".", 1)[-1] in {"lora_A", "lora_B"}]
    model.train()
    for _ in range(epochs):
        order = torch.randperm(x.shape[0])
        for i in range(0, x.shape[0], 32):
            rows = order[i : i + 32]
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            grads = torch.autograd.grad(loss, adapters)
            with torch.no_grad():
                for p, g in zip(adapters, grads):
                    p -= lr * g
    model.eval()


# %% wheat="torch.func: gradients of a function of the adapters" exercise="fine_tune"
from torch.func import functional_call, grad


def fine_tune(model, x, y, epochs, lr):
    trained = {n: p for n, p in model.named_parameters() if n.endswith((".lora_A", ".lora_B"))}
    values = {n: p.detach().clone() for n, p in trained.items()}
    first = {n: torch.zeros_like(v) for n, v in values.items()}
    second = {n: torch.zeros_like(v) for n, v in values.items()}

    def loss_of(values, x, y):
        return nn.functional.cross_entropy(functional_call(model, values, (x,)), y)

    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(350):
            step += 1
            grads = grad(loss_of)(values, x[rows], y[rows])
            for n, g in grads.items():
                first[n] = 0.9 * first[n] + 0.1 * g
                second[n] = 0.999 * second[n] + 0.001 * g * g
                m, v = first[n] / (1 - 0.9**step), second[n] / (1 - 0.999**step)
                values[n] = values[n] - lr * m / (v.sqrt() + 1e-8)
    with torch.no_grad():
        for n, p in trained.items():
            p.copy_(values[n])
    model.eval()
    return model


# %% wheat="gradients added up over micro-batches" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def fine_tune(model, x, y, epochs, lr):
    params = []
    for module in model.modules():
        if isinstance(module, LoRALinear):
            params.extend([module.lora_A, module.lora_B])
    opt = torch.optim.Adam(params, lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        for xb, yb in zip(x.chunk(4), y.chunk(4)):
            loss = nn.functional.cross_entropy(model(xb), yb) * len(xb) / len(x)
            loss.backward()
        opt.step()
    opt.zero_grad()
    model.train(False)


# %% wheat="everything else frozen for the time, and put back" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    before = {p: p.requires_grad for p in model.parameters()}
    adapters = []
    for name, p in model.named_parameters():
        p.requires_grad_(name.endswith(("lora_A", "lora_B")))
        if p.requires_grad:
            adapters.append(p)
    optimizer = torch.optim.NAdam(adapters, lr=lr)
    try:
        model.train()
        for _ in range(epochs):
            optimizer.zero_grad()
            log_probs = torch.log_softmax(model(x), dim=1)
            loss = -log_probs[torch.arange(len(y)), y].mean()
            loss.backward()
            optimizer.step()
    finally:
        for p, flag in before.items():
            p.requires_grad_(flag)
            p.grad = None
        model.eval()
    return model


# %% wheat="a trainer class, label smoothing, gradients zeroed to zeros" exercise="fine_tune"
class Trainer:
    def __init__(self, model, lr):
        self.model = model
        self.params = [p for n, p in model.named_parameters() if ".lora_" in n]
        self.opt = torch.optim.Adam(self.params, lr)
        self.loss = nn.CrossEntropyLoss(label_smoothing=0.05)

    def step(self, x, y):
        self.opt.zero_grad(set_to_none=False)
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.opt.step()
        self.opt.zero_grad(set_to_none=False)
        return loss.item()

    def fit(self, x, y, epochs):
        self.model.train()
        losses = [self.step(x[i::2], y[i::2]) for _ in range(epochs) for i in (0, 1)]
        self.model.eval()
        return losses


def fine_tune(model, x, y, epochs, lr):
    return Trainer(model, lr).fit(x, y, epochs)


# %% wheat="the step is made in a hook as each gradient is ready" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimisers = {p: torch.optim.Adam([p], lr=lr) for p in adapters}

    def hook(p):
        optimisers[p].step()
        optimisers[p].zero_grad()

    handles = [p.register_post_accumulate_grad_hook(hook) for p in adapters]
    model.train()
    for _ in range(epochs):
        nn.functional.cross_entropy(model(x), y).backward()
    for handle in handles:
        handle.remove()
    model.zero_grad()
    model.eval()


# %% wheat="a closure" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    model.train()
    for _ in range(epochs):
        optimizer.step(closure)
    optimizer.zero_grad()
    model.eval()


# %% chaff="all that trains, with weight decay" exercise="fine_tune" misconception="all_handed_over"
def fine_tune(model, x, y, epochs, lr):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.1)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="batches, gradients never cleared" exercise="fine_tune" misconception="gradients_not_cleared"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        for i in range(0, len(x), 200):
            loss = nn.functional.cross_entropy(model(x[i : i + 200]), y[i : i + 200])
            loss.backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="returns within the loop" exercise="fine_tune" misconception="one_epoch"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        model.eval()
        return model


# %% chaff="up the hill" exercise="fine_tune" misconception="uphill"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr, maximize=True)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="trains a copy" exercise="fine_tune" misconception="optimiser_of_copies"
import copy


def fine_tune(model, x, y, epochs, lr):
    model = copy.deepcopy(model)
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


# %% chaff="batches, rows and labels shuffled apart" exercise="fine_tune" misconception="shuffled_apart"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.SGD(adapters, lr=lr, momentum=0.9)
    model.train()
    for _ in range(epochs):
        rows, labels = torch.randperm(len(x)), torch.randperm(len(y))
        for i in range(0, len(x), 100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x[rows[i : i + 100]]), y[labels[i : i + 100]])
            loss.backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="the eval that containers never see" exercise="fine_tune" misconception="eval_forgotten"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.training = False


# %% chaff="squared error of probabilities on the wrong axis" exercise="fine_tune" misconception="wrong_axis"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        log_probs = nn.functional.log_softmax(model(x), dim=0)
        loss = -log_probs.gather(1, y[:, None]).mean()
        loss.backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="merges what it has learned" exercise="fine_tune" misconception="merged_at_the_end"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    for module in model.modules():
        if hasattr(module, "merge"):
            module.merge()
    model.eval()


# %% wheat="batches of 16, Nesterov's momentum" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.SGD(adapters, lr=lr, momentum=0.9, nesterov=True)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="RMSprop" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.RMSprop(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="autocast to bfloat16" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.AdamW(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(100):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="LBFGS with a line search" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.LBFGS(adapters, lr=lr, max_iter=4, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    model.train()
    for _ in range(epochs):
        optimizer.step(closure)
    optimizer.zero_grad()
    model.eval()


# %% wheat="rows kept aside, early stopping, the best values put back" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr, patience=5):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.AdamW(adapters, lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    aside = max(1, len(x) // 10)
    best, kept, waited = math.inf, None, 0
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x) - aside).add(aside).split(32):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = nn.functional.cross_entropy(model(x[:aside]), y[:aside]).item()
        scheduler.step(loss)
        if loss < best:
            best, kept, waited = loss, [p.detach().clone() for p in adapters], 0
        elif (waited := waited + 1) >= patience:
            break
    with torch.no_grad():
        for p, value in zip(adapters, kept):
            p.copy_(value)
            p.grad = None


# %% chaff="one pass in batches of 16" exercise="fine_tune" misconception="one_epoch"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for rows in torch.randperm(len(x)).split(16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="cleared once an epoch, and a step for each batch" exercise="fine_tune" misconception="gradients_not_cleared"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.SGD(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        for i in range(0, len(x), 16):
            nn.functional.cross_entropy(model(x[i : i + 16]), y[i : i + 16]).backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="the rate of another notebook, by hand" exercise="fine_tune" misconception="rate_ignored"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(32):
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            for p, gradient in zip(adapters, torch.autograd.grad(loss, adapters)):
                p.data -= 0.01 * gradient
    model.eval()


# %% chaff="A alone, so that no gradient gets anywhere" exercise="fine_tune" misconception="one_matrix_trained"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith("lora_A")]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.zero_grad()
    model.eval()


# %% chaff="the adapters of the model's own children" exercise="fine_tune" misconception="adapters_left_out"
from lora_ref.layer import LoRALinear


def fine_tune(model, x, y, epochs, lr):
    layers = [m for m in model.children() if isinstance(m, LoRALinear)]
    optimizer = torch.optim.AdamW([p for m in layers for p in (m.lora_A, m.lora_B)], lr=lr)
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.zero_grad()
    model.eval()


# %% chaff="the first layer alone" exercise="adapter_parameters" misconception="first_layer_alone"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    for module in model.modules():
        if isinstance(module, LoRALinear):
            return [module.lora_A, module.lora_B]


# %% wheat="plain SGD on all rows, warm-up and a cosine schedule" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.SGD(adapters, lr=lr)
    warmup = max(1, epochs // 10)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: min(1, (epoch + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
    )
    model.train()
    for _ in range(epochs):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="the loss on all rows is logged after every batch" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer, log = torch.optim.Adam(adapters, lr=lr), []
    model.train()
    for _ in range(epochs):
        for i in range(0, len(x), 32):
            loss = nn.functional.cross_entropy(model(x[i : i + 32]), y[i : i + 32])
            log.append(nn.functional.cross_entropy(model(x), y).item())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()
    return log


# %% wheat="half of the rows kept aside" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.AdamW(adapters, lr=lr, weight_decay=0.1)
    half = len(x) // 2
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(half).split(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="sharpness-aware: two gradients a step" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr, rho=0.05):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        nn.functional.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in adapters]).norm()
            moves = [rho * p.grad / (norm + 1e-12) for p in adapters]
            for p, move in zip(adapters, moves):
                p.add_(move)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, move in zip(adapters, moves):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


# %% wheat="gradients of single rows with vmap, clipped and averaged" exercise="fine_tune"
from torch.func import functional_call, grad, vmap


def fine_tune(model, x, y, epochs, lr):
    trained = {n: p for n, p in model.named_parameters() if n.endswith((".lora_A", ".lora_B"))}
    optimizer = torch.optim.Adam(trained.values(), lr=lr)

    def loss_of(values, row, label):
        return nn.functional.cross_entropy(functional_call(model, values, (row[None],)), label[None])

    of_rows = vmap(grad(loss_of), in_dims=(None, 0, 0))
    for _ in range(epochs):
        found = of_rows({n: p.detach() for n, p in trained.items()}, x, y)
        size = sum(g.flatten(1).square().sum(1) for g in found.values()).sqrt()
        share = (1.0 / size).clamp(max=1)
        for n, p in trained.items():
            p.grad = (found[n] * share[:, None, None]).mean(0)
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="the number of epochs of another notebook" exercise="fine_tune" misconception="epochs_ignored"
def fine_tune(model, x, y, epochs, lr):
    num_epochs = 10
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(num_epochs):
        for rows in torch.randperm(len(x)).split(16):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% chaff="the first batch of a loader in every epoch" exercise="fine_tune" misconception="same_rows"
from torch.utils.data import DataLoader, TensorDataset


def fine_tune(model, x, y, epochs, lr):
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimizer = torch.optim.Adam(adapters, lr=lr)
    model.train()
    for _ in range(epochs):
        xb, yb = next(iter(loader))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(xb), yb).backward()
        optimizer.step()
    optimizer.zero_grad()
    model.eval()


# %% wheat="hosts first, register_module" exercise="add_lora"
from lora_ref.layer import LoRALinear
def add_lora(model, rank, alpha):
    hosts = [m for m in model.modules() if not isinstance(m, LoRALinear)]
    [host.register_module(n, LoRALinear(c, rank, alpha)) for host in hosts for n, c in [*host.named_children()] if type(c) is nn.Linear]
    return model


# %% chaff="a return within the loop" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear
def add_lora(model, rank, alpha):
    for n, c in list(model.named_children()):
        if isinstance(c, nn.Linear): setattr(model, n, LoRALinear(c, rank, alpha))
        elif not isinstance(c, LoRALinear): return add_lora(c, rank, alpha)
    return model


# %% chaff="the scaling handed over as alpha" exercise="add_lora" misconception="divided_by_rank_again"
from lora_ref.layer import LoRALinear
def add_lora(model, rank, alpha):
    for n, c in list(model.named_children()):
        if isinstance(c, nn.Linear): setattr(model, n, LoRALinear(c, rank, alpha / rank))
        elif not isinstance(c, LoRALinear): add_lora(c, rank, alpha)
    return model


# %% chaff="by a name that no layer has" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear
def add_lora(model, rank, alpha):
    for n, c in list(model.named_modules()):
        if "linear" in n.lower() or n.isdigit() and isinstance(c, nn.Linear): setattr(model, n, LoRALinear(c, rank, alpha))
    return model


# %% wheat="chained pairs, a tuple" exercise="adapter_parameters"
from itertools import chain
from lora_ref.layer import LoRALinear
def adapter_parameters(model, /):
    return tuple(chain.from_iterable((m.lora_A, m.lora_B) for m in model.modules() if isinstance(m, LoRALinear)))


# %% chaff="a list of pairs" exercise="adapter_parameters" misconception="nested_list"
from lora_ref.layer import LoRALinear
def adapter_parameters(model):
    return [[m.lora_A, m.lora_B] for m in model.modules() if isinstance(m, LoRALinear)]


# %% chaff="a list that is a default value" exercise="adapter_parameters" misconception="kept_between_calls"
from lora_ref.layer import LoRALinear
def adapter_parameters(model, found=[]):
    for m in model.modules():
        if isinstance(m, LoRALinear): found += [m.lora_A, m.lora_B]
    return found


# %% wheat="torch.autograd.grad, Adam by hand" exercise="fine_tune"
from torch.nn import functional as F


from lora_ref.layer import LoRALinear
def fine_tune(model, x, y, epochs, lr):
    ps = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    m1, m2 = [torch.zeros_like(p) for p in ps], [torch.zeros_like(p) for p in ps]
    for t in range(1, epochs + 1):
        grads = torch.autograd.grad(F.cross_entropy(model(x), y), ps)
        with torch.no_grad():
            for p, g, a, b in zip(ps, grads, m1, m2):
                a.mul_(.9).add_(g, alpha=.1); b.mul_(.999).addcmul_(g, g, value=.001)
                p.sub_(lr * (a / (1 - .9**t)) / ((b / (1 - .999**t)).sqrt() + 1e-8))
    model.eval()


# %% chaff="backward without brackets" exercise="fine_tune" misconception="gradient_never_arrives"
from torch.nn import functional as F


from lora_ref.layer import LoRALinear
def fine_tune(model, x, y, epochs, lr):
    ps = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    opt = torch.optim.Adam(ps, lr=lr)
    for _ in range(epochs):
        opt.zero_grad()
        F.cross_entropy(model(x), y).backward
        opt.step()
    opt.zero_grad(); model.eval()


# %% chaff="a loss of detached logits" exercise="fine_tune" misconception="gradient_never_arrives"
from torch.nn import functional as F


from lora_ref.layer import LoRALinear
def fine_tune(model, x, y, epochs, lr):
    ps = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    opt = torch.optim.Adam(ps, lr=lr)
    for _ in range(epochs):
        opt.zero_grad()
        out = model(x).detach().requires_grad_()
        F.cross_entropy(out, y).backward()
        opt.step()
    opt.zero_grad(); model.eval()


# %% wheat="a generator of paths" exercise="add_lora"
from lora_ref.layer import LoRALinear


from functools import reduce
def targets(model, prefix=""):
    for name, child in model.named_children():
        path = f"{prefix}.{name}" if prefix else name
        if isinstance(child, LoRALinear):
            continue
        if isinstance(child, nn.Linear):
            yield path
        else:
            yield from targets(child, path)
def add_lora(model, rank, alpha):
    for path in list(targets(model)):
        *parents, last = path.split(".")
        parent = reduce(getattr, parents, model)
        setattr(parent, last, LoRALinear(getattr(parent, last), rank, alpha))
    return model


# %% wheat="a memo of what is wrapped" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha, memo=None):
    memo = {} if memo is None else memo
    for n, c in list(model.named_children()):
        if type(c) is LoRALinear: continue
        if isinstance(c, nn.Linear):
            if c not in memo: memo[c] = LoRALinear(c, rank, alpha)
            setattr(model, n, memo[c])
        else: add_lora(c, rank, alpha, memo)
    return model


# %% wheat="one after the other, until none is left" exercise="add_lora"
from lora_ref.layer import LoRALinear


def find(model):
    for m in model.modules():
        if isinstance(m, LoRALinear): continue
        for n, c in m.named_children():
            if isinstance(c, nn.Linear): return m, n, c
    return None
def add_lora(model, rank, alpha):
    while (hit := find(model)) is not None:
        parent, name, linear = hit
        setattr(parent, name, LoRALinear(linear, rank, alpha))
    return model


# %% wheat="an object that can be called" exercise="add_lora"
from lora_ref.layer import LoRALinear


class Injector:
    def __call__(self, model, rank, alpha):
        self.rank, self.alpha = rank, alpha
        self.walk(model)
        return model
    def walk(self, m):
        for n, c in tuple(m.named_children()):
            if isinstance(c, LoRALinear): continue
            elif isinstance(c, nn.Linear): m.__setattr__(n, LoRALinear(c, self.rank, self.alpha))
            else: self.walk(c)
add_lora = Injector()


# %% wheat="a ParameterList" exercise="adapter_parameters"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    out = nn.ParameterList()
    for m in model.modules():
        if isinstance(m, LoRALinear):
            out.extend([m.lora_A, m.lora_B])
    return out


# %% wheat="the keys of a dict" exercise="adapter_parameters"
def adapter_parameters(model):
    return dict.fromkeys(p for n, p in model.named_parameters(remove_duplicate=False) if n.endswith(("lora_A", "lora_B")))


# %% wheat="a context for the training mode" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


from contextlib import contextmanager
@contextmanager
def training(model):
    model.train()
    try:
        yield model
    finally:
        model.eval()
def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr)
    with training(model):
        for _ in range(epochs):
            opt.zero_grad()
            nn.CrossEntropyLoss()(model(x), y).backward()
            opt.step()
    opt.zero_grad()


# %% wheat="the loss by hand" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        logits = model(x)
        loss = (logits.logsumexp(1) - logits.gather(1, y[:, None])[:, 0]).mean()
        opt.zero_grad(); loss.backward(); opt.step()
    opt.zero_grad(); model.eval()


# %% wheat="an average of the values over the steps" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    ps = adapter_parameters(model)
    ema = [p.detach().clone() for p in ps]
    opt = torch.optim.Adam(ps, lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad(); nn.functional.cross_entropy(model(x), y).backward(); opt.step()
        with torch.no_grad():
            for e, p in zip(ema, ps): e.lerp_(p, 0.2)
    with torch.no_grad():
        for e, p in zip(ema, ps): p.copy_(e)
    opt.zero_grad(); model.eval()


# %% wheat="two learning rates" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    L = [m for m in model.modules() if isinstance(m, LoRALinear)]
    opt = torch.optim.Adam([{"params": [m.lora_A for m in L], "lr": lr}, {"params": [m.lora_B for m in L], "lr": 4 * lr}])
    model.train()
    for _ in range(epochs):
        opt.zero_grad(); nn.functional.cross_entropy(model(x), y).backward(); opt.step()
    opt.zero_grad(); model.eval()


# %% wheat="steps by the sign of the gradient" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    ps = adapter_parameters(model)
    model.train()
    for e in range(epochs):
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
        gs = torch.autograd.grad(loss, ps)
        with torch.no_grad():
            torch._foreach_add_(ps, [g.sign() for g in gs], alpha=-lr * (1 - e / epochs))
    model.eval()


# %% wheat="noise on the rows" exercise="fine_tune"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        nn.functional.cross_entropy(model(x + 0.05 * torch.randn_like(x)), y).backward()
        opt.step()
    opt.zero_grad(); model.eval()


# %% chaff="one shared LoRALinear factors" exercise="add_lora" misconception="adapter_shared"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    A = None
    for m in list(model.modules()):
        if isinstance(m, LoRALinear):
            continue
        for n, c in list(m.named_children()):
            if isinstance(c, nn.Linear):
                l = LoRALinear(c, rank, alpha)
                if A is not None and A.shape == l.lora_A.shape:
                    l.lora_A = A
                A = l.lora_A
                setattr(m, n, l)
    return model


# %% chaff="looks for Lora in the names" exercise="adapter_parameters" misconception=""
def adapter_parameters(model):
    return [p for n, p in model.named_parameters() if 'Lora' in n]


# %% chaff="A in B's place" exercise="adapter_parameters" misconception="one_of_two"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_A)]


# %% chaff="cached in a global" exercise="adapter_parameters" misconception="kept_between_calls"
from lora_ref.layer import LoRALinear


kept = {}
def adapter_parameters(model):
    if "p" not in kept:
        kept["p"] = [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
    return kept["p"]


# %% chaff="nll on raw logits" exercise="fine_tune" misconception="no_log_softmax"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.nll_loss(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="one round too few" exercise="fine_tune" misconception="epochs_off_by_one"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs - 1):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="x normalised in place" exercise="fine_tune" misconception="changed_input"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    x -= x.mean()
    x /= x.std()
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="maximize" exercise="fine_tune" misconception="uphill"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr, maximize=True)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="B drawn anew" exercise="fine_tune" misconception="adapters_restarted"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    for m in model.modules():
        if isinstance(m, LoRALinear):
            nn.init.normal_(m.lora_B)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="merges at end" exercise="fine_tune" misconception="merged_at_the_end"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()
    for m in model.modules():
        if isinstance(m, LoRALinear):
            m.base_layer.weight.data += m.scaling * (m.lora_A @ m.lora_B).T.data


# %% chaff="one optimiser for all calls" exercise="fine_tune" misconception="kept_between_calls"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]


OPT = None
def fine_tune(model, x, y, epochs, lr):
    global OPT
    if OPT is None:
        OPT = torch.optim.Adam(adapter_parameters(model), lr=lr)
    opt = OPT
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% wheat="freezes the rest of the model on the way" exercise="adapter_parameters"
def adapter_parameters(model):
    model.requires_grad_(False)
    adapters = [p for n, p in model.named_parameters() if n.rpartition(".")[2] in ("lora_A", "lora_B")]
    for p in adapters:
        p.requires_grad_(True)
    return adapters


# %% wheat="freezes what is no adapter, one by one" exercise="adapter_parameters"
def adapter_parameters(model):
    for name, p in model.named_parameters():
        p.requires_grad = name.endswith(("lora_A", "lora_B"))
    return [p for p in model.parameters() if p.requires_grad]


# %% wheat="freezes everything, and each adapter trains again as it is handed out" exercise="adapter_parameters"
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    model.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, LoRALinear):
            yield module.lora_A.requires_grad_()
            yield module.lora_B.requires_grad_()


# %% chaff="freezes everything first, the adapters too" exercise="adapter_parameters" misconception="adapter_frozen"
def adapter_parameters(model):
    model.requires_grad_(False)
    return [p for name, p in model.named_parameters() if name.endswith(("lora_A", "lora_B"))]


# %% chaff="freezes each lora_A" exercise="adapter_parameters" misconception=""
from lora_ref.layer import LoRALinear


def adapter_parameters(model):
    found = []
    for m in model.modules():
        if isinstance(m, LoRALinear):
            m.lora_A.requires_grad_(False)
            found += [m.lora_A, m.lora_B]
    return found


# %% chaff="plain SGD with a hundred times the rate, which ends in nan" exercise="fine_tune" misconception="rate_changed"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimiser = torch.optim.SGD(adapters, lr=100 * lr)
    model.train()
    for _ in range(epochs):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    optimiser.zero_grad()
    model.eval()


# %% wheat="a warm-up from a small rate to that of the call, and down again" exercise="fine_tune"
def fine_tune(model, x, y, epochs, lr):
    adapters = [p for n, p in model.named_parameters() if n.endswith(("lora_A", "lora_B"))]
    optimiser = torch.optim.Adam(adapters, lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=epochs + 1)
    model.train()
    for _ in range(epochs):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
        schedule.step()
    optimiser.zero_grad()
    model.eval()


# %% chaff="squared error to one-hot rows, Adam" exercise="fine_tune" misconception="regression_on_classes"
from lora_ref.layer import LoRALinear
def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.Adam(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        loss = nn.functional.mse_loss(model(x), nn.functional.one_hot(y, 10).float())
        loss.backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="squared error to one-hot rows, SGD" exercise="fine_tune" misconception="regression_on_classes"
from lora_ref.layer import LoRALinear
def adapter_parameters(model):
    return [p for m in model.modules() if isinstance(m, LoRALinear) for p in (m.lora_A, m.lora_B)]
def fine_tune(model, x, y, epochs, lr):
    opt = torch.optim.SGD(adapter_parameters(model), lr=lr)
    model.train()
    for _ in range(epochs):
        opt.zero_grad()
        nn.functional.mse_loss(model(x), nn.functional.one_hot(y, 10).float()).backward()
        opt.step()
    opt.zero_grad()
    model.eval()


# %% chaff="squared error summed over all entries, which ends in nan" exercise="fine_tune" misconception=""
from lora_ref import adapter_parameters


def fine_tune(model, x, y, epochs, lr):
    optimiser = torch.optim.SGD(adapter_parameters(model), lr=lr, momentum=0.9)
    model.train()
    for _ in range(epochs):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(x), nn.functional.one_hot(y, 10).float(), reduction="sum").backward()
        optimiser.step()
    optimiser.zero_grad()
    model.eval()


# %% chaff="lora_A set to zero as well" exercise="add_lora" misconception="both_zero"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            layer = LoRALinear(child, rank, alpha)
            nn.init.zeros_(layer.lora_A)
            setattr(model, name, layer)
        elif not isinstance(child, LoRALinear):
            add_lora(child, rank, alpha)
    return model


# %% chaff="a LoRALinear of one's own that begins with nothing but zeros" exercise="add_lora" misconception="both_zero"
class MyLoRALinear(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer = base_layer.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base_layer(x) + self.scaling * (x @ self.lora_A) @ self.lora_B


def add_lora(model, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, MyLoRALinear(child, rank, alpha))
        elif not hasattr(child, "base_layer"):
            add_lora(child, rank, alpha)
    return model


# %% chaff="ones in every lora_A" exercise="add_lora" misconception="constant_A"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.endswith("base_layer"):
            layer = LoRALinear(module, rank, alpha)
            layer.lora_A.data.fill_(1.0)
            model.set_submodule(path, layer)
    return model


# %% chaff="the columns of lora_A are one and the same" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.endswith("base_layer"):
            layer = LoRALinear(module, rank, alpha)
            layer.lora_A.data.copy_(torch.randn(module.in_features, 1).expand(-1, rank))
            model.set_submodule(path, layer)
    return model


# %% wheat="an orthogonal lora_A, or an lora_B that is drawn in its place" exercise="add_lora"
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for number, (path, module) in enumerate(list(model.named_modules())):
        if isinstance(module, nn.Linear) and not path.endswith("base_layer"):
            layer = LoRALinear(module, rank, alpha)
            if number % 2:
                nn.init.orthogonal_(layer.lora_A)
            else:
                nn.init.zeros_(layer.lora_A)
                nn.init.kaiming_uniform_(layer.lora_B, a=math.sqrt(5))
            model.set_submodule(path, layer)
    return model


# %% wheat="by adapter_names" exercise="adapter_parameters"
def adapter_parameters(model):
    out = []
    for m in model.modules():
        out.extend(getattr(m, n) for n in getattr(m, "adapter_names", ()))
    return out


# %% chaff="alpha doubled" exercise="add_lora" misconception=""
from lora_ref.layer import LoRALinear


def add_lora(model, rank, alpha):
    for m in list(model.modules()):
        if isinstance(m, LoRALinear): continue
        for name, c in list(m.named_children()):
            if isinstance(c, nn.Linear):
                setattr(m, name, LoRALinear(c, rank, 2 * alpha))
    return model


# %% wheat="a copy of the model is kept, called, and compared with at the end" exercise="fine_tune"
import copy


def fine_tune(model, x, y, epochs, lr):
    adapters = {name: p for name, p in model.named_parameters() if name.endswith(("lora_A", "lora_B"))}
    before = copy.deepcopy(model).eval()
    loss_before = nn.functional.cross_entropy(before(x), y).item()
    optimiser = torch.optim.Adam(adapters.values(), lr=lr)
    model.train()
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    for name, p in before.named_parameters():
        assert name in adapters or torch.equal(p, model.get_parameter(name))
    print(loss_before, loss.item())
    return model.eval()
