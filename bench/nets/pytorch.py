#!/usr/bin/env python3
"""Images per second of evaluation, training and Fisher diagonals in PyTorch: what `crates/tersor-nets/examples/speed.rs`
measures of tersor-nets, in the same table.

    pytorch.py [--threads 1] [NETWORK ...]       lenet5, resnet32, squeezenet1_1 and alexnet unless named

Needs torch, torchvision and safetensors. On the CPU, in f32; each measurement follows one that does not count. Training is
forward, backward and Adam in batches of up to 100; evaluation has the same batches; Fisher has batches of 5, with labels drawn
from the network, and is that of `python/tersor_torch.py`.
"""

import argparse
import pathlib
import sys
import time

import torch
from models import NETWORKS, network
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "python"))
import tersor_torch

BATCH = 100
FISHER_BATCH = 5


def examples(shape):
    """Images and labels: 1000, or 20 large ones."""
    n = 20 if shape[1] > 100 else 1000
    size = n * shape[0] * shape[1] * shape[2]
    pixels = (torch.arange(size) * 7919 % 251).float() / 255
    return pixels.view(n, *shape), torch.arange(n) % 10


def evaluate(model, images, labels):
    model.eval()
    with torch.inference_mode():
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            functional.cross_entropy(model(x), y).item()


def train(model, images, labels):
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def fisher(model, images, labels):
    tersor_torch.fisher(model, list(zip(images.split(FISHER_BATCH), labels.split(FISHER_BATCH), strict=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    unknown = set(args.networks) - NETWORKS.keys()
    if unknown:
        parser.error(f"no network {', '.join(sorted(unknown))}; there are {', '.join(NETWORKS)}")
    torch.set_num_threads(args.threads)
    for name in args.networks:
        model = network(name)
        images, labels = examples(model.shape)
        for what, measured in (("evaluate", evaluate), ("train", train), ("Fisher", fisher)):
            n_warm = min(len(images), BATCH)
            measured(model, images[:n_warm], labels[:n_warm])
            started = time.perf_counter()
            measured(model, images, labels)
            rate = len(images) / (time.perf_counter() - started)
            print(f"{name:14} {what:12} {rate:9.1f} images/s", flush=True)


if __name__ == "__main__":
    main()
