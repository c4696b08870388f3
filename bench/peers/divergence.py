#!/usr/bin/env python3
"""How far networks compressed without any data are from the original: nncodec, and tersor at the same sizes.

    divergence.py NET.safetensors [--qp -28 -24 -20 -16] [--tersor COMMAND] -- TASK...

TASK are the options of `tersor net evaluate` that name the network, its data and the examples. Prints one JSON object per line. README.md
beside this file says how to set up the environment.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

# A file here has the name of the package: this folder must not come first where modules are looked for.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]


def nncodec(net, qp, out):
    """Writes what nncodec makes of a checkpoint's floats, the others as they are; returns the bytes of its stream."""
    from nncodec.nn import decode, encode

    tensors = load_file(net)
    floats = {k: np.ascontiguousarray(t, dtype=np.float32) for k, t in tensors.items() if t.dtype.kind == "f" and t.ndim}
    stream = encode(floats, args={"qp": qp, "verbose": False, "results": str(out.parent)})
    decoded = decode(bytearray(stream))
    save_file({k: np.ascontiguousarray(decoded.get(k, t)) for k, t in tensors.items()}, out)
    return len(stream)


def row(program, size, tersor, file, net, task):
    command = [tersor, "net", "evaluate", file, "--against", net, "--json", "--quiet", *task]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    compared = found["comparison"]
    line = {
        **program,
        "bytes": size,
        "divergence": compared["divergence"],
        "accuracy": found["evaluation"]["accuracy"],
        "loss_change": compared["loss_change"],
        "n": found["evaluation"]["n"],
    }
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[-28, -24, -20, -16])
    parser.add_argument("--tersor", default="target/release/tersor")
    parser.add_argument("task", nargs="+", help="options of `tersor net evaluate`, after --")
    args = parser.parse_args()
    version = importlib.metadata.version("nncodec")
    with tempfile.TemporaryDirectory() as folder:
        decoded, made = Path(folder) / "nncodec.safetensors", Path(folder) / "made.tersor"
        for qp in args.qp:
            size = nncodec(args.net, qp, decoded)
            row({"program": f"nncodec {version}", "qp": qp}, size, args.tersor, decoded, args.net, args.task)
            compress = [args.tersor, "compress", args.net, "--size", str(size), "-f", "-o", made, "--quiet"]
            subprocess.run(compress, check=True)
            row({"program": "tersor"}, made.stat().st_size, args.tersor, made, args.net, args.task)


if __name__ == "__main__":
    main()
