#!/usr/bin/env python3
"""Compares two safetensors files with the package `safetensors`: names, types, shapes, values.

    compare_checkpoints.py ORIGINAL DECODED --max-noise X

Status 1 if names, types or shapes differ, if tensors that are not floats differ at all, or if the squared error of the
others exceeds X times their energy.
"""

import argparse
import sys

import numpy as np
from safetensors.numpy import load_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("original")
    parser.add_argument("decoded")
    parser.add_argument("--max-noise", type=float, required=True)
    args = parser.parse_args()
    original, decoded = load_file(args.original), load_file(args.decoded)
    if original.keys() != decoded.keys():
        sys.exit(f"names differ: {sorted(original.keys() ^ decoded.keys())}")
    error = energy = 0.0
    for name, a in original.items():
        b = decoded[name]
        if (a.dtype, a.shape) != (b.dtype, b.shape):
            sys.exit(f"{name}: {a.dtype} {a.shape} became {b.dtype} {b.shape}")
        if not np.issubdtype(a.dtype, np.floating):
            if not np.array_equal(a, b):
                sys.exit(f"{name}: {a.dtype} values differ")
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        error += np.sum((a - b) ** 2)
        energy += np.sum(a**2)
    noise = error / energy
    print(f"{len(original)} tensors, noise {noise:.2e}")
    if not noise <= args.max_noise:
        sys.exit(f"noise {noise:.2e} is more than {args.max_noise:.2e}")


if __name__ == "__main__":
    main()
