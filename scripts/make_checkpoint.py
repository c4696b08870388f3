#!/usr/bin/env python3
"""Writes a small checkpoint, and sensitivities to go with it, to try the commands of README.md on.

    make_checkpoint.py NET.safetensors [--sensitivity FISHER.safetensors]

Two layers with biases, a normalisation, a counter and a tied pair; the same bytes in every run.
"""

import argparse

import numpy as np
from safetensors.numpy import save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--sensitivity")
    args = parser.parse_args()
    rng = np.random.default_rng(1)

    def normal(scale, *shape):
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    embedding = normal(0.1, 100, 64)
    tensors = {
        "embedding.weight": embedding,
        "hidden.weight": normal(0.05, 128, 64),
        "hidden.bias": normal(0.01, 128),
        "norm.weight": 1 + normal(0.1, 128),
        "norm.bias": normal(0.1, 128),
        "norm.running_mean": normal(0.5, 128),
        "norm.running_var": np.exp(normal(1.0, 128)),
        "norm.num_batches_tracked": np.array(1000, dtype=np.int64),
        "half.weight": normal(0.05, 64, 128).astype(np.float16),
        "output.weight": embedding.copy(),
    }
    save_file(tensors, args.checkpoint, metadata={"format": "pt"})
    if args.sensitivity:
        trained = [n for n in tensors if n.endswith((".weight", ".bias"))]
        save_file({n: np.exp(normal(1.0, *tensors[n].shape)) for n in trained}, args.sensitivity)


if __name__ == "__main__":
    main()
