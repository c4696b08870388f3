#!/usr/bin/env python3
"""Scales the rows (output channels) of every convolution before a batch normalisation, and undoes it in the normalisation: the same
function, in which one step per tensor stands for one step per row of the original.

    scale_rows.py IN.safetensors OUT.safetensors --by magnitude        steps in proportion to the rows' root mean squares
    scale_rows.py IN.safetensors OUT.safetensors --by fisher.safetensors [--power 0.5]
                                                steps in proportion to h^(-power/2), h the mean sensitivity of a row

Needs numpy and safetensors. Names are those of ResNets: convN.weight is followed by bnN.
"""

import argparse
import re

import numpy as np
from safetensors.numpy import load_file, save_file


def factors(weights, by, power):
    """What to multiply rows by: their geometric mean is 1, so that the tensor keeps its scale."""
    rows = len(weights)
    squares = (weights if by is None else by).reshape(rows, -1).astype(np.float64)
    means = np.mean(squares**2 if by is None else squares, axis=1)
    # A row of zeros, or one that nothing depends on, would have no scale.
    means = np.maximum(means, 1e-2 * means.mean())
    scales = means**-0.5 if by is None else means ** (power / 2)
    return (scales / np.exp(np.mean(np.log(scales)))).astype(np.float32)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("source")
    arguments.add_argument("output")
    arguments.add_argument("--by", required=True, help="magnitude, or a sensitivity file")
    arguments.add_argument("--power", type=float, default=0.5)
    options = arguments.parse_args()
    tensors = load_file(options.source)
    sensitivities = None if options.by == "magnitude" else load_file(options.by)
    for name in [name for name in tensors if re.search(r"conv\d+\.weight$", name)]:
        norm = re.sub(r"conv(\d+)\.weight$", r"bn\1", name)
        by = None if sensitivities is None else sensitivities[name]
        scales = factors(tensors[name], by, options.power)
        tensors[name] = tensors[name] * scales.reshape(-1, *[1] * (tensors[name].ndim - 1))
        tensors[f"{norm}.running_mean"] = tensors[f"{norm}.running_mean"] * scales
        tensors[f"{norm}.weight"] = tensors[f"{norm}.weight"] / scales
        print(f"{name}: {scales.min():.2f} to {scales.max():.2f}")
    save_file(tensors, options.output)


if __name__ == "__main__":
    main()
