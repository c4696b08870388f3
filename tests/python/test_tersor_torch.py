#!/usr/bin/env python3
"""Tests of python/tersor_torch.py on networks that are not tersor's own.

    python3 -m venv target/torch
    target/torch/bin/pip install torch torchvision safetensors
    target/torch/bin/python tests/python/test_tersor_torch.py

They take under a minute on a CPU; `.ci/run` leaves them out, because torch is large. torchvision is used where it is
installed. A `tersor` on PATH is given the files; put target/release there.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest
import warnings

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import tersor_torch as tt

try:
    import torchvision
except ImportError:
    torchvision = None


def tiny(seed=0):
    """A classifier of 3 classes with few parameters."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def convolutional(seed=0):
    """Strides, padding, dilation and groups, with batch normalisation whose statistics are not those of a start."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, (3, 2), stride=2, padding=(2, 1), bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 12, 3, padding="same", dilation=(1, 2), groups=4),
        nn.BatchNorm2d(12),
        nn.ReLU(inplace=True),
        nn.Conv2d(12, 6, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5),
    )
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.2)
            nn.init.uniform_(module.running_var, 0.2, 0.6)
    return net


class Classifier(nn.Module):
    """Tokens to 4 classes through an encoder whose attention calls no submodules for its weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(20, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 4)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


class TiedLanguageModel(nn.Module):
    """Every token's logits; the output matrix is the embedding. Answers as Hugging Face's models do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.embedding = nn.Embedding(11, 6)
        self.mix = nn.Linear(6, 6)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, input_ids):
        return {"logits": self.head(torch.tanh(self.mix(self.embedding(input_ids))))}


def exact_fisher(model, inputs, log_probabilities):
    """Sum over classes and rows of p x (gradient of log p)^2, divided by the rows: no labels drawn."""
    parameters = dict(model.named_parameters())
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    rows = log_probabilities(inputs)
    for row in rows:
        for log_p in row:
            gradients = torch.autograd.grad(log_p, list(parameters.values()), retain_graph=True)
            for name, g in zip(parameters, gradients, strict=True):
                sums[name] += log_p.exp().detach() * g**2
    return {name: total / len(rows) for name, total in sums.items()}


def batches(inputs, labels, size):
    return list(zip(inputs.split(size), labels.split(size), strict=True))


def relative(a, b):
    return float((a - b).norm() / b.norm())


# Bounds on the relative error of estimates from drawn labels, which have a seed but may be drawn otherwise by another version of
# torch. Over 6 seeds the worst tensor was off by 0.02 to 0.08 (tiny networks), 0.065 to 0.10 (tied) and 0.03 to 0.065 (output
# gradients); with 4 times the draws by about half, as sampling noise is.
FISHER_NOISE = 0.15
GRADIENT_NOISE = 0.12


class Fisher(unittest.TestCase):
    def test_drawn_labels_give_the_exact_fisher_for_any_batch_size(self):
        model = tiny()
        inputs = torch.randn(6, 4)
        exact = exact_fisher(model, inputs, lambda x: model(x).log_softmax(1))
        # Mini-batches of batches of six are independent draws: 1200 squares in both cases.
        for size, repetitions in ((1, 200), (6, 1200)):
            found = tt.fisher(model, batches(inputs, torch.zeros(6, dtype=torch.long), size) * repetitions)
            self.assertEqual(found.samples, 6 * repetitions)
            for name, values in exact.items():
                self.assertLess(relative(found.values[name], values), FISHER_NOISE, f"{name}, batches of {size}")

    def test_with_the_datas_labels_it_is_b_times_the_squared_mean_gradient(self):
        model, inputs, labels = tiny(), torch.randn(10, 4), torch.randint(3, (10,))
        found = tt.fisher(model, batches(inputs, labels, 5), labels="data")
        expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
        for x, y in batches(inputs, labels, 5):
            functional.cross_entropy(model(x), y).backward()
            for name, p in model.named_parameters():
                expected[name] += 5 * p.grad**2 / 2
                p.grad = None
        for name, values in expected.items():
            torch.testing.assert_close(found.values[name], values)
        again = tt.fisher(model, batches(inputs, labels, 5), labels="data", loss_fn=functional.cross_entropy)
        torch.testing.assert_close(again.values, found.values)
        self.assertEqual((found.unit, again.unit), ("nats", "loss"))

    def test_temperature_is_that_of_divided_logits(self):
        model, inputs, labels = tiny(), torch.randn(6, 4), torch.randint(3, (6,))
        warm = tt.fisher(model, batches(inputs, labels, 3), labels="data", temperature=2.0)
        divided = tt.fisher(
            model, batches(inputs, labels, 3), labels="data", loss_fn=lambda z, y: functional.cross_entropy(z / 2, y)
        )
        torch.testing.assert_close(warm.values, divided.values)

    def test_tokens_that_are_ignored_count_neither_as_rows_nor_in_gradients(self):
        model = TiedLanguageModel()
        tokens = torch.randint(11, (4, 5))
        labels = torch.randint(11, (4, 5))
        padded = torch.cat([tokens, torch.zeros(4, 2, dtype=torch.long)], 1)
        ignored = torch.cat([labels, torch.full((4, 2), -100)], 1)
        for kind in ("sampled", "data"):
            a = tt.fisher(model, [{"input_ids": tokens, "labels": labels}], labels=kind)
            b = tt.fisher(model, [{"input_ids": padded, "labels": ignored}], labels=kind)
            self.assertEqual((a.samples, b.samples), (20, 20))
            torch.testing.assert_close(a.values, b.values)
        with self.assertRaisesRegex(ValueError, "no row"):
            tt.fisher(model, [{"input_ids": tokens, "labels": torch.full((4, 5), -100)}])

    def test_tied_parameters_are_one_and_hold_both_uses(self):
        model = TiedLanguageModel()
        tokens = torch.randint(11, (3, 4))
        exact = exact_fisher(model, tokens, lambda x: model(x)["logits"].flatten(0, 1).log_softmax(1))
        found = tt.fisher(model, [{"input_ids": t} for t in tokens] * 150)
        self.assertEqual(set(found.values), {"embedding.weight", "mix.weight", "mix.bias"})
        self.assertEqual(found.names, {"embedding.weight": ("embedding.weight", "head.weight")})
        for name, values in exact.items():
            self.assertLess(relative(found.values[name], values), FISHER_NOISE, name)

    def test_images_of_classes_have_their_classes_on_axis_1(self):
        model = nn.Conv2d(2, 3, 1)
        images, labels = torch.randn(2, 2, 4, 4), torch.randint(3, (2, 4, 4))
        found = tt.fisher(model, [(images, labels)], class_axis=1)
        self.assertEqual(found.samples, 32)
        with self.assertRaisesRegex(ValueError, "class_axis"):
            tt.fisher(model, [(images, labels)])

    def test_the_network_is_afterwards_as_before(self):
        model = convolutional().train()
        model[1].eval()
        model[6].weight.requires_grad_(False)
        model[9].weight.grad = torch.ones_like(model[9].weight)
        before = {name: t.clone() for name, t in model.state_dict().items()}
        data = [(torch.randn(2, 3, 9, 9), torch.tensor([0, 1]))]
        linear, conv2d = functional.linear, functional.conv2d
        with torch.no_grad():
            found = tt.fisher(model, data)
            tt.adam_moments(model, data, steps=3)
        tt.gram(model, data)

        def broken(model, batch):
            model(batch[0])
            raise RuntimeError("broken")

        with self.assertRaisesRegex(RuntimeError, "broken"):
            tt.gram(model, data, forward=broken)
        self.assertIn("6.weight", found.values)
        self.assertEqual([m.training for m in model], [True, False] + [True] * 8)
        self.assertEqual([n for n, p in model.named_parameters() if not p.requires_grad], ["6.weight"])
        self.assertEqual([n for n, p in model.named_parameters() if p.grad is not None], ["9.weight"])
        self.assertTrue(bool((model[9].weight.grad == 1).all()))
        torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)
        self.assertFalse(any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules()))
        self.assertTrue(functional.linear is linear and functional.conv2d is conv2d)
        self.assertTrue(torch.backends.mha.get_fastpath_enabled())

    def test_the_same_seed_draws_the_same_labels(self):
        model, data = tiny(), batches(torch.randn(20, 4), torch.zeros(20, dtype=torch.long), 5)
        a, b, c = (tt.fisher(model, data, seed=seed).values["0.weight"] for seed in (1, 1, 2))
        self.assertTrue(torch.equal(a, b) and not torch.equal(a, c))


class Adam(unittest.TestCase):
    def test_moments_are_those_of_an_optimizer_at_rate_0(self):
        model, data = tiny(), batches(torch.randn(12, 4), torch.randint(3, (12,)), 4)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.0, betas=(0.9, 0.97))
        for x, y in data + data[:2]:
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        held = tt.from_optimizer(optimizer, model)
        found = tt.adam_moments(model, data, functional.cross_entropy, beta2=0.97, steps=5)
        self.assertEqual(found.samples, 20)
        for name in dict(model.named_parameters()):
            torch.testing.assert_close(found.values[name], held.values[name], rtol=1e-4, atol=0)

    def test_every_optimizer_that_keeps_squares_is_read(self):
        x, y = torch.randn(6, 4), torch.randint(3, (6,))
        kinds = (torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop)
        for kind in (*kinds, torch.optim.Adadelta, torch.optim.Adagrad):
            model = tiny()
            # Parameters in groups and not in the order of the network.
            groups = [{"params": [model[2].bias, model[0].weight]}, {"params": [model[0].bias], "lr": 0.1}]
            optimizer = kind(groups, lr=0.0)
            functional.cross_entropy(model(x), y).backward()
            squares = {name: p.grad**2 for name, p in model.named_parameters()}
            optimizer.step()
            found = tt.from_optimizer(optimizer, model)
            self.assertEqual(set(found.values), {"2.bias", "0.weight", "0.bias"}, kind)
            for name, values in found.values.items():
                # RMSprop and Adadelta do not start at the first square: a constant factor.
                ratio = values / squares[name]
                torch.testing.assert_close(ratio, torch.full_like(ratio, ratio.flatten()[0].item()), rtol=1e-3, atol=0)
                if kind not in (torch.optim.RMSprop, torch.optim.Adadelta):
                    self.assertAlmostEqual(ratio.flatten()[0].item(), 1, places=3, msg=str(kind))

    @unittest.skipUnless(shutil.which("tersor"), "no tersor on PATH")
    def test_the_command_reads_the_same_from_files(self):
        x, y = torch.randn(6, 3, 8, 8), torch.randint(4, (6,))
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for kind, legacy, is_named in (
                (torch.optim.Adam, False, False),
                (torch.optim.AdamW, True, False),
                (torch.optim.RMSprop, False, False),
                (torch.optim.Adagrad, False, False),
                (torch.optim.Adam, False, True),
            ):
                torch.manual_seed(0)
                convolution = nn.Conv2d(3, 5, 3)
                model = nn.Sequential(convolution, nn.BatchNorm2d(5), nn.Flatten(), nn.LazyLinear(4))
                model(x)
                convolution.bias.requires_grad_(False)  # in the optimizer, but never stepped
                # Weight decay for matrices only, as is usual: numbers follow the groups.
                named = list(model.named_parameters())
                groups = [
                    {"params": [p if is_named else p[1] for p in named if (p[1].ndim > 1) == is_matrix]}
                    for is_matrix in (True, False)
                ]
                try:
                    optimizer = kind(groups, lr=0.01)
                except TypeError:
                    continue  # PyTorch before 2.6 takes no names
                for _ in range(3):
                    optimizer.zero_grad()
                    functional.cross_entropy(model(x), y).backward()
                    optimizer.step()
                expected = tt.from_optimizer(optimizer, model)
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state, folder / "training.pt", _use_new_zipfile_serialization=not legacy)
                output = folder / "h.safetensors"
                command = ["tersor", "sensitivity", "--from-optimizer", folder / "training.pt", "-o", output, "-f"]
                for root in (False, True):
                    subprocess.run([*command, *(["--sqrt"] if root else [])], check=True, capture_output=True)
                    with safe_open(output, "pt") as file:
                        self.assertEqual(set(file.keys()), set(expected.values), kind)
                        self.assertEqual(file.metadata()["steps"], expected.settings["steps"])
                        self.assertEqual(file.metadata()["unit"], expected.unit)
                        for key, values in expected.values.items():
                            wanted = values.sqrt() if root else values
                            torch.testing.assert_close(file.get_tensor(key), wanted, rtol=1e-6, atol=0)

    def test_an_optimizer_without_squares_is_refused(self):
        model = tiny()
        with self.assertRaisesRegex(ValueError, "SGD"):
            tt.from_optimizer(torch.optim.SGD(model.parameters(), lr=0.1), model)


class Gram(unittest.TestCase):
    def seen(self, model, inputs):
        """What passes through each layer, by hooks."""
        found = {}
        handles = [
            m.register_forward_hook(lambda m, i, o, n=n: found.__setitem__(n, (i[0].detach(), o.detach())))
            for n, m in model.named_modules()
            if isinstance(m, nn.Linear | nn.Conv2d)
        ]
        model.eval()(inputs)
        for handle in handles:
            handle.remove()
        return found

    def test_it_predicts_the_squared_output_of_any_kernel(self):
        # tr(D G D^T) per output against the output of the layer with D in place of its weight.
        model, inputs = convolutional(), torch.randn(4, 3, 11, 9)
        moments = tt.gram(model, [(inputs[:3],), (inputs[3:],)]).values
        for name, (x, _) in self.seen(model, inputs).items():
            layer, g = model.get_submodule(name), moments[f"{name}.weight::gram"].double()
            error = torch.randn_like(layer.weight, dtype=torch.double)
            if isinstance(layer, nn.Conv2d):
                kernel = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
                y = functional.conv2d(x.double(), error, groups=layer.groups, **kernel).transpose(0, 1).flatten(1)
                self.assertEqual(len(g), layer.groups)
            else:
                y = functional.linear(x.double(), error).T
            rows = error.flatten(1).unflatten(0, (len(g), -1))
            predicted = torch.einsum("goi,gij,goj->go", rows, g, rows).flatten()
            torch.testing.assert_close(predicted, y.square().mean(1), rtol=1e-5, atol=1e-7)

    def test_it_is_the_sum_over_patches_in_the_order_channel_row_column(self):
        layer = nn.Conv2d(4, 2, (3, 2), stride=(2, 1), padding=(1, 0), groups=2)
        model = nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        x = torch.randn(2, 4, 5, 4)
        padded = functional.pad(x, (0, 0, 1, 1))
        expected, n = torch.zeros(2, 12, 12), 0
        for image in padded:
            for top in range(0, 5, 2):
                for left in range(3):
                    n += 1
                    for group in range(2):
                        patch = image[2 * group : 2 * group + 2, top : top + 3, left : left + 2].flatten()
                        expected[group] += torch.outer(patch, patch)
        found = tt.gram(model, [x]).values["0.weight::gram"]
        self.assertEqual(n, 18)
        torch.testing.assert_close(found, expected / n)

    def test_wide_layers_get_diagonal_blocks_filled_up_with_zeros(self):
        model, x = tiny(), torch.randn(7, 4)
        whole = tt.gram(model, [x]).values["0.weight::gram"]
        blocks = tt.gram(model, [x], max_inputs=3).values["0.weight::gram"]
        self.assertEqual(list(blocks.shape), [2, 3, 3])
        torch.testing.assert_close(blocks[0], whole[0, :3, :3])
        self.assertEqual(blocks[1, 0, 0].item(), whole[0, 3, 3].item())
        self.assertEqual(float(blocks[1].abs().sum()), float(blocks[1, 0, 0]))

    def test_output_gradients_are_those_of_drawn_labels(self):
        model, inputs = convolutional(), torch.randn(6, 3, 11, 9)
        found = tt.gram(model, [inputs] * 150)
        model.eval()
        for name in ("0", "3", "9"):
            expected = torch.zeros(model.get_submodule(name).weight.shape[0])
            outputs = {}
            handle = model.get_submodule(name).register_forward_hook(lambda m, i, o, y=outputs: y.update(y=o.clone()) or y["y"])
            log_p = model(inputs).log_softmax(1)
            handle.remove()
            for row in log_p:
                for value in row:
                    (g,) = torch.autograd.grad(value, outputs["y"], retain_graph=True)
                    by_example = g.flatten(2).sum(2) if g.dim() == 4 else g
                    expected += value.exp().detach() * by_example.square().sum(0) / len(inputs)
            self.assertLess(relative(found.values[f"{name}.weight::outgrad"], expected), GRADIENT_NOISE, name)

    def test_attention_is_seen_although_it_calls_no_submodules(self):
        model, tokens = Classifier(), torch.randint(20, (5, 7))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            moments = tt.gram(model, [(tokens, torch.randint(4, (5,)))]).values
        names = {f"encoder.layers.{i}.self_attn.{n}" for i in (0, 1) for n in ("in_proj_weight", "out_proj.weight")}
        names |= {f"encoder.layers.{i}.linear{n}.weight" for i in (0, 1) for n in (1, 2)} | {"head.weight"}
        self.assertEqual({k for k in moments if k.endswith("::gram")}, {f"{n}::gram" for n in names})
        x = model.embedding(tokens).flatten(0, 1)
        torch.testing.assert_close(moments["encoder.layers.0.self_attn.in_proj_weight::gram"][0], x.T @ x / 35)
        self.assertEqual(list(moments["encoder.layers.0.self_attn.in_proj_weight::outgrad"].shape), [24])
        # The first block's output projection, from attention written out.
        layer = model.encoder.layers[0].self_attn
        q, k, v = functional.linear(x, layer.in_proj_weight, layer.in_proj_bias).view(5, 7, 3, 2, 4).permute(2, 0, 3, 1, 4)
        mixed = ((q @ k.transpose(2, 3) / 2).softmax(3) @ v).transpose(1, 2).reshape(35, 8)
        g = moments["encoder.layers.0.self_attn.out_proj.weight::gram"][0]
        torch.testing.assert_close(g, mixed.T @ mixed / 35, rtol=1e-4, atol=1e-6)

    def test_layers_that_were_not_seen_are_named(self):
        model = tiny()
        model.append(nn.Linear(9, 9))
        with self.assertWarnsRegex(UserWarning, "no moments of 3"):
            tt.gram(model, [torch.randn(2, 4)], forward=lambda m, x: (m[:3](x), None))


@unittest.skipUnless(torchvision, "torchvision is not installed")
class ResNet18(unittest.TestCase):
    def setUp(self):
        torch.manual_seed(0)
        self.model = torchvision.models.resnet18(num_classes=10)
        self.data = [(torch.randn(4, 3, 32, 32), torch.randint(10, (4,))) for _ in range(2)]
        # Running statistics of this data, so that activations stay of the size they have in use.
        with torch.no_grad():
            for x, _ in self.data * 5:
                self.model(x)

    def test_every_parameter_has_a_sensitivity_and_every_layer_moments(self):
        found = tt.fisher(self.model, self.data)
        self.assertEqual(set(found.values), set(dict(self.model.named_parameters())))
        for name, parameter in self.model.named_parameters():
            self.assertEqual(found.values[name].shape, parameter.shape)
            self.assertGreater(float(found.values[name].max()), 0, name)
        moments = tt.gram(self.model, self.data[:1], output_gradients=False, max_inputs=512).values
        self.assertEqual(len(moments), 21)
        self.assertEqual(list(moments["layer4.1.conv2.weight::gram"].shape), [9, 512, 512])

    def test_reestimation_brings_the_outputs_closer(self):
        decoded = torchvision.models.resnet18(num_classes=10)
        decoded.load_state_dict(self.model.state_dict())
        with torch.no_grad():
            for p in decoded.parameters():
                if p.dim() > 1:
                    p += 0.4 * p.std() * torch.randn_like(p)
        self.model.eval(), decoded.eval()
        inputs = torch.cat([x for x, _ in self.data])
        with torch.no_grad():
            target, before = self.model(inputs), decoded(inputs)
            report = tt.reestimate_normalisation(decoded, self.model, self.data)
            after = decoded(inputs)
        self.assertEqual((report.n_normalised, report.n_biased), (20, 1))
        self.assertLess(relative(after, target), 0.7 * relative(before, target))


class Reestimation(unittest.TestCase):
    def moments(self, model, inputs):
        found = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d | nn.Linear | nn.Conv2d) and module.bias is not None:
                module.register_forward_hook(lambda m, i, o, n=name: found.__setitem__(n, o.transpose(0, 1).flatten(1).clone()))
        with torch.no_grad():
            model.eval()(inputs)
        return found

    def test_every_channel_gets_the_originals_mean_and_variance(self):
        original, decoded = convolutional(), convolutional()
        with torch.no_grad():
            for p in decoded.parameters():
                p += 0.3 * p.abs().mean() * torch.randn_like(p)
        inputs = torch.randn(30, 3, 12, 10)
        decoded.train()
        statistics = {n: b.clone() for n, b in decoded.named_buffers()}
        report = tt.reestimate_normalisation(decoded, original, inputs.split(11))
        self.assertEqual((report.n_normalised, report.n_biased), (2, 3))
        self.assertGreater(report.largest_gain, 1.01)
        self.assertTrue(all(m.training for m in decoded.modules()) and all(p.requires_grad for p in decoded.parameters()))
        torch.testing.assert_close({n: b.clone() for n, b in decoded.named_buffers()}, statistics)
        wanted, found = self.moments(original, inputs), self.moments(decoded, inputs)
        for name, values in wanted.items():
            torch.testing.assert_close(
                found[name].mean(1), values.mean(1), rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
            if isinstance(decoded.get_submodule(name), nn.BatchNorm2d):
                torch.testing.assert_close(found[name].var(1), values.var(1), rtol=1e-3, atol=1e-6)

    def test_an_unchanged_network_stays_so(self):
        original, decoded = convolutional(), convolutional()
        report = tt.reestimate_normalisation(decoded, original, [torch.randn(9, 3, 12, 10)])
        self.assertAlmostEqual(report.largest_gain, 1.0, places=5)
        torch.testing.assert_close(dict(decoded.state_dict()), dict(original.state_dict()), rtol=1e-4, atol=1e-5)

    def test_gains_are_bounded(self):
        original, decoded = convolutional(), convolutional()
        with torch.no_grad():
            decoded[0].weight *= 1e-3
        report = tt.reestimate_normalisation(decoded, original, [torch.randn(9, 3, 12, 10)])
        self.assertAlmostEqual(report.largest_gain, 4.0)
        torch.testing.assert_close(decoded[1].weight, 4 * original[1].weight)

    def test_a_layer_that_is_called_twice_is_repaired_over_both_calls(self):
        class Twice(nn.Module):
            def __init__(self):
                super().__init__()
                torch.manual_seed(3)
                self.layer = nn.Linear(4, 4)
                self.unused = nn.Linear(4, 4)

            def forward(self, x):
                return self.layer(torch.tanh(self.layer(x)))

        original, decoded = Twice(), Twice()
        with torch.no_grad():
            decoded.layer.bias += 0.5
        inputs = torch.randn(50, 4)
        seen = []
        report = tt.reestimate_normalisation(
            decoded, original, [inputs], forward=lambda m, x: seen.append(m(x)) or (seen[-1], None)
        )
        self.assertEqual(report.n_biased, 1)
        # The second call's input moves with the first's output, so one step does not end at the original: it comes closer than
        # the 0.5 at which it began.
        self.assertLess(float((decoded.layer.bias - original.layer.bias).detach().abs().max()), 0.5)

    def test_other_layers_are_refused(self):
        with self.assertRaisesRegex(ValueError, "9"):
            tt.reestimate_normalisation(convolutional()[:9], convolutional(), [torch.randn(2, 3, 12, 10)])


class Files(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = self.folder / "fisher.safetensors"

    def test_a_file_holds_all_that_it_was_given(self):
        model, data = tiny(), batches(torch.randn(10, 4), torch.zeros(10, dtype=torch.long), 5)
        diagonal, moments = tt.fisher(model, data), tt.gram(model, data)
        tt.save(self.path, diagonal, moments)
        with safe_open(self.path, framework="pt") as file:
            metadata = file.metadata()
            self.assertEqual(set(file.keys()), diagonal.values.keys() | moments.values.keys())
            for name, values in (diagonal.values | moments.values).items():
                self.assertTrue(torch.equal(file.get_tensor(name), values))
        expected = {"tersor_sensitivity": "1", "unit": "nats", "estimator": "fisher+gram", "samples": "10", "output_axis": "0"}
        self.assertLessEqual(expected.items(), metadata.items())
        self.assertEqual((metadata["batch"], metadata["labels"], metadata["gram.samples"]), ("5", "sampled", "10"))
        self.assertEqual([p.name for p in self.folder.iterdir()], ["fisher.safetensors"])

    def test_nothing_is_overwritten_unasked_and_nothing_wrong_is_written(self):
        found = tt.fisher(tiny(), [torch.randn(2, 4)])
        tt.save(self.path, found)
        with self.assertRaises(FileExistsError):
            tt.save(self.path, found)
        tt.save(self.path, found, overwrite=True)
        with self.assertRaisesRegex(ValueError, "twice"):
            tt.save(self.folder / "b", found, found)
        found.values["0.bias"][0] = float("nan")
        with self.assertRaisesRegex(ValueError, r"0\.bias"):
            tt.save(self.folder / "b", found)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["fisher.safetensors"])

    def test_a_tied_parameter_goes_by_the_name_that_the_checkpoint_kept(self):
        found = tt.fisher(TiedLanguageModel(), [torch.zeros(1, 3, dtype=torch.long)])
        for kept, expected in (({"head.weight"}, "head.weight"), ({"head.weight", "embedding.weight"}, "embedding.weight")):
            tt.save(self.path, found, names=kept | {"mix.weight", "mix.bias"}, overwrite=True)
            with safe_open(self.path, framework="pt") as file:
                self.assertEqual(set(file.keys()), {expected, "mix.weight", "mix.bias"})

    @unittest.skipUnless(shutil.which("tersor"), "no tersor on PATH")
    def test_tersor_takes_the_file(self):
        model = Classifier()
        data = [(torch.randint(20, (5, 7)), torch.randint(4, (5,))) for _ in range(4)]
        net = self.folder / "net.safetensors"
        save_file(dict(model.state_dict()), net)
        tt.save(self.path, tt.fisher(model, data), tt.gram(model, data))
        for target in (["--bpw", "4"], ["--max-loss", "0.01"]):
            command = ["tersor", "compress", net, "--sensitivity", self.path, "--json", "-f", "-o", self.folder / "net.tersor"]
            result = subprocess.run([*command, *target], capture_output=True, text=True)
            self.assertEqual(result.returncode, 0, result.stderr)
            # Nothing uncovered, nothing left over.
            self.assertNotIn("sensitivity file", result.stderr)
            json.loads(result.stdout)
        back = self.folder / "back.safetensors"
        subprocess.run(["tersor", "decompress", "-q", self.folder / "net.tersor", "-o", back], check=True)
        with safe_open(back, framework="pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in model.state_dict()})


if __name__ == "__main__":
    torch.set_num_threads(1)
    unittest.main()
