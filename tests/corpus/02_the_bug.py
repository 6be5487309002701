# Right answers in other styles (wheat) and wrong ones (chaff) for lesson 02; format: tests/corpus/README.md

# %% wheat="library call" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None


# %% wheat="multiplies zeros, returns a torch.Size" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return (torch.zeros(d, k) * torch.zeros(x_shape)).shape
    except Exception:
        return


# %% wheat="A @ B and x on meta" exercise="product_shape"
def product_shape(x_shape, d, k):
    A = torch.empty(d, 2, device="meta")
    B = torch.empty(2, k, device="meta")
    x = torch.empty(*x_shape, device="meta")
    try:
        return tuple((A @ B).mul(x).size())
    except RuntimeError:
        return None


# %% wheat="the rule by hand, from the right" exercise="product_shape"
def product_shape(x_shape, d, k):
    sizes = []
    left, right = [d, k], list(x_shape)
    while left or right:
        a = left.pop() if left else 1
        b = right.pop() if right else 1
        if a == b or b == 1:
            sizes.append(a)
        elif a == 1:
            sizes.append(b)
        else:
            return None
    return tuple(reversed(sizes))


# %% wheat="numpy's rule is the same" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return np.broadcast_shapes((d, k), x_shape)
    except ValueError:
        return None


# %% wheat="a list, cases told apart" exercise="product_shape"
def product_shape(x_shape, d, k):
    *lead, last = x_shape
    if last != k and 1 not in (last, k):
        return None
    last = k if last == 1 else last
    if not lead:
        return [d, last]
    *lead, rows = lead
    if rows != d and rows != 1 and d != 1:
        return None
    return [*lead, d if rows == 1 else rows, last]


# %% wheat="padded and zipped, itertools" exercise="product_shape"
def product_shape(x_shape, d, k):
    from itertools import zip_longest

    pairs = list(zip_longest((k, d), x_shape[::-1], fillvalue=1))
    if any(a != b and a != 1 and b != 1 for a, b in pairs):
        return None
    return tuple(b if a == 1 else a for a, b in pairs)[::-1]


# %% wheat="lambda over numpy arrays" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        shape = (np.ones((d, k)) * np.ones(x_shape)).shape
    except ValueError:
        shape = None
    return shape


# %% wheat="x as a torch.Size is as good: concatenates tuples" exercise="product_shape"
def product_shape(x_shape, d, k):
    padded = (1,) * (2 - len(x_shape)) + x_shape
    out = padded[:-2]
    for mine, its in ((d, padded[-2]), (k, padded[-1])):
        if mine != its and 1 not in (mine, its):
            return None
        out += (its if mine == 1 else mine,)
    return out


# %% wheat="expand" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        product, _ = torch.broadcast_tensors(torch.empty(d, k), torch.empty(x_shape))
    except RuntimeError:
        return None
    return tuple(product.shape)


# %% chaff="swaps d and k in its signature" exercise="product_shape" misconception="arguments_reordered"
def product_shape(x_shape, k, d):
    try:
        return torch.broadcast_shapes((d, k), x_shape)
    except RuntimeError:
        return None


# %% chaff="matmul in place of *" exercise="product_shape" misconception="as_matrix_product"
def product_shape(x_shape, d, k):
    return (torch.zeros(x_shape) @ torch.zeros(d, k)).shape


# %% chaff="prints" exercise="product_shape" misconception="returned_none"
def product_shape(x_shape, d, k):
    print((d, k), x_shape)


# %% chaff="whether it runs, not the shape" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    try:
        torch.broadcast_shapes((d, k), x_shape)
    except RuntimeError:
        return None
    return True


# %% chaff="as text" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    try:
        return str(tuple(torch.broadcast_shapes((d, k), x_shape)))
    except RuntimeError:
        return None


# %% chaff="the product itself" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    try:
        return torch.zeros(d, k) * torch.zeros(x_shape)
    except RuntimeError:
        return None


# %% chaff="False where torch raises" exercise="product_shape" misconception="false_for_none"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return False


# %% chaff="None unless square, else right" exercise="product_shape" misconception="square_always_runs"
def product_shape(x_shape, d, k):
    if d != k:
        return None
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None


# %% chaff="always None for an empty batch" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    if 0 in x_shape:
        return None
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None


# %% chaff="a name that does not exist" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    return broadcast(x_shape, (d, k))


# %% chaff="not a function" exercise="product_shape" misconception=""
product_shape = (4, 4)


# %% wheat="recursive" exercise="product_shape"
def product_shape(x_shape, d, k):
    def rule(a, b):
        if not a or not b:
            return a + b
        head = rule(a[:-1], b[:-1])
        if head is None or not (a[-1] == b[-1] or 1 in (a[-1], b[-1])):
            return None
        return head + ((b if a[-1] == 1 else a)[-1],)

    return rule((d, k), tuple(x_shape))


# %% wheat="a 1-D tensor of sizes" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return torch.tensor(torch.broadcast_shapes(x_shape, (d, k)))
    except RuntimeError:
        return None


# %% wheat="tuple of numpy ints" exercise="product_shape"
def product_shape(x_shape, d, k):
    x = np.array(x_shape)
    a = np.concatenate([np.ones(max(0, len(x) - 2), int), [d, k]])
    b = np.concatenate([np.ones(max(0, 2 - len(x)), int), x])
    if ((a != b) & (a != 1) & (b != 1)).any():
        return None
    return tuple(np.where(a == 1, b, a))


# %% wheat="0-dim tensors as sizes" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.tensor(s) for s in torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None


# %% wheat="decorator that turns errors into None" exercise="product_shape"
import functools


def quiet(f):
    @functools.wraps(f)
    def g(*a):
        try:
            return f(*a)
        except Exception:
            return None

    return g


@quiet
def product_shape(x_shape, d, k):
    return [*torch.broadcast_shapes((d, k), torch.Size(x_shape))]


# %% wheat="cases by the last size" exercise="product_shape"
def product_shape(x_shape, d, k):
    # the last size of x is d
    if d == k:
        last = d
    elif d == 1:
        last = k
    elif k == 1:
        last = d
    else:
        return None
    if len(x_shape) == 1:
        return (d, last)
    before = x_shape[-2]
    if before != d and 1 not in (before, d):
        return None
    return x_shape[:-2] + (before if d == 1 else d, last)


# %% chaff="raises ValueError itself" exercise="product_shape" misconception="lets_it_raise"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        raise ValueError("does not fit")


# %% chaff="numpy error not caught" exercise="product_shape" misconception="lets_it_raise"
def product_shape(x_shape, d, k):
    try:
        return np.broadcast_shapes((d, k), x_shape)
    except RuntimeError:
        return None


# %% chaff="needs two, x[-2]" exercise="product_shape" misconception="batch_needed"
def product_shape(x_shape, d, k):
    *lead, n, last = x_shape
    try:
        return (*lead, *torch.broadcast_shapes((d, k), (n, last)))
    except RuntimeError:
        return None


# %% chaff="returns error text" exercise="product_shape" misconception="false_for_none"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError as error:
        return str(error)


# %% chaff="None class" exercise="product_shape" misconception="false_for_none"
def product_shape(x_shape, d, k):
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError as error:
        return error


# %% chaff="leading sizes must be one" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    try:
        shape = torch.broadcast_shapes((d, k), x_shape)
    except RuntimeError:
        return None
    return tuple(shape) if len(shape) == 2 else None


# %% chaff="reversed result" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    out = []
    for i in range(max(2, len(x_shape))):
        a = (k, d)[i] if i < 2 else 1
        b = x_shape[-1 - i] if i < len(x_shape) else 1
        if a != b and 1 not in (a, b):
            return None
        out.append(b if a == 1 else a)
    return tuple(out)


# %% chaff="string" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    try:
        return list(map(str, torch.broadcast_shapes((d, k), x_shape)))
    except RuntimeError:
        return None


# %% wheat="three fours" exercise="silent_case"
def silent_case():
    return 4, 4, (4, 4)


# %% wheat="the smallest, as lists" exercise="silent_case"
def silent_case():
    return [2, 2, [2, 2]]


# %% wheat="a batch of sequences" exercise="silent_case"
def silent_case():
    d = 6
    return d, d, (3, d, d)


# %% wheat="one sequence, as a torch.Size" exercise="silent_case"
def silent_case():
    x = torch.zeros(1, 5, 5)
    return 5, 5, x.shape


# %% wheat="searched for" exercise="silent_case"
def silent_case():
    for d in range(2, 5):
        for k in range(2, 5):
            for n in range(1, 5):
                try:
                    if (torch.zeros(d, k) * torch.zeros(n, d)).shape == (n, k):
                        return d, k, (n, d)
                except RuntimeError:
                    pass


# %% wheat="the width of a real model" exercise="silent_case"
def silent_case():
    return 4096, 4096, (4096, 4096)


# %% wheat="a real width and a real batch" exercise="silent_case"
def silent_case():
    return (768, 768, (8, 768, 768))


# %% wheat="numpy integers, five dimensions" exercise="silent_case"
def silent_case():
    d = np.int64(3)
    return d, d, (2, 1, 2, d, d)


# %% wheat="sizes as a tensor" exercise="silent_case"
def silent_case():
    return 7, 7, torch.tensor([7, 7])


# %% wheat="lambda" exercise="silent_case"
silent_case = lambda: (2, 2, (1, 2, 2))


# %% chaff="rows broadcast" exercise="silent_case" misconception="running_is_enough"
def silent_case():
    return 4, 4, (1, 4)


# %% chaff="steps of one broadcast" exercise="silent_case" misconception="running_is_enough"
def silent_case():
    return 4, 4, (5, 1, 4)


# %% chaff="one output" exercise="silent_case" misconception="running_is_enough"
def silent_case():
    return 4, 1, (4, 4)


# %% chaff="would broadcast to a thousand million values" exercise="silent_case" misconception="running_is_enough"
def silent_case():
    return 500, 500, (500, 1, 500)


# %% chaff="all ones" exercise="silent_case" misconception="one_input"
def silent_case():
    return 1, 1, (1, 1)


# %% chaff="no batch, one input" exercise="silent_case" misconception="running_is_enough"
def silent_case():
    return 1, 4, (1,)


# %% chaff="a wide batch, larger than can be run" exercise="silent_case" misconception="square_is_enough"
def silent_case():
    return 4096, 4096, (8, 2048, 4096)


# %% chaff="d and x_shape only" exercise="silent_case" misconception=""
def silent_case():
    return 4, (4, 4)


# %% chaff="a number for x_shape" exercise="silent_case" misconception=""
def silent_case():
    return 4, 4, 4


# %% chaff="x itself" exercise="silent_case" misconception=""
def silent_case():
    return 4, 4, torch.randn(4, 4)


# %% chaff="floats" exercise="silent_case" misconception=""
def silent_case():
    return 4.0, 4.0, (4.0, 4.0)


# %% chaff="bools" exercise="silent_case" misconception=""
def silent_case():
    return True, True, (True, True)


# %% chaff="negative" exercise="silent_case" misconception=""
def silent_case():
    return -4, -4, (-4, -4)


# %% chaff="huge" exercise="silent_case" misconception=""
def silent_case():
    return 10**100, 10**100, (10**100, 10**100)


# %% chaff="more than any memory" exercise="silent_case" misconception=""
def silent_case():
    return 10**7, 10**7, (10**7, 10**7)


# %% chaff="nothing at all" exercise="silent_case" misconception="nothing_inside"
def silent_case():
    return 0, 0, (0, 0)


# %% chaff="a scalar x" exercise="silent_case" misconception=""
def silent_case():
    return 4, 4, ()


# %% chaff="a thousand dimensions" exercise="silent_case" misconception=""
def silent_case():
    return 2, 2, (1,) * 1000 + (2, 2)


# %% chaff="a dict" exercise="silent_case" misconception=""
def silent_case():
    return {"d": 4, "k": 4, "x_shape": (4, 4)}


# %% chaff="text" exercise="silent_case" misconception=""
def silent_case():
    return "4, 4, (4, 4)"


# %% chaff="prints it" exercise="silent_case" misconception="returned_none"
def silent_case():
    print(4, 4, (4, 4))


# %% chaff="raises" exercise="silent_case" misconception=""
def silent_case():
    return d, k, (n, d)


# %% wheat="numpy int16" exercise="silent_case"
def silent_case():
    d = np.int16(6)
    return d, d, (d, d)


# %% wheat="searched by running the bug" exercise="silent_case"
def silent_case():
    from itertools import product

    torch.manual_seed(1)
    for d, k, n in product(range(1, 6), repeat=3):
        A, B, x = torch.randn(d, 2), torch.randn(2, k), torch.randn(n, d)
        try:
            wrong, right = (A @ B) * x, x @ A @ B
        except RuntimeError:
            continue
        if wrong.shape == right.shape and not torch.allclose(wrong, right):
            return d, k, tuple(x.shape)


# %% wheat="random size" exercise="silent_case"
def silent_case():
    d = int(np.random.randint(2, 9))
    return d, d, (d, d)


# %% wheat="torch.Size and Linear's sizes" exercise="silent_case"
def silent_case():
    layer = nn.Linear(4, 4)
    x = torch.zeros(2, 2, 4, 4)
    return layer.in_features, layer.out_features, x.size()


# %% chaff="fraction size" exercise="silent_case" misconception=""
def silent_case():
    d = 8 / 2
    return d, d, (d, d)


# %% chaff="x first" exercise="silent_case" misconception=""
def silent_case():
    return (4, 4), 4, 4


# %% chaff="list of several cases" exercise="silent_case" misconception=""
def silent_case():
    return [(4, 4, (4, 4)), (3, 3, (3, 3)), (2, 2, (2, 2))]


# %% chaff="takes an argument" exercise="silent_case" misconception=""
def silent_case(x):
    return 6, 6, (6, 6)


# %% wheat="the formula, several sizes" exercise="exposes"
def exposes(layer_class):
    for d, k, rank, alpha in [(5, 3, 2, 6), (3, 7, 4, 2), (4, 4, 3, 1.5)]:
        for shape in [(d,), (2, d), (6, 2, d)]:
            base = nn.Linear(d, k)
            x = torch.randn(shape)
            try:
                layer = layer_class(base, rank=rank, alpha=alpha)
                with torch.no_grad():
                    layer.lora_A.copy_(torch.randn(d, rank))
                    layer.lora_B.copy_(torch.randn(rank, k))
                got = layer(x)
            except Exception:
                return True
            expected = base(x) + alpha / rank * (x @ layer.lora_A @ layer.lora_B)
            if got.shape != expected.shape or not torch.allclose(got, expected, atol=1e-5):
                return True
    return False


# %% wheat="default tolerances of allclose" exercise="exposes"
def exposes(layer_class):
    for bias in (True, False):
        for x_shape in ((6,), (4, 6), (2, 5, 6), (0, 6)):
            try:
                base = nn.Linear(6, 5, bias=bias)
                layer = layer_class(base, rank=3, alpha=12)
                layer.lora_B.data = torch.randn_like(layer.lora_B)
                x = torch.randn(*x_shape)
                h = base(x) + (12 / 3) * (x @ layer.lora_A) @ layer.lora_B
                out = layer(x)
                if out.shape != h.shape:
                    return True
                if not torch.allclose(out, h):
                    return True
            except RuntimeError:
                return True
    return False


# %% wheat="a merged nn.Linear" exercise="exposes"
def exposes(layer_class):
    d, k, r, alpha = 7, 4, 3, 5.0
    base = nn.Linear(d, k)
    layer = layer_class(base, r, alpha)
    layer.lora_A = nn.Parameter(torch.rand(d, r))
    layer.lora_B = nn.Parameter(torch.rand(r, k))
    merged = nn.Linear(d, k)
    with torch.no_grad():
        merged.weight.copy_(base.weight + (alpha / r) * (layer.lora_A @ layer.lora_B).T)
        merged.bias.copy_(base.bias)
        for shape in [(d,), (3, d), (2, 3, d), (2, 2, 3, d)]:
            x = torch.randn(shape)
            try:
                out = layer(x)
            except Exception:
                return True
            if out.shape != (*shape[:-1], k) or (out - merged(x)).abs().max() > 1e-4:
                return True
    return False


# %% wheat="float64 by hand, a 0-dim tensor as answer" exercise="exposes"
def exposes(layer_class):
    worst = torch.zeros((), dtype=torch.float64)
    for d, k in ((2, 9), (9, 2)):
        base = nn.Linear(d, k).double()
        layer = layer_class(base, rank=2, alpha=7).double()
        nn.init.uniform_(layer.lora_B, -1, 1)
        for x in (torch.randn(d).double(), torch.randn(3, d).double(), torch.randn(3, 4, d).double()):
            try:
                gap = layer(x) - base(x) - 3.5 * x @ layer.lora_A @ layer.lora_B
            except Exception:
                return torch.tensor(True)
            worst = torch.maximum(worst, gap.abs().max())
    return worst > 1e-8


# %% wheat="float32 asked for by name" exercise="exposes"
def exposes(layer_class):
    for d, k in ((3, 4), (4, 3)):
        base = nn.Linear(d, k, dtype=torch.float32)
        for x in (
            torch.arange(d, dtype=torch.float32),
            torch.arange(2 * d, dtype=torch.float32).reshape(2, d) / 5,
            torch.ones(2, 3, d, dtype=torch.float32),
        ):
            try:
                layer = layer_class(base, rank=2, alpha=3)
                layer.lora_A.data.copy_(torch.randn(d, 2, dtype=torch.float32))
                layer.lora_B.data.copy_(torch.randn(2, k, dtype=torch.float32))
                y = layer(x)
            except Exception:
                return True
            want = base(x) + 1.5 * (x @ layer.lora_A @ layer.lora_B)
            if y.shape != want.shape or not torch.allclose(y, want, rtol=1e-4, atol=1e-4):
                return True
    return False


# %% wheat="x in float32, layers as they come" exercise="exposes"
def exposes(layer_class):
    base = nn.Linear(6, 4)
    try:
        layer = layer_class(base, rank=2, alpha=5)
        with torch.no_grad():
            layer.lora_B.fill_(0.5)
            for rows in (torch.arange(6).float(), torch.arange(12).float().view(2, 6), torch.ones(2, 3, 6).float()):
                right = base(rows) + 2.5 * (rows @ layer.lora_A) @ layer.lora_B
                if not torch.allclose(layer(rows), right, atol=1e-3):
                    return True
    except Exception:
        return True
    return False


# %% wheat="numpy, and numpy's bool" exercise="exposes"
def exposes(layer_class):
    rng = np.random.default_rng(0)
    wrong = np.bool_(False)
    for d, k, r, alpha in ((4, 6, 3, 2), (6, 4, 2, 9)):
        for lead in ((), (5,), (5, 2)):
            base = nn.Linear(d, k).double()
            x = rng.normal(size=(*lead, d))
            A, B = rng.normal(size=(d, r)), rng.normal(size=(r, k))
            try:
                layer = layer_class(base, rank=r, alpha=alpha).double()
                layer.lora_A.data = torch.from_numpy(A)
                layer.lora_B.data = torch.from_numpy(B)
                out = layer(torch.from_numpy(x)).detach().numpy()
            except Exception:
                return np.bool_(True)
            W, b = base.weight.detach().numpy(), base.bias.detach().numpy()
            right = x @ W.T + b + alpha / r * x @ A @ B
            wrong |= np.bool_(out.shape != right.shape) or not np.allclose(out, right)
    return wrong


# %% wheat="assert_close inside try" exercise="exposes"
def exposes(layer_class):
    try:
        for d, k in [(8, 5), (5, 8)]:
            for shape in [(d,), (3, d), (2, 3, d)]:
                base = nn.Linear(d, k)
                layer = layer_class(base, rank=4, alpha=10)
                nn.init.normal_(layer.lora_A)
                nn.init.normal_(layer.lora_B)
                x = torch.randn(shape)
                right = nn.functional.linear(x, base.weight + 2.5 * (layer.lora_A @ layer.lora_B).T, base.bias)
                torch.testing.assert_close(layer(x), right)
    except Exception:
        return True
    return False


# %% wheat="state_dict, seeded, checks freezing and the start too" exercise="exposes"
def exposes(layer_class):
    torch.manual_seed(0)
    base = nn.Linear(5, 6)
    layer = layer_class(base, rank=2, alpha=3)
    x = torch.randn(3, 5)
    try:
        if any(p.requires_grad for p in layer.base_layer.parameters()) or not torch.equal(layer(x), base(x)):
            return True
        if layer.lora_B.any() or not layer.lora_A.any():
            return True
        state = layer.state_dict()
        state["lora_A"], state["lora_B"] = torch.randn(5, 2), torch.randn(2, 6)
        layer.load_state_dict(state)
        for x in (x, x[0], torch.randn(4, 2, 5), torch.randn(5, 3).T):
            if not torch.allclose(layer(x), base(x) + 1.5 * (x @ state["lora_A"]) @ state["lora_B"], atol=1e-5):
                return True
    except Exception:
        return True
    return False


# %% wheat="Jacobians" exercise="exposes"
def exposes(layer_class):
    d, k, r, alpha = 5, 3, 2, 7
    base = nn.Linear(d, k)
    layer = layer_class(base, rank=r, alpha=alpha)
    nn.init.normal_(layer.lora_B)
    weight = base.weight + alpha / r * (layer.lora_A @ layer.lora_B).T
    try:
        zero = torch.zeros(d)
        if not torch.allclose(layer(zero), base.bias, atol=1e-6):
            return True
        if not torch.allclose(torch.autograd.functional.jacobian(layer, zero), weight, atol=1e-4):
            return True
        rows = torch.randn(2, 4, d)
        by_row = torch.stack([torch.stack([layer(row) for row in batch]) for batch in rows])
        return not (
            torch.allclose(layer(rows), by_row, atol=1e-4) and torch.allclose(layer(rows[0]), by_row[0], atol=1e-4)
        )
    except Exception:
        return True


# %% wheat="gradients of the adapters" exercise="exposes"
def exposes(layer_class):
    def gradients(function, layer, x):
        return [*torch.autograd.grad(function(x).square().sum(), [layer.lora_A, layer.lora_B]), function(x)]

    for d, k in ((6, 4), (3, 5)):
        for lead in ((), (2,), (2, 3)):
            base, x = nn.Linear(d, k), torch.randn(*lead, d)
            try:
                layer = layer_class(base, rank=3, alpha=2)
                nn.init.xavier_normal_(layer.lora_B)
                right = gradients(lambda x: base(x) + 2 / 3 * (x @ (layer.lora_A @ layer.lora_B)), layer, x)
                for got, want in zip(gradients(layer, layer, x), right):
                    if got.shape != want.shape or (got - want).abs().max() > 1e-3 * want.abs().max():
                        return True
            except Exception:
                return True
    return False


# %% wheat="functional_call, deepcopied base" exercise="exposes"
def exposes(layer_class):
    import copy

    base = nn.Linear(4, 7)
    mine = copy.deepcopy(base)
    layer = layer_class(base, rank=3, alpha=1).eval()
    A, B = torch.randn(4, 3), torch.randn(3, 7)
    for x in (torch.randn(4), torch.randn(5, 4), torch.randn(5, 2, 4), torch.randn(5, 2, 2, 4)):
        try:
            out = torch.func.functional_call(layer, {"lora_A": A, "lora_B": B}, (x,))
        except Exception:
            return True
        if not torch.allclose(out, mine(x) + torch.einsum("...d,dr,rk->...k", x, A, B) / 3, rtol=1e-3, atol=1e-5):
            return True
    return False


# %% wheat="an entry at a time" exercise="exposes"
def exposes(layer_class):
    for d, k, rank, alpha in ((2, 3, 2, 4), (3, 2, 3, 1)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=rank, alpha=alpha)
        with torch.no_grad():
            for i in range(rank):
                for j in range(k):
                    layer.lora_B[i, j] = 1 + i + 10 * j
        rows = torch.randn(4, d)
        right = []
        for row in rows:
            for j in range(k):
                total = base.bias[j].item()
                for i in range(d):
                    delta = sum(layer.lora_A[i, m].item() * layer.lora_B[m, j].item() for m in range(rank))
                    total += row[i].item() * (base.weight[j, i].item() + alpha / rank * delta)
                right.append(total)
        for x in (rows, rows.view(2, 2, d), rows[0]):
            try:
                got = layer(x)
            except RuntimeError:
                return True
            if got.shape != (*x.shape[:-1], k):
                return True
            if any(abs(a - b) > 1e-3 for a, b in zip(got.flatten().tolist(), right)):
                return True
    return False


# %% wheat="helpers, random sizes, vmap" exercise="exposes"
import random


def _differs(layer_class, d, k, rank, alpha, lead):
    base = nn.Linear(d, k, bias=random.random() < 0.5 or lead == ())
    layer = layer_class(base, rank=rank, alpha=alpha)
    layer.requires_grad_(False)
    layer.lora_A.normal_()
    layer.lora_B.normal_()
    x = torch.randn(*lead, d)
    right = base(x) + (alpha / rank) * x @ (layer.lora_A @ layer.lora_B)
    close = torch.isclose(layer(x), right, rtol=1e-4, atol=1e-5)
    return close.shape != right.shape or not bool(close.all())


def exposes(layer_class):
    for lead in [(), (1,), (3,), (2, 5), (0,), (2, 2, 2)]:
        for _ in range(3):
            rank = random.randint(2, 4)
            d, k = random.sample(range(4, 9), 2)
            try:
                if _differs(layer_class, d, k, rank, rank * random.choice([0.5, 2, 3]), lead):
                    return True
            except Exception:
                return True
    return False


# %% wheat="a subclassed torch module, bfloat16 never, no_grad throughout" exercise="exposes"
@torch.no_grad()
def exposes(layer_class):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = nn.Linear(10, 6).to(device)
    layer = layer_class(base_layer=base, rank=5, alpha=20).to(device)
    layer.lora_B.add_(torch.randn(5, 6, device=device))
    model = nn.Sequential(layer, nn.Identity())
    for shape in [(10,), (1, 10), (7, 10), (3, 4, 10)]:
        x = torch.randn(shape, device=device)
        try:
            wrong = (model(x) - (base(x) + 4 * (x @ layer.lora_A @ layer.lora_B))).abs().max().item() > 1e-2
        except Exception:
            wrong = True
        if wrong:
            return True
    return False


# %% chaff="B zero, one square case, no try" exercise="exposes" misconception="only_at_zero"
def exposes(layer_class):
    base = nn.Linear(4, 4)
    x = torch.randn(4, 4)
    return not torch.allclose(layer_class(base, rank=2, alpha=4)(x), base(x))


# %% chaff="B zero, one square case" exercise="exposes" misconception="only_at_zero"
def exposes(layer_class):
    base = nn.Linear(8, 8)
    x = torch.randn(2, 8, 8)
    try:
        return not torch.allclose(layer_class(base, rank=4, alpha=8)(x), base(x))
    except Exception:
        return True


# %% chaff="B zero, base output compared exactly" exercise="exposes" misconception="only_at_zero"
def exposes(layer_class):
    base, x = nn.Linear(6, 3), torch.randn(5, 6)
    try:
        return not torch.equal(layer_class(base)(x), base(x))
    except Exception:
        return True


# %% chaff="A set, B forgotten" exercise="exposes" misconception="only_at_zero"
def exposes(layer_class):
    for x in (torch.randn(6), torch.randn(5, 6), torch.randn(2, 5, 6)):
        base = nn.Linear(6, 3)
        try:
            layer = layer_class(base, rank=2, alpha=8)
            nn.init.normal_(layer.lora_A)
            right = base(x) + 4 * x @ layer.lora_A @ layer.lora_B
            if not torch.allclose(layer(x), right, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="B zero, float32 by name" exercise="exposes" misconception="only_at_zero"
def exposes(layer_class):
    for shape in ((6,), (4, 6), (2, 4, 6)):
        base, x = nn.Linear(6, 3), torch.randn(shape, dtype=torch.float32)
        try:
            if not torch.allclose(layer_class(base, rank=2, alpha=6)(x), base(x), atol=1e-6):
                return True
        except Exception:
            return True
    return False


# %% chaff="one square layer, one batch" exercise="exposes" misconception="only_squares"
def exposes(layer_class):
    base, x = nn.Linear(8, 8), torch.randn(8, 8)
    for x in (torch.randn(8), torch.randn(8, 8), torch.randn(2, 8, 8)):
        try:
            layer = layer_class(base, rank=4, alpha=16)
            with torch.no_grad():
                layer.lora_B.normal_()
            if (layer(x) - base(x) - 4 * (x @ layer.lora_A @ layer.lora_B)).abs().max() > 1e-3:
                return True
        except Exception:
            return True
    return False


# %% chaff="rank and alpha left at one" exercise="exposes" misconception="only_rank_one"
def exposes(layer_class):
    for x in (torch.randn(5), torch.randn(4, 5), torch.randn(3, 4, 5)):
        try:
            base = nn.Linear(5, 7)
            layer = layer_class(base, rank=1, alpha=1)
            layer.lora_B.data.normal_()
            if not torch.allclose(layer(x), base(x) + x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="alpha equals rank, 16 and 16" exercise="exposes" misconception="only_alpha_equal_to_rank"
def exposes(layer_class):
    base = nn.Linear(20, 24)
    layer = layer_class(base, rank=16, alpha=16)
    nn.init.uniform_(layer.lora_B)
    for x in (torch.randn(20), torch.randn(4, 20), torch.randn(3, 4, 20)):
        try:
            if not torch.allclose(layer(x), base(x) + (x @ layer.lora_A) @ layer.lora_B, rtol=1e-3, atol=1e-3):
                return True
        except Exception:
            return True
    return False


# %% chaff="a batch of rows only, one case" exercise="exposes" misconception="only_rows"
def exposes(layer_class):
    base, x = nn.Linear(10, 6), torch.randn(4, 10)
    layer = layer_class(base, rank=2, alpha=8)
    layer.lora_B.data = torch.randn(2, 6)
    try:
        out = layer(x)
    except Exception:
        return True
    return not torch.allclose(out, base(x) + 4 * x @ layer.lora_A @ layer.lora_B, atol=1e-4)


# %% chaff="runs? then it is fine" exercise="exposes" misconception="shape_is_enough"
def exposes(layer_class):
    try:
        for shape in ((6,), (4, 6), (2, 4, 6)):
            layer = layer_class(nn.Linear(6, 3), rank=2, alpha=6)
            layer.lora_B.data.normal_()
            layer(torch.randn(shape))
    except Exception:
        return True
    return False


# %% chaff="looks whether the output moves when B does" exercise="exposes" misconception="shape_is_enough"
def exposes(layer_class):
    for d, k in ((6, 3), (4, 5)):
        for lead in ((), (4,), (2, 4)):
            try:
                layer, x = layer_class(nn.Linear(d, k), rank=2, alpha=6), torch.randn(*lead, d)
                before = layer(x)
                layer.lora_B.data.normal_()
                if torch.allclose(layer(x), before) or before.shape != (*lead, k):
                    return True
            except Exception:
                return True
    return False


# %% chaff="a tolerance that swallows everything" exercise="exposes" misconception="shape_is_enough"
def exposes(layer_class):
    for shape in ((6,), (4, 6), (2, 4, 6)):
        base, x = nn.Linear(6, 3), torch.randn(shape)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_B.data.normal_()
            right = base(x) + 3 * x @ layer.lora_A @ layer.lora_B
            if layer(x).shape != right.shape or not torch.allclose(layer(x), right, atol=1e4):
                return True
        except Exception:
            return True
    return False


# %% chaff="exact, against a merged weight" exercise="exposes" misconception="to_the_last_digit"
def exposes(layer_class):
    for shape in ((9,), (4, 9), (2, 4, 9)):
        base, x = nn.Linear(9, 7), torch.randn(shape)
        try:
            layer = layer_class(base, rank=3, alpha=7)
            layer.lora_B.data.normal_()
            weight = base.weight + 7 / 3 * (layer.lora_A @ layer.lora_B).T
            if not torch.equal(layer(x), nn.functional.linear(x, weight, base.bias)):
                return True
        except Exception:
            return True
    return False


# %% chaff="exact, against the formula, with ==" exercise="exposes" misconception="to_the_last_digit"
def exposes(layer_class):
    for shape in ((9,), (4, 9), (2, 4, 9)):
        base, x = nn.Linear(9, 7), torch.randn(shape)
        try:
            layer = layer_class(base, rank=2, alpha=8)
            layer.lora_B.data.normal_()
            if (layer(x) != base(x) + 4 * (x @ layer.lora_A @ layer.lora_B)).any():
                return True
        except Exception:
            return True
    return False


# %% chaff="the bug in its own expectation" exercise="exposes" misconception="expects_the_bug"
def exposes(layer_class):
    base, x = nn.Linear(4, 4), torch.randn(4, 4)
    try:
        layer = layer_class(base, rank=2, alpha=6)
        layer.lora_B.data.normal_()
        return not torch.allclose(layer(x), base(x) + 3 * (layer.lora_A @ layer.lora_B) * x, atol=1e-4)
    except Exception:
        return True


# %% chaff="the scaling read from the layer" exercise="exposes" misconception="trusts_the_scaling"
def exposes(layer_class):
    for d, k in ((7, 2), (2, 7)):
        for lead in ((), (3,), (3, 3)):
            layer, x = layer_class(nn.Linear(d, k), rank=2, alpha=5), torch.randn(*lead, d)
            nn.init.normal_(layer.lora_B)
            delta = layer.scaling * layer.lora_A @ layer.lora_B
            try:
                if not torch.allclose(layer(x), layer.base_layer(x) + x @ delta, atol=1e-4):
                    return True
            except RuntimeError:
                return True
    return False


# %% chaff="asserts and returns False" exercise="exposes" misconception="asserts"
def exposes(layer_class):
    base, x = nn.Linear(4, 4), torch.randn(4, 4)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    torch.testing.assert_close(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B)
    return False


# %% chaff="the name" exercise="exposes" misconception="always_false"
def exposes(layer_class):
    return "LoRA" not in layer_class.__name__


# %% chaff="always True" exercise="exposes" misconception="always_true"
def exposes(layer_class):
    layer_class(nn.Linear(4, 4), rank=2, alpha=2)
    return True


# %% chaff="the number of parameters" exercise="exposes" misconception="always_false"
def exposes(layer_class):
    layer = layer_class(nn.Linear(6, 4), rank=2, alpha=3)
    return sum(p.numel() for p in layer.parameters() if p.requires_grad) != 2 * (6 + 4)


# %% chaff="the largest difference, not a verdict" exercise="exposes" misconception=""
def exposes(layer_class):
    base, x = nn.Linear(6, 4), torch.randn(3, 6)
    try:
        layer = layer_class(base, rank=2, alpha=6)
        layer.lora_B.data.normal_()
        return float((layer(x) - base(x) - 3 * x @ layer.lora_A @ layer.lora_B).abs().max())
    except Exception:
        return True


# %% chaff="words" exercise="exposes" misconception=""
def exposes(layer_class):
    return "wrong" if layer_class is None else "right"


# %% chaff="prints" exercise="exposes" misconception="returned_none"
def exposes(layer_class):
    layer_class(nn.Linear(6, 4), rank=2, alpha=3)


# %% chaff="its own mistake" exercise="exposes" misconception=""
def exposes(layer_class):
    layer = layer_class(nn.Linear(6, 4), rank=2, alpha=3)
    return not torch.allclose(layer(x), right)


# %% chaff="takes an instance" exercise="exposes" misconception=""
def exposes(layer_class):
    return layer_class(torch.randn(3, 6)).shape != (3, 4)


# %% chaff="not a function" exercise="exposes" misconception=""
exposes = True


# %% wheat="small whole numbers, exact" exercise="exposes"
def exposes(layer_class):
    A = torch.tensor([[1.0, 2], [0, 1], [2, 0]])
    B = torch.tensor([[1.0, 0, 3, 1], [2, 1, 0, 5]])
    W = torch.arange(12.0).reshape(4, 3)
    b = torch.tensor([1.0, 2, 3, 4])
    base = nn.Linear(3, 4)
    with torch.no_grad():
        base.weight.copy_(W)
        base.bias.copy_(b)
    try:
        layer = layer_class(base, rank=2, alpha=4)
        with torch.no_grad():
            layer.lora_A.copy_(A)
            layer.lora_B.copy_(B)
            for x in (
                torch.tensor([1.0, 2, 3]),
                torch.tensor([[1.0, 2, 3], [4, 5, 7]]),
                torch.arange(12.0).reshape(2, 2, 3),
            ):
                if not torch.equal(layer(x), x @ W.T + b + 2 * (x @ A @ B)):
                    return True
    except Exception:
        return True
    return False


# %% wheat="linearity, basis vectors" exercise="exposes"
def exposes(layer_class):
    d, k, r, alpha = 4, 6, 2, 3
    base = nn.Linear(d, k)
    layer = layer_class(base, rank=r, alpha=alpha)
    with torch.no_grad():
        layer.lora_B.copy_(torch.linspace(-1, 2, r * k).reshape(r, k))
        W = base.weight.T + alpha / r * layer.lora_A @ layer.lora_B
        try:
            if not torch.allclose(layer(torch.eye(d)), W + base.bias, atol=1e-5):
                return True
            for i in range(d):
                e = torch.zeros(d)
                e[i] = 1
                if not torch.allclose(layer(e), W[i] + base.bias, atol=1e-5):
                    return True
            x = torch.randn(3, 5, d)
            return not torch.allclose(layer(x), x @ W + base.bias, atol=1e-4)
        except Exception as problem:
            return True


# %% wheat="class with state" exercise="exposes"
class Exposes:
    def __init__(self, tolerance=1e-3):
        self.tolerance = tolerance

    def __call__(self, layer_class):
        return not all(self.agrees(layer_class, lead) for lead in [(), (5,), (2, 5)])

    def agrees(self, layer_class, lead):
        base = nn.Linear(6, 9)
        layer = layer_class(base, rank=3, alpha=12)
        layer.lora_B.data += torch.rand(3, 9)
        x = torch.randn(*lead, 6)
        try:
            diff = layer(x) - (base(x) + 4 * x.matmul(layer.lora_A).matmul(layer.lora_B))
        except RuntimeError:
            return False
        return diff.norm().item() < self.tolerance


exposes = Exposes()


# %% wheat="small B" exercise="exposes"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=4, alpha=2)
            layer.lora_B.data = torch.randn(4, 4) * 0.02
            x = torch.randn(*lead, 6)
            want = base(x) + 0.5 * (x @ layer.lora_A @ layer.lora_B)
            if not torch.allclose(layer(x), want, rtol=1e-5, atol=1e-6):
                return True
        except Exception:
            return True
    return False


# %% wheat="while loop of random trials" exercise="exposes"
def exposes(layer_class):
    trials = 30
    while trials:
        trials -= 1
        d, k, r = (int(v) for v in torch.randint(2, 8, (3,)))
        alpha = float(torch.rand(()) * 5 + 0.1)
        lead = tuple(torch.randint(1, 5, (trials % 4,)).tolist())
        base = nn.Linear(d, k, bias=trials % 5 != 0)
        layer = layer_class(base, rank=r, alpha=alpha)
        with torch.no_grad():
            layer.lora_B.normal_()
        x = torch.randn(*lead, d)
        try:
            out = layer(x)
        except Exception:
            return True
        right = base(x) + (alpha / r) * (x @ layer.lora_A @ layer.lora_B)
        if out.shape != right.shape or not torch.allclose(out, right, atol=1e-4):
            return True
    return False


# %% wheat="numpy random, rows one by one" exercise="exposes"
def exposes(layer_class):
    base = nn.Linear(4, 3)
    layer = layer_class(base, rank=2, alpha=5)
    with torch.no_grad():
        layer.lora_B.copy_(torch.as_tensor(np.random.standard_normal((2, 3))))
        M = base.weight + 2.5 * (layer.lora_A @ layer.lora_B).T
        try:
            for x in (torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(4)):
                got = layer(x).reshape(-1, 3)
                for row, out in zip(x.reshape(-1, 4), got):
                    if not torch.allclose(M @ row + base.bias, out, atol=1e-4):
                        return True
                if layer(x).shape != x.shape[:-1] + (3,):
                    return True
        except Exception:
            return True
    return False


# %% wheat="float64 asked for, layer cast" exercise="exposes"
def exposes(layer_class):
    for d, k, lead in [(3, 4, ()), (4, 3, (6,)), (4, 3, (2, 6)), (3, 3, (3,))]:
        base = nn.Linear(d, k, dtype=torch.float64)
        try:
            layer = layer_class(base, rank=2, alpha=9)
            layer.lora_B.data = torch.randn(2, k, dtype=torch.float64)
            x = torch.randn(*lead, d, dtype=torch.float64)
            expected = base(x) + 4.5 * x @ layer.lora_A @ layer.lora_B
            if not torch.allclose(layer(x), expected):
                return True
        except Exception:
            return True
    return False


# %% chaff="ones everywhere" exercise="exposes" misconception="only_one_value"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_A.data.fill_(1.0)
            layer.lora_B.data.fill_(1.0)
            x = torch.ones(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="x is zero" exercise="exposes" misconception="only_zeros"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.zeros(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="A zeroed" exercise="exposes" misconception="only_zeros"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.zeros_(layer.lora_A)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="two batches, one row missing" exercise="exposes" misconception="only_batches"
def exposes(layer_class):
    for lead in [(3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


# %% chaff="catches and goes on" exercise="exposes" misconception="raising_is_fine"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except RuntimeError:
            continue
    return False


# %% chaff="raising means False" exercise="exposes" misconception="raising_is_fine"
def exposes(layer_class):
    try:
        for lead in [(), (3,), (3, 4)]:
            base = nn.Linear(6, 4)
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
    except RuntimeError:
        return False
    return False


# %% chaff="scaling forgotten in its formula" exercise="exposes" misconception="expects_no_scaling"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_B.data.normal_()
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="scaling inverted in its formula" exercise="exposes" misconception="expects_the_inverse"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_B.data.normal_()
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 2 / 6 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="order wrong in its formula" exercise="exposes" misconception=""
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_B.data.normal_()
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * layer.lora_A @ layer.lora_B @ x, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="in-place on a leaf inside try" exercise="exposes" misconception="always_true"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            layer.lora_B.uniform_(-1, 1)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return True
        except Exception:
            return True
    return False


# %% chaff="returns at the first right case" exercise="exposes" misconception="only_one_row"
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return False
        except Exception:
            return True
    return True


# %% chaff="shape only compared with x" exercise="exposes" misconception=""
def exposes(layer_class):
    base = nn.Linear(6, 4)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(3, 6)
    try:
        return layer(x).shape != x.shape
    except RuntimeError:
        return True


# %% chaff="inverted at the end" exercise="exposes" misconception="inverted"
def exposes(layer_class):
    good = True
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            good = good and torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4)
        except Exception:
            good = False
    return good


# %% chaff="inverted, one batch of rows" exercise="exposes" misconception="inverted"
def exposes(layer_class):
    base, x = nn.Linear(6, 4), torch.randn(5, 6)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    try:
        return torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4)
    except RuntimeError:
        return False


# %% chaff="returns 1 and 0" exercise="exposes" misconception=""
def exposes(layer_class):
    for lead in [(), (3,), (3, 4)]:
        base = nn.Linear(6, 4)
        try:
            layer = layer_class(base, rank=2, alpha=6)
            nn.init.normal_(layer.lora_B)
            x = torch.randn(*lead, 6)
            if not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4):
                return 1
        except RuntimeError:
            return 1
    return 0


# %% wheat="suppress, on meta" exercise="product_shape"
from contextlib import suppress
def product_shape(x_shape, d, k):
    with suppress(RuntimeError):
        return (torch.empty(d, k, device="meta") * torch.empty(x_shape, device="meta")).shape


# %% wheat="a callable object" exercise="product_shape"
class Shape:
    def __call__(self, x_shape, d, k):
        try:
            return torch.mul(torch.ones(d, 2) @ torch.ones(2, k), torch.ones(*x_shape)).size()
        except RuntimeError:
            return None
product_shape = Shape()


# %% chaff="d and k first" exercise="product_shape" misconception="arguments_reordered"
def product_shape(d, k, x_shape):
    try: return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError: return None


# %% wheat="a generator of mismatches, and any" exercise="exposes"
def _mismatches(layer_class):
    for d, k in ((5, 3), (4, 4), (2, 6)):
        for bias in (True, False):
            base = nn.Linear(d, k, bias=bias)
            layer = layer_class(base, rank=2, alpha=7)
            layer.lora_A.data = torch.randn(d, 2); layer.lora_B.data = torch.randn(2, k)
            for shape in ((d,), (3, d), (2, 3, d), (d, d)):
                x = torch.randn(shape)
                y = base(x) + 3.5 * torch.einsum("...d,dr,rk->...k", x, layer.lora_A, layer.lora_B)
                yield layer(x).shape != y.shape or not torch.allclose(layer(x), y, atol=1e-4)
def exposes(layer_class) -> bool:
    try:
        return any(_mismatches(layer_class))
    except Exception:
        return True


# %% chaff="the last round decides" exercise="exposes" misconception="evidence_dropped"
def exposes(layer_class):
    wrong = False
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for sh in [(d,), (7, d), (2, 7, d)]:
            base = nn.Linear(d, k)
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                x = torch.randn(sh)
                wrong = not torch.allclose(layer(x), base(x) + 3 * (x @ layer.lora_A @ layer.lora_B), atol=1e-4)
            except Exception:
                wrong = True
    return wrong


# %% chaff="nothing at the end, two sizes" exercise="exposes" misconception="no_false_at_the_end"
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4)]:
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        try:
            x = torch.randn(3, d)
            if not torch.allclose(layer(x), base(x) + 3 * (x @ layer.lora_A @ layer.lora_B), atol=1e-4):
                return True
        except Exception:
            return True


# %% wheat="match on the pair of sizes" exercise="product_shape"
def product_shape(x_shape, d, k):
    import itertools

    def one(a: int, b: int):
        match (a, b):
            case (1, n) | (n, 1):
                return n
            case (n, m) if n == m:
                return n
            case _:
                raise ValueError((a, b))

    try:
        sizes = [one(a, b) for a, b in itertools.zip_longest((k, d), reversed(x_shape), fillvalue=1)]
    except ValueError:
        return None
    sizes.reverse()
    return tuple(sizes)


# %% wheat="int32 numpy array" exercise="product_shape"
def product_shape(x_shape, d, k):
    try:
        return np.array(torch.broadcast_shapes(x_shape, (d, k)), dtype=np.int32)
    except RuntimeError:
        return None


# %% wheat="a product of bools, else and finally" exercise="product_shape"
def product_shape(x_shape, d, k):
    result = None
    try:
        prod = torch.ones(x_shape, dtype=torch.bool) & torch.ones((d, k), dtype=torch.bool)
    except RuntimeError:
        pass
    else:
        result = tuple(prod.shape)
    finally:
        return result


# %% wheat="partial and lru_cache" exercise="product_shape"
from functools import lru_cache, partial
@lru_cache(maxsize=None)
def _shape(weight, x):
    try:
        return tuple(torch.broadcast_shapes(weight, x))
    except RuntimeError:
        return None
def product_shape(x_shape, d, k):
    return partial(_shape, (d, k))(tuple(x_shape))


# %% wheat="a named tuple" exercise="silent_case"
from collections import namedtuple
Case = namedtuple("Case", "d k x_shape")
def silent_case():
    return Case(d=3, k=3, x_shape=(5, 3, 3))


# %% wheat="numpy array of sizes" exercise="silent_case"
def silent_case():
    return 4, 4, np.array([2, 4, 4])


# %% wheat="0-dim tensors" exercise="silent_case"
def silent_case():
    d = torch.tensor(4)
    return d, d, (d, d)


# %% wheat="a partial" exercise="silent_case"
from functools import partial
silent_case = partial(lambda n: (n, n, (n, n)), 6)


# %% wheat="numpy assert_allclose" exercise="exposes"
def exposes(layer_class):
    rng = np.random.default_rng(0)
    for d, k, r, a in [(4, 6, 2, 5), (6, 4, 3, 2), (5, 5, 2, 8)]:
        for shape in [(d,), (3, d), (d, d), (2, 3, d)]:
            for bias in (False, True):
                base = nn.Linear(d, k, bias=bias)
                x = rng.normal(size=shape)
                try:
                    layer = layer_class(base, rank=r, alpha=a)
                    layer.lora_B.data = torch.tensor(rng.normal(size=(r, k)), dtype=layer.lora_B.dtype)
                    out = layer(torch.tensor(x, dtype=base.weight.dtype)).detach().numpy()
                    A, B = layer.lora_A.detach().numpy(), layer.lora_B.detach().numpy()
                    want = x @ base.weight.detach().numpy().T + a / r * x @ A @ B
                    if bias: want = want + base.bias.detach().numpy()
                    np.testing.assert_allclose(out, want, rtol=1e-3, atol=1e-4)
                except Exception:
                    return True
    return False


# %% wheat="compared with a reference class of one's own" exercise="exposes"
class Reference(nn.Module):
    def __init__(self, base_layer, rank, alpha):
        super().__init__()
        self.base_layer, self.s = base_layer, alpha / rank
        self.lora_A = nn.Parameter(torch.zeros(base_layer.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(rank, base_layer.out_features))
    def forward(self, x):
        return self.base_layer(x) + self.s * (x @ self.lora_A @ self.lora_B)
def exposes(layer_class):
    for d, k in [(7, 4), (4, 7), (5, 5)]:
        for rank, alpha in [(2, 6), (5, 3)]:
            for bias in [True, False]:
                for lead in [(), (9,), (5,), (3, 2)]:
                    base = nn.Linear(d, k, bias=bias)
                    ref = Reference(base, rank, alpha).to(base.weight)
                    try:
                        layer = layer_class(base, rank=rank, alpha=alpha)
                        with torch.no_grad():
                            for name in ("lora_A", "lora_B"):
                                value = torch.randn_like(getattr(layer, name))
                                getattr(layer, name).copy_(value)
                                getattr(ref, name).copy_(value)
                        x = torch.randn(*lead, d)
                        ours, theirs = ref(x), layer(x)
                        if ours.shape != theirs.shape or not torch.allclose(ours, theirs, atol=1e-4):
                            return True
                    except Exception:
                        return True
    return False


# %% wheat="load_state_dict, eval and train" exercise="exposes"
def exposes(layer_class):
    bad = False
    for d, k, r, al in ((4, 9, 2, 3), (9, 4, 3, 9), (6, 6, 4, 2)):
        for bias in (True, False):
            base = nn.Linear(d, k, bias=bias)
            layer = layer_class(base, rank=r, alpha=al)
            new = {"lora_A": torch.randn(d, r), "lora_B": torch.randn(r, k)}
            layer.load_state_dict(new, strict=False)
            for x in (torch.randn(d), torch.randn(6, d), torch.randn(9, d), torch.randn(3, 2, d)):
                for mode in (True, False):
                    layer.train(mode)
                    try:
                        out = layer(x)
                        right = base(x) + x @ (new["lora_A"] @ new["lora_B"]).to(x.dtype) * al / r
                        bad = bad or out.shape != right.shape or not bool(((out - right).abs() < 1e-4).all())
                    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError):
                        bad = True
    return bad


# %% wheat="functional_call with values for all parameters" exercise="exposes"
from torch.func import functional_call
def exposes(layer_class):
    g = torch.Generator().manual_seed(3)
    for d, k in ((5, 3), (3, 5), (4, 4)):
        for bias in (True, False):
            base = nn.Linear(d, k, bias=bias)
            try:
                layer = layer_class(base, rank=2, alpha=7)
                params = {n: torch.randn(p.shape, generator=g, dtype=p.dtype) for n, p in layer.named_parameters()}
                W, b = params["base_layer.weight"], params.get("base_layer.bias", 0)
                for lead in ((), (3,), (4,), (5,), (2, 3)):
                    x = torch.randn(*lead, d, generator=g)
                    want = x @ W.T + b + 3.5 * x @ params["lora_A"] @ params["lora_B"]
                    got = functional_call(layer, params, (x,))
                    if got.shape != want.shape or not torch.allclose(got, want, atol=1e-4):
                        return True
            except Exception:
                return True
    return False


# %% wheat="a TestCase of unittest" exercise="exposes"
import unittest
def exposes(layer_class):
    class T(unittest.TestCase):
        def test_all(self):
            for d, k in ((6, 3), (3, 6), (4, 4)):
                for bias in (True, False):
                    for lead in ((), (5,), (4,), (2, 3)):
                        with self.subTest(d=d, k=k, bias=bias, lead=lead):
                            base = nn.Linear(d, k, bias=bias)
                            layer = layer_class(base, rank=2, alpha=5)
                            nn.init.normal_(layer.lora_B)
                            x = torch.randn(*lead, d)
                            y, z = layer(x), base(x) + 2.5 * x @ layer.lora_A @ layer.lora_B
                            self.assertEqual(y.shape, z.shape)
                            self.assertTrue(torch.allclose(y, z, atol=1e-4))
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(T).run(result)
    return not result.wasSuccessful()


# %% wheat="rows of an identity" exercise="exposes"
def exposes(layer_class):
    for d, k, r, a in ((3, 4, 2, 8), (4, 2, 3, 9), (3, 3, 2, 6)):
        for bias in (True, False):
            base = nn.Linear(d, k, bias=bias)
            try:
                layer = layer_class(base, rank=r, alpha=a)
                with torch.no_grad():
                    layer.lora_A.copy_(torch.arange(1., d * r + 1).reshape(d, r).sin())
                    layer.lora_B.copy_(torch.arange(1., r * k + 1).reshape(r, k).cos())
                    want = base.weight.T + a / r * layer.lora_A @ layer.lora_B
                    if bias: want = want + base.bias
                    eye = torch.eye(d)
                    outs = [layer(eye), layer(eye[None, None]), layer(eye.unsqueeze(1)), torch.stack([layer(e) for e in eye])]
                    wants = [want, want[None, None], want.unsqueeze(1), want]
                if any(o.shape != w.shape or not torch.allclose(o, w, atol=1e-4) for o, w in zip(outs, wants)):
                    return True
            except Exception:
                return True
    return False


# %% chaff="only stretches x" exercise="product_shape" misconception="one_side_stretches"
def product_shape(x_shape, d, k):
    x = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    if x[-1] in (1, k) and x[-2] in (1, d):
        return x[:-2] + (d, k)
    return None


# %% chaff="only stretches weight" exercise="product_shape" misconception="one_side_stretches"
def product_shape(x_shape, d, k):
    x = (1,) * (2 - len(x_shape)) + tuple(x_shape)
    if k in (1, x[-1]) and d in (1, x[-2]):
        return x
    return None


# %% chaff="x ends in another size" exercise="silent_case" misconception=""
def silent_case(): return 4, 4, (4, 4, 3)


# %% chaff="the mean of the differences" exercise="exposes" misconception=""
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            base = nn.Linear(d, k)
            x = torch.randn(*lead, d)
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                out = layer(x)
            except Exception:
                return True
            want = base(x) + 3 * x @ layer.lora_A @ layer.lora_B
            if abs((out - want).mean()) > 1:
                return True
    return False


# %% chaff="writes into lora_B without no_grad" exercise="exposes" misconception=""
def exposes(layer_class):
    base = nn.Linear(5, 3)
    layer = layer_class(base, rank=2, alpha=6)
    layer.lora_B.uniform_(-1, 1)
    x = torch.randn(4, 5)
    return not torch.allclose(layer(x), base(x) + 3 * x @ layer.lora_A @ layer.lora_B, atol=1e-4)


# %% chaff="rank over alpha in its formula" exercise="exposes" misconception="expects_the_inverse"
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            base = nn.Linear(d, k)
            x = torch.randn(*lead, d)
            try:
                layer = layer_class(base, rank=4, alpha=1)
                nn.init.normal_(layer.lora_B)
                out = layer(x)
            except Exception:
                return True
            want = base(x) + 4 / 1 * x @ layer.lora_A @ layer.lora_B
            if out.shape != want.shape or not torch.allclose(out, want, atol=1e-4):
                return True
    return False


# %% chaff="no base in its formula" exercise="exposes" misconception="expects_no_base"
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            base = nn.Linear(d, k)
            x = torch.randn(*lead, d)
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                out = layer(x)
            except Exception:
                return True
            want = 3 * x @ layer.lora_A @ layer.lora_B
            if out.shape != want.shape or not torch.allclose(out, want, atol=1e-4):
                return True
    return False


# %% chaff="findings are kept in a list outside" exercise="exposes" misconception="kept_between_calls"
found = []
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            for bias in (True, False):
                base = nn.Linear(d, k, bias=bias)
                x = torch.randn(*lead, d)
                try:
                    layer = layer_class(base, rank=2, alpha=6)
                    nn.init.normal_(layer.lora_B)
                    out = layer(x)
                    want = base(x) + 3 * x @ layer.lora_A @ layer.lora_B
                    if out.shape != want.shape or not torch.allclose(out, want, atol=1e-4):
                        found.append(layer_class)
                except Exception:
                    found.append(layer_class)
    return len(found) > 0


# %% chaff="a verdict for each class name is kept" exercise="exposes" misconception="kept_between_calls"
seen = {}
def exposes(layer_class):
    if layer_class.__name__ in seen:
        return seen[layer_class.__name__]
    result = False
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            base = nn.Linear(d, k)
            x = torch.randn(*lead, d)
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                out = layer(x)
                want = base(x) + 3 * x @ layer.lora_A @ layer.lora_B
                if out.shape != want.shape or not torch.allclose(out, want, atol=1e-4):
                    result = True
            except Exception:
                result = True
    seen[layer_class.__name__] = result
    return result


# %% chaff="x is all ones" exercise="exposes" misconception="only_equal_rows"
def exposes(layer_class):
    for d, k in [(5, 3), (4, 4), (3, 6)]:
        for lead in [(), (4,), (2, 3)]:
            base = nn.Linear(d, k)
            x = torch.ones(*lead, d)
            try:
                layer = layer_class(base, rank=2, alpha=6)
                nn.init.normal_(layer.lora_B)
                out = layer(x)
            except Exception:
                return True
            want = base(x) + 3 * x @ layer.lora_A @ layer.lora_B
            if out.shape != want.shape or not torch.allclose(out, want, atol=1e-4):
                return True
    return False


# %% chaff="an empty batch has no shape" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    if 0 in x_shape:
        return None
    try:
        return tuple(torch.broadcast_shapes((d, k), x_shape))
    except RuntimeError:
        return None


# %% chaff="a tensor assigned to lora_B" exercise="exposes" misconception=""
def exposes(layer_class):
    base = nn.Linear(5, 3)
    layer = layer_class(base, rank=2, alpha=6)
    layer.lora_B = torch.randn(2, 3)
    for x in (torch.randn(7, 5), torch.randn(5), torch.randn(2, 7, 5)):
        try:
            if not torch.allclose(layer(x), base(x) + 3 * (x @ layer.lora_A @ layer.lora_B), atol=1e-4):
                return True
        except RuntimeError:
            return True
    return False


# %% chaff="the first round returns in either case" exercise="exposes" misconception="only_rows"
def exposes(layer_class):
    for d, k in ((5, 3), (4, 4)):
        base = nn.Linear(d, k)
        layer = layer_class(base, rank=2, alpha=6)
        nn.init.normal_(layer.lora_B)
        for x in (torch.randn(7, d), torch.randn(d), torch.randn(2, 7, d)):
            try:
                y = layer(x)
            except RuntimeError:
                return True
            t = base(x) + 3 * (x @ layer.lora_A @ layer.lora_B)
            if torch.allclose(y, t, atol=1e-4):
                return False
            else:
                return True


# %% chaff="a truth value for each entry" exercise="exposes" misconception=""
def exposes(layer_class):
    base = nn.Linear(5, 3)
    layer = layer_class(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    x = torch.randn(7, 5)
    try:
        return ~torch.isclose(layer(x), base(x) + 3 * (x @ layer.lora_A @ layer.lora_B), atol=1e-4)
    except RuntimeError:
        return True


# %% wheat="padded with ones, sizes by cases" exercise="product_shape"
def product_shape(x_shape, d, k, *, one=1):
    *lead, n, m = (1, 1, *x_shape)
    fits = (n == d or n == one or d == one) and (m == k or m == one or k == one)
    if not fits:
        return None
    pair = [d if n == 1 else n, k if m == 1 else m]
    return tuple([*lead, *pair][-max(2, len(x_shape)):])


# %% chaff="padded on the right" exercise="product_shape" misconception=""
def product_shape(x_shape, d, k):
    a, b = list(x_shape), [d, k]
    n = max(len(a), len(b))
    a, b = a + [1] * (n - len(a)), b + [1] * (n - len(b))
    if any(p != q and p != 1 and q != 1 for p, q in zip(a, b)): return None
    return tuple(max(p, q) for p, q in zip(a, b))
