"""Sensitivity files for tersor from any PyTorch network, and repair of normalisation after decompression.

Needs torch and safetensors only. Copy this file beside your own, or put its folder on PYTHONPATH:

    import tersor_torch as tt

    tt.save("fisher.safetensors", tt.fisher(model, loader))

    $ tersor compress net.safetensors --bpw 3 --sensitivity fisher.safetensors

| function | what it measures |
|---|---|
| `fisher` | diagonal of the Fisher matrix, from mini-batches: the measure to begin with |
| `adam_moments` | Adam's second moments of a network that came trained |
| `from_optimizer` | second moments that an optimizer holds already |
| `gram` | second moments of the inputs and output gradients of linear and convolution layers |
| `reestimate_normalisation` | (repair) scale and shift of batch normalisation after decompression |

**Batches.** A loader is anything that gives batches when iterated. A batch is a tensor of inputs, a pair (inputs, labels),
or a mapping of keyword arguments whose `labels`, if any, stay out of the call. The network returns logits, or an object or
mapping with `logits`, or a tuple that begins with them. Where that does not fit, pass `forward`: a function of the network and
a batch that returns (logits, labels or None).

**Rows.** A row is what the loss averages over: an example, or a token where labels are `[batch, length]`. Labels are those of
the logits at the same place: a loader for language models has to shift them. Rows labelled `ignore_index` do not count.

**The network** is put in evaluation mode meanwhile. Its mode, `requires_grad` and `.grad` are afterwards as before, and
nothing stays attached to it. Networks compiled with `torch.compile` or TorchScript, or wrapped for data parallelism, have to be
given as the module inside.

**Tied parameters** have one sensitivity, of all their uses together, under the first of their names.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = [
    "MAX_INPUTS",
    "Repair",
    "Sensitivities",
    "adam_moments",
    "fisher",
    "from_optimizer",
    "gram",
    "logits_and_labels",
    "reestimate_normalisation",
    "save",
]

Forward = Callable[[nn.Module, Any], tuple[Tensor, Tensor | None]]
LossFunction = Callable[[Tensor, Tensor | None], Tensor]

MAX_INPUTS = 4096
"""Layers with more inputs get diagonal blocks of so many instead of one Gram matrix."""

_PATCH_ELEMENTS = 1 << 25
"""Elements of convolution patches in memory at a time: 128 MiB."""

_GAINS = (0.3, 4.0)
"""Bounds of the factor on a channel's scale: a channel that hardly varied is not blown up."""

_EPSILON = 1e-8
"""Added to variances before they are divided."""


@dataclass
class Sensitivities:
    """What a file says, with how it was measured."""

    values: dict[str, Tensor]
    """Tensors by key: `NAME` in the shape of the parameter, `NAME::gram`, `NAME::outgrad`. f32, on the CPU."""
    estimator: str
    samples: int
    """Rows used; 0 if not known."""
    unit: str = "nats"
    """Of the loss. `NAME` is in loss per squared unit of the parameter."""
    settings: dict[str, str] = field(default_factory=dict)
    """Anything else worth keeping."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """All names of tied parameters, by the first."""


def fisher(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    labels: Literal["sampled", "data"] = "sampled",
    loss_fn: LossFunction | None = None,
    samples: int | None = None,
    temperature: float = 1.0,
    ignore_index: int = -100,
    class_axis: int = -1,
    seed: int = 0,
    forward: Forward | None = None,
) -> Sensitivities:
    """The diagonal of the Fisher matrix: B x (mean gradient of a mini-batch of B rows)^2, averaged over rows.

    With `labels="sampled"` each row's label is drawn from the softmax of its logits. Gradients of different rows are then
    independent with mean zero, so the cross terms of the square vanish in expectation: the estimate is unbiased for any B,
    and equals the diagonal of the generalised Gauss-Newton matrix of softmax and cross-entropy. Small batches, such as
    5, give more squares to average for the same number of rows; one backward pass each.

    With `labels="data"` the estimate is the empirical Fisher plus (B - 1) x (mean gradient)^2, and `loss_fn(logits, labels)`,
    the mean loss of the rows, may be another than cross-entropy.

    `samples`: stop after the batch that reaches so many rows. `temperature` divides the logits before the softmax, which
    keeps a network that is sure of itself from having no gradient. `class_axis`: axis of the classes in the logits, -1 for
    `[batch, length, classes]`, 1 for `[batch, classes, height, width]`. `seed`: of the drawn labels.

    Raises ValueError if no row counts, or for `loss_fn` with drawn labels.

    Source: Martens, "New insights and perspectives on the natural gradient method", JMLR 2020, sections 5 and 9 (Fisher and
    Gauss-Newton; empirical Fisher).
    """
    if labels not in ("sampled", "data"):
        raise ValueError(f'labels={labels!r}: write "sampled" or "data"')
    if loss_fn is not None and labels == "sampled":
        raise ValueError('labels are drawn for softmax and cross-entropy only: pass labels="data" with loss_fn')
    parameters, names = _parameters(model)
    sums = {name: _zeros_like(p) for name, p in parameters.items()}
    generator = torch.Generator().manual_seed(seed)
    n_rows, batch_rows = 0, 0
    with _as_in_use(model, parameters, train=True):
        for batch in _on_device(loader, parameters):
            logits, given = (forward or logits_and_labels)(model, batch)
            if loss_fn is not None:
                rows, loss = _n_rows(logits, given, ignore_index), loss_fn(logits, given)
            else:
                scores, targets = _rows(logits, given, ignore_index, class_axis)
                rows, scores = len(scores), scores / temperature
                if rows == 0:
                    continue
                if labels == "sampled":
                    targets = _draw(scores, generator)
                elif targets is None:
                    raise ValueError('the batch has no labels: pass labels="sampled", or forward')
                loss = functional.cross_entropy(scores, targets)
            if rows == 0:
                continue
            for name, gradient in _gradients(loss, parameters):
                sums[name] += rows * (rows * gradient.to(sums[name].dtype) ** 2)
            n_rows += rows
            batch_rows = max(batch_rows, rows)
            if samples is not None and n_rows >= samples:
                break
    if n_rows == 0:
        raise ValueError("the loader gave no row that counts")
    settings = {"batch": str(batch_rows), "labels": labels, "temperature": repr(float(temperature)), "seed": str(seed)}
    values = {name: _finish(total / n_rows) for name, total in sums.items()}
    return Sensitivities(values, "fisher", n_rows, "nats" if loss_fn is None else "loss", settings, names)


def adam_moments(
    model: nn.Module,
    loader: Iterable[Any],
    loss_fn: LossFunction | None = None,
    beta2: float = 0.999,
    steps: int = 1000,
    *,
    ignore_index: int = -100,
    class_axis: int = -1,
    forward: Forward | None = None,
) -> Sensitivities:
    """Adam's second moments at learning rate 0: the decaying mean of squared mean gradients of batches, its bias removed.

    `loss_fn(logits, labels)` is the mean loss of a batch; cross-entropy with the batch's labels unless given. The loader is
    gone through again until `steps` batches were seen. A batch of B rows gives about 1/B of the empirical Fisher, at a
    minimum; sensitivities matter relative to each other, but predicted losses are off by that factor. The root of these
    values, which Choi et al. use, is what `tersor compress --power 0.5` takes.

    Raises ValueError if the loader is empty.

    Source: Kingma and Ba, "Adam", ICLR 2015, algorithm 1; Choi, El-Khamy, Lee, "Towards the limit of network
    quantization", ICLR 2017, section 3.5, for their use in place of a Hessian.
    """
    parameters, names = _parameters(model)
    moments = {name: _zeros_like(p) for name, p in parameters.items()}
    n_steps, n_rows = 0, 0
    with _as_in_use(model, parameters, train=True):
        while n_steps < steps:
            before = n_steps
            for batch in _on_device(loader, parameters):
                logits, given = (forward or logits_and_labels)(model, batch)
                if loss_fn is not None:
                    rows, loss = _n_rows(logits, given, ignore_index), loss_fn(logits, given)
                else:
                    scores, targets = _rows(logits, given, ignore_index, class_axis)
                    if targets is None:
                        raise ValueError("the batch has no labels: pass loss_fn or forward")
                    rows, loss = len(scores), functional.cross_entropy(scores, targets)
                if rows == 0:
                    continue
                squares = {name: g.to(moments[name].dtype) ** 2 for name, g in _gradients(loss, parameters)}
                for name, moment in moments.items():
                    moment *= beta2
                    if name in squares:
                        moment += (1 - beta2) * squares[name]
                n_rows += rows
                n_steps += 1
                if n_steps == steps:
                    break
            if n_steps == before:
                raise ValueError("the loader gave no batch with rows that count")
    correction = 1 - beta2**n_steps
    values = {name: _finish(moment / correction) for name, moment in moments.items()}
    settings = {"beta2": repr(beta2), "steps": str(n_steps)}
    return Sensitivities(values, "adam", n_rows, "nats" if loss_fn is None else "loss", settings, names)


def from_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module) -> Sensitivities:
    """Second moments of gradients that an optimizer holds, under the names that its parameters have in the network.

    Adam and its kin keep `exp_avg_sq`, whose bias is removed; RMSprop and Adadelta keep `square_avg`; Adagrad keeps a sum,
    which is divided by the number of steps. Parameters that the optimizer has not stepped are left out. The gradients are
    of the loss trained with, so an L2 penalty given to `Adam` (not `AdamW`) as `weight_decay` is part of them.

    Raises ValueError if the optimizer holds no second moments of this network's parameters.
    """
    parameters, names = _parameters(model)
    decays = {id(p): group.get("betas", (0.0, 0.0))[1] for group in optimizer.param_groups for p in group["params"]}
    values, steps = {}, 0
    for name, parameter in parameters.items():
        state = optimizer.state.get(parameter, {})
        n = int(state.get("step", 0))
        if "exp_avg_sq" in state and n > 0:
            moment, divisor = state["exp_avg_sq"], 1 - float(decays.get(id(parameter), 0.0)) ** n
        elif "square_avg" in state:
            moment, divisor = state["square_avg"], 1.0
        elif "sum" in state and n > 0:
            moment, divisor = state["sum"], float(n)
        else:
            continue
        if moment.shape != parameter.shape:
            raise ValueError(f"{name}: moments of shape {list(moment.shape)} for {list(parameter.shape)}: gather them first")
        values[name] = _finish(moment.detach().double().cpu() / divisor)
        steps = max(steps, n)
    if not values:
        kind = type(optimizer).__name__
        raise ValueError(f"{kind} holds no second moments of this network's parameters: has it made a step with them?")
    settings = {"optimizer": type(optimizer).__name__, "steps": str(steps)}
    return Sensitivities(values, "optimizer", 0, "loss", settings, names)


def gram(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    samples: int | None = None,
    output_gradients: bool = True,
    max_inputs: int = MAX_INPUTS,
    ignore_index: int = -100,
    class_axis: int = -1,
    seed: int = 0,
    forward: Forward | None = None,
) -> Sensitivities:
    """Second moments of the inputs of every linear and two-dimensional convolution layer, and of its output gradients.

    For a layer y = W x the Gram matrix E[x x^T] says what an error D of W does to its output: E|D x|^2 = tr(D G D^T).

    - `NAME::gram`, `[groups, n, n]` with n inputs of an output: the mean over rows, that is examples and positions. For a
      convolution x is a patch with its padding, in the order of the kernel: channel, row, column. With more than
      `max_inputs` inputs there are diagonal blocks of so many, `[blocks, max_inputs, max_inputs]`, the last filled up with
      zeros.
    - `NAME::outgrad`, `[outputs]`: squared gradients of a row's loss, in nats squared per squared unit of the output, at
      labels drawn from the softmax; summed over examples and divided by the rows that count. In convolutions the positions of an
      example are summed before the square, elsewhere each position is squared.

    A weight that several layers share has the moments of all of them. What is watched is `functional.linear` and
    `functional.conv2d`, since `nn.MultiheadAttention` gives its weights to them without calling its submodules; both are as
    before afterwards. A warning names layers whose weight was not seen. Memory: 8 bytes per element of the matrices.

    Raises ValueError if no layer was seen or no row counts.

    Source: for what they are good for, Frantar and Alistarh, "Optimal brain compression", NeurIPS 2022, section 4 (Gram
    matrices); Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", ICML 2016 (both;
    there positions count as independent in convolutions).
    """
    parameters, names = _parameters(model)
    by_id = {id(p): name for name, p in parameters.items()}
    sums: dict[str, _Moments] = {}
    probes: list[tuple[_Moments, Tensor, bool]] = []
    generator = torch.Generator().manual_seed(seed)
    n_rows = 0

    def watch(weight: Tensor, patches: Callable[[], Iterator[Tensor]], output: Tensor, convolved: bool) -> Tensor:
        name = by_id.get(id(weight))
        if name is None:
            return output
        with torch.no_grad():
            for rows in patches():
                if name not in sums:
                    sums[name] = _Moments(rows, weight.shape[0], max_inputs)
                sums[name].add(rows)
        if not output_gradients:
            return output
        probe = torch.zeros_like(output, requires_grad=True)
        probes.append((sums[name], probe, convolved))
        return output + probe

    with _as_in_use(model, parameters, train=False), _watched_layers(watch), torch.set_grad_enabled(output_gradients):
        for batch in _on_device(loader, parameters):
            probes.clear()
            logits, given = (forward or logits_and_labels)(model, batch)
            if output_gradients:
                scores, _ = _rows(logits, given, ignore_index, class_axis)
                rows = len(scores)
                if rows and probes:
                    loss = functional.cross_entropy(scores, _draw(scores, generator), reduction="sum")
                    gradients = torch.autograd.grad(loss, [p for _, p, _ in probes], allow_unused=True)
                    for (moments, _, convolved), gradient in zip(probes, gradients, strict=True):
                        if gradient is not None:
                            moments.add_gradient(gradient, convolved)
            else:
                rows = _n_rows(logits, given, ignore_index)
            n_rows += rows
            if samples is not None and n_rows >= samples:
                break
        probes.clear()
    if not sums or n_rows == 0:
        raise ValueError("no linear or convolution layer was seen, or no row that counts")
    layers = (m for m in model.named_modules() if isinstance(m[1], nn.Linear | nn.Conv2d))
    unseen = sorted(name for name, layer in layers if by_id.get(id(layer.weight)) not in sums)
    if unseen:
        warnings.warn(f"no moments of {', '.join(unseen)}: nothing passed, or not through its own weight", stacklevel=2)
    values = {}
    for name, moments in sums.items():
        values[f"{name}::gram"] = _finish(moments.gram / moments.positions)
        if output_gradients:
            values[f"{name}::outgrad"] = _finish(moments.outputs / n_rows)
    return Sensitivities(values, "gram", n_rows, "nats", {"seed": str(seed)}, names)


def save(
    path: str | os.PathLike[str],
    *sensitivities: Sensitivities,
    names: Collection[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Writes one sensitivity file of all that is given, such as a diagonal and moments of layers.

    `names`: those of the checkpoint, such as the keys of its state dict, if it may have dropped the first name of a tied
    parameter: the parameter then goes by the first of its names that the checkpoint has. A parameter that the checkpoint has
    under two names keeps one sensitivity; `tersor` adds what it finds under several.

    The file appears under its name when it is complete. Raises ValueError if a value is not finite or two are of the same
    name, FileExistsError if the file exists and `overwrite` is not set.

    The metadata: `tersor_sensitivity` (version 1), `unit` of the loss, `estimator`, `samples`, `output_axis`, and settings;
    from the second on, settings have the estimator in front.
    """
    if not sensitivities:
        raise ValueError("nothing to save")
    tensors: dict[str, Tensor] = {}
    metadata = {
        "tersor_sensitivity": "1",
        "unit": sensitivities[0].unit,
        "estimator": "+".join(s.estimator for s in sensitivities),
        "samples": str(sensitivities[0].samples),
        "output_axis": "0",
    }
    for index, s in enumerate(sensitivities):
        for key, values in s.values.items():
            name, separator, kind = key.partition("::")
            if names is not None and name not in names:
                name = next((n for n in s.names.get(name, ()) if n in names), name)
            key = name + separator + kind
            if key in tensors:
                raise ValueError(f"{key} is given twice")
            if not bool(torch.isfinite(values).all()):
                raise ValueError(f"{key} holds a value that is not finite; check the network and its data")
            tensors[key] = values
        prefix = f"{s.estimator}." if index else ""
        metadata |= {prefix + k: v for k, v in s.settings.items()}
        if index:
            metadata |= {f"{prefix}samples": str(s.samples), f"{prefix}unit": s.unit}
    if os.path.exists(path) and not overwrite:
        raise FileExistsError(f"{os.fspath(path)} exists; pass overwrite=True to replace it")
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.TemporaryDirectory(dir=folder, prefix=".tersor-") as scratch:
        temporary = os.path.join(scratch, "sensitivities")
        save_file(tensors, temporary, metadata=metadata)
        os.replace(temporary, path)


@dataclass
class Repair:
    """What `reestimate_normalisation` changed."""

    n_normalised: int = 0
    """Batch-norm layers whose scale and shift changed."""
    n_biased: int = 0
    """Other layers whose bias took the shift of the mean."""
    largest_gain: float = 1.0
    """Largest factor on a scale, or its inverse."""


def reestimate_normalisation(
    decoded_model: nn.Module,
    original_model: nn.Module,
    loader: Iterable[Any],
    *,
    forward: Forward | None = None,
) -> Repair:
    """Gives every channel of the decoded network the mean, and after batch normalisation the variance, that it has in the
    original network on the same batches.

    Changes the decoded network in place, layer by layer in the order of execution, each after those before it: scale and
    shift of batch normalisation (the factor on the scale stays within 0.3 and 4), the bias of other linear and convolution
    layers. Labels are not used; some hundred examples suffice. Layers without such parameters are left as they are, and
    so are running statistics.

    The batches are kept in memory. Time: one pass of the original network, and of the decoded one a pass per layer, each up
    to that layer. Raises ValueError if the networks have not the same layers, or the loader is empty.

    Source: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.2
    (mean of the outputs restored by biases); here the variance as well, on data.
    """
    layers, originals = _repairable(decoded_model), _repairable(original_model)
    if layers.keys() != originals.keys():
        odd = sorted(layers.keys() ^ originals.keys())
        raise ValueError(f"the networks differ in the layers {', '.join(odd)}")
    batches = list(loader)
    if not batches:
        raise ValueError("the loader is empty")
    call = forward or logits_and_labels
    report = Repair()
    changed: set[int] = set()
    with (
        torch.no_grad(),
        _as_in_use(original_model, dict(original_model.named_parameters()), train=False),
        _as_in_use(decoded_model, dict(decoded_model.named_parameters()), train=False),
    ):
        wanted = {name: _ChannelMoments() for name in originals}
        calls: list[Counter[str]] = []

        def observe(name: str, layer: nn.Module, output: Tensor) -> None:
            calls[-1][name] += 1
            wanted[name].add(layer, output)

        with _hooks({name: (layer, observe) for name, layer in originals.items()}):
            for batch in _on_device(batches, dict(original_model.named_parameters())):
                calls.append(Counter())
                call(original_model, batch)
        # Counters remember who came first.
        order = dict.fromkeys(name for counter in calls for name in counter)
        for name in order:
            layer = layers[name]
            # A parameter that two layers share fits the first.
            adjusted = {id(layer.bias), id(layer.weight)} if isinstance(layer, _BatchNorm) else {id(layer.bias)}
            if adjusted & changed:
                continue
            changed |= adjusted
            found = _moments_until(decoded_model, name, layer, batches, calls, call)
            _adjust(layer, wanted[name], found, report)
    return report


def logits_and_labels(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor | None]:
    """What `forward` does unless given: the network's logits for a batch, and the batch's labels if it has any.

    Raises TypeError if the network returns nothing that looks like logits.
    """
    labels = None
    if isinstance(batch, Mapping):
        labels = batch.get("labels")
        output = model(**{key: value for key, value in batch.items() if key != "labels"})
    elif isinstance(batch, tuple | list):
        labels = batch[1] if len(batch) > 1 else None
        output = model(batch[0])
    else:
        output = model(batch)
    if isinstance(output, Mapping) and "logits" in output:
        output = output["logits"]
    elif hasattr(output, "logits"):
        output = output.logits
    elif isinstance(output, tuple | list) and output:
        output = output[0]
    if not isinstance(output, Tensor):
        raise TypeError(f"the network returns {type(output).__name__}, which has no logits: pass forward")
    return output, labels


# --- Rows and gradients ---


def _rows(logits: Tensor, labels: Tensor | None, ignore_index: int, class_axis: int) -> tuple[Tensor, Tensor | None]:
    """Logits `[rows, classes]` of the rows that count, and their labels."""
    rows = logits.movedim(class_axis, -1)
    if labels is None:
        return rows.flatten(0, -2).float(), None
    if labels.shape != rows.shape[:-1]:
        shapes = f"labels of shape {list(labels.shape)} for logits of shape {list(logits.shape)}"
        raise ValueError(f"{shapes} with classes on axis {class_axis}: pass class_axis or forward")
    flat = labels.flatten()
    counted = flat != ignore_index
    return rows.flatten(0, -2)[counted].float(), flat[counted]


def _n_rows(logits: Tensor, labels: Tensor | None, ignore_index: int) -> int:
    """Rows of a batch: labels that count if they are classes, else examples."""
    if labels is None or labels.is_floating_point():
        return len(logits)
    return int((labels != ignore_index).sum())


def _draw(scores: Tensor, generator: torch.Generator) -> Tensor:
    """A label for every row of logits `[rows, classes]`, drawn from its softmax; on the CPU, where a seed is a seed."""
    probabilities = scores.detach().cpu().softmax(dim=-1)
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(1).to(scores.device)


def _gradients(loss: Tensor, parameters: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Gradients of a loss; parameters that it does not depend on are left out."""
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            yield name, gradient.to_dense() if gradient.is_sparse else gradient


def _sum_dtype(device: torch.device) -> torch.dtype:
    """f64, since thousands of batches of very different size add up; f32 where a device has no f64."""
    return torch.float32 if device.type == "mps" else torch.float64


def _zeros_like(parameter: Tensor) -> Tensor:
    return torch.zeros(parameter.shape, dtype=_sum_dtype(parameter.device), device=parameter.device)


def _finish(values: Tensor) -> Tensor:
    return values.detach().float().cpu().contiguous()


# --- The network meanwhile ---


def _parameters(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, tuple[str, ...]]]:
    """Floating-point parameters by the first of their names, and all names of those that have several."""
    by_id: dict[int, list[str]] = {}
    parameters = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if not parameter.is_floating_point():
            continue
        known = by_id.setdefault(id(parameter), [])
        if not known:
            parameters[name] = parameter
        known.append(name)
    if not parameters:
        raise ValueError("the network has no floating-point parameters")
    return parameters, {known[0]: tuple(known) for known in by_id.values() if len(known) > 1}


@contextlib.contextmanager
def _as_in_use(model: nn.Module, parameters: Mapping[str, Tensor], *, train: bool) -> Iterator[None]:
    """Evaluation mode, with gradients of all parameters if `train` and of none otherwise; everything as before at the end.

    Fused attention would pass by the layers; recurrent layers of cuDNN have no gradient in evaluation mode.
    """
    modes = {module: module.training for module in model.modules()}
    required = [(p, p.requires_grad) for p in parameters.values()]
    fused = torch.backends.mha.get_fastpath_enabled()
    recurrent = any(isinstance(module, nn.RNNBase) for module in modes)
    try:
        model.eval()
        for parameter, _ in required:
            parameter.requires_grad_(train)
        torch.backends.mha.set_fastpath_enabled(False)
        cudnn = torch.backends.cudnn.flags(enabled=False) if recurrent else contextlib.nullcontext()
        with cudnn, torch.set_grad_enabled(train or torch.is_grad_enabled()):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for parameter, before in required:
            parameter.requires_grad_(before)
        for module, mode in modes.items():
            module.training = mode


def _on_device(loader: Iterable[Any], parameters: Mapping[str, Tensor]) -> Iterator[Any]:
    """Batches where the network is."""
    device = next(iter(parameters.values())).device

    def move(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(device)
        if isinstance(part, Mapping):
            return {key: move(value) for key, value in part.items()}
        if isinstance(part, tuple | list):
            return [move(value) for value in part]
        return part

    return map(move, loader)


# --- Moments of layers ---


class _Moments:
    """Sums of one weight."""

    def __init__(self, rows: Tensor, n_outputs: int, max_inputs: int) -> None:
        groups, _, inputs = rows.shape
        self.block = min(inputs, max_inputs)
        n_blocks = groups * math.ceil(inputs / self.block)
        dtype = _sum_dtype(rows.device)
        self.gram = torch.zeros(n_blocks, self.block, self.block, dtype=dtype, device=rows.device)
        self.outputs = torch.zeros(n_outputs, dtype=dtype, device=rows.device)
        self.positions = 0

    def add(self, rows: Tensor) -> None:
        """Adds rows of inputs `[groups, positions, inputs]`."""
        _, positions, inputs = rows.shape
        self.positions += positions
        if inputs > self.block:
            rows = functional.pad(rows, (0, -inputs % self.block))
            rows = rows.unflatten(2, (-1, self.block)).transpose(1, 2).flatten(0, 1)
        self.gram += rows.transpose(1, 2) @ rows

    def add_gradient(self, gradient: Tensor, convolved: bool) -> None:
        """Adds output gradients `[batch, outputs, height, width]` or `[..., outputs]`."""
        gradient = gradient.to(self.outputs.dtype)
        by_row = gradient.flatten(-2).sum(-1) if convolved else gradient
        self.outputs += by_row.reshape(-1, len(self.outputs)).square().sum(0)


Watch = Callable[[Tensor, Callable[[], Iterator[Tensor]], Tensor, bool], Tensor]


@contextlib.contextmanager
def _watched_layers(watch: Watch) -> Iterator[None]:
    """Lets `watch` see weight, inputs as rows `[groups, positions, inputs]`, and output of each linear and convolution layer,
    and replace the output."""
    linear, conv2d = functional.linear, functional.conv2d

    def watched_linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        def rows() -> Iterator[Tensor]:
            yield input.float().reshape(1, -1, input.shape[-1])

        return watch(weight, rows, linear(input, weight, bias), False)

    def watched_conv2d(
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        def rows() -> Iterator[Tensor]:
            yield from _patches(input, weight, stride, padding, dilation, groups)

        return watch(weight, rows, conv2d(input, weight, bias, stride, padding, dilation, groups), True)

    functional.linear, functional.conv2d = watched_linear, watched_conv2d  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.linear, functional.conv2d = linear, conv2d


def _patches(x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int) -> Iterator[Tensor]:
    """What each output of a convolution sees, `[groups, positions, channels x rows x columns]`, some images at a time.

    `x`: `[batch, channels, height, width]` or without the batch; `weight`: `[outputs, channels / groups, rows, columns]`.
    """
    x = x.float() if x.dim() == 4 else x.float().unsqueeze(0)
    rows, columns = weight.shape[2:]
    dilation = (dilation, dilation) if isinstance(dilation, int) else tuple(dilation)
    if padding == "same":
        # As torch.nn.functional.conv2d: an odd element goes to the end.
        total = [d * (k - 1) for d, k in zip(dilation, (rows, columns), strict=True)]
        x = functional.pad(x, (total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2))
    if isinstance(padding, str):
        padding = 0
    step = max(1, _PATCH_ELEMENTS // max(1, x[0].numel() * rows * columns))
    for part in x.split(step):
        columns_of = functional.unfold(part, (rows, columns), dilation, padding, stride)
        columns_of = columns_of.unflatten(1, (groups, -1))
        yield columns_of.permute(1, 0, 3, 2).flatten(1, 2)


# --- Normalisation ---

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class _Done(Exception):
    """Ends a forward pass."""


class _ChannelMoments:
    """Mean and variance of each channel of a layer's output, over everything else."""

    def __init__(self) -> None:
        self.n = 0
        self.first: Tensor | float = 0.0
        self.second: Tensor | float = 0.0

    def add(self, layer: nn.Module, output: Tensor) -> None:
        axis = 1
        if isinstance(layer, nn.Linear):
            axis = -1
        elif isinstance(layer, _CONVOLUTIONS):
            # The channels of an image without a batch come first.
            axis = output.dim() - 1 - len(layer.kernel_size)
        values = output.detach().to(_sum_dtype(output.device)).movedim(axis, 0).flatten(1)
        self.n += values.shape[1]
        self.first = self.first + values.sum(1).cpu().double()
        self.second = self.second + values.square().sum(1).cpu().double()

    def mean(self) -> Tensor:
        return torch.as_tensor(self.first) / self.n

    def variance(self) -> Tensor:
        return (torch.as_tensor(self.second) / self.n - self.mean() ** 2).clamp_min(0)


Observer = Callable[[str, nn.Module, Tensor], None]


def _repairable(model: nn.Module) -> dict[str, nn.Module]:
    """Layers whose output has channels with a shift of their own."""
    kinds = (_BatchNorm, nn.Linear, *_CONVOLUTIONS)
    return {name: m for name, m in model.named_modules() if isinstance(m, kinds) and getattr(m, "bias", None) is not None}


@contextlib.contextmanager
def _hooks(observers: Mapping[str, tuple[nn.Module, Observer]]) -> Iterator[None]:
    """Calls observers with what their layers put out."""
    with contextlib.ExitStack() as stack:
        for name, (layer, observer) in observers.items():
            handle = layer.register_forward_hook(lambda m, _, out, name=name, observer=observer: observer(name, m, out))
            stack.callback(handle.remove)
        yield


def _moments_until(
    model: nn.Module,
    name: str,
    layer: nn.Module,
    batches: list[Any],
    calls: list[Counter[str]],
    call: Forward,
) -> _ChannelMoments:
    """Moments of a layer's output over all batches; what comes after its last call is not computed."""
    found = _ChannelMoments()
    left = 0

    def observe(_: str, layer: nn.Module, output: Tensor) -> None:
        nonlocal left
        found.add(layer, output)
        left -= 1
        if left == 0:
            raise _Done

    with _hooks({name: (layer, observe)}):
        for batch, counter in zip(_on_device(batches, dict(model.named_parameters())), calls, strict=True):
            left = counter[name]
            if left:
                with contextlib.suppress(_Done):
                    call(model, batch)
    return found


def _adjust(layer: Any, wanted: _ChannelMoments, found: _ChannelMoments, report: Repair) -> None:
    """Sets scale and shift, or the bias, so that found moments become the wanted ones."""
    shift = layer.bias.detach().cpu().double()
    gain = torch.ones_like(shift)
    if isinstance(layer, _BatchNorm) and layer.weight is not None:
        scale = layer.weight.detach().cpu().double()
        wish = ((wanted.variance() + _EPSILON) / (found.variance() + _EPSILON)).sqrt().clamp(*_GAINS)
        layer.weight.copy_(scale * wish)
        # The gain that the parameter's type could hold decides the shift. A scale of 0 stays so.
        gain = torch.where(scale == 0, 1.0, layer.weight.detach().cpu().double() / scale)
        report.n_normalised += 1
        report.largest_gain = max(report.largest_gain, float(torch.maximum(wish, 1 / wish).max()))
    else:
        report.n_biased += 1
    # The output is y = z + shift; it becomes gain z + (wanted mean - gain x mean of z). Without a gain that moves the mean.
    layer.bias.copy_(wanted.mean() - gain * (found.mean() - shift))
