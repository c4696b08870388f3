#!/usr/bin/env python3
"""How far networks compressed by nncodec are from the original, and those of tersor at the same sizes without any data.

    divergence.py NET.safetensors [--qp -28 -24 -20 -16] [--tersor COMMAND] -- TASK...
    divergence.py NET.safetensors --records nncodec.json [--repair] [--examples '!0%10' 0..] -- TASK...

TASK are the options of `tersor net evaluate` that name the network and its data. Prints one JSON object per line. With --records nncodec alone
is measured, and a file is written that `tersor net reproduce frontier --beside` draws, in which records of other labels stay; with --repair
also with the normalisation repaired by `tersor net repair`, which nncodec does not do. README.md beside this file says how to set up the environment.
"""

import argparse
import ast
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

# A file here has the name of the package: this folder must not come first where modules are looked for.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]

# Of decoding: the least time counts.
RUNS = 5


def nncodec(net, options, out):
    """Writes what nncodec makes of a checkpoint's floats, the others as they are; returns the bytes of its stream and
    how long it took."""
    from nncodec.nn import decode, encode

    tensors = load_file(net)
    floats = {k: np.ascontiguousarray(t, dtype=np.float32) for k, t in tensors.items() if t.dtype.kind == "f" and t.ndim}
    settings = options | {"verbose": False, "results": str(out.parent)}
    start = time.perf_counter()
    stream = encode(floats, args=settings)
    made_s, decode_s = time.perf_counter() - start, float("inf")
    for _ in range(RUNS):
        start = time.perf_counter()
        decoded = decode(bytearray(stream))
        decode_s = min(decode_s, time.perf_counter() - start)
    save_file({k: np.ascontiguousarray(decoded.get(k, t)) for k, t in tensors.items()}, out)
    n_bytes = sum(t.nbytes for t in floats.values())
    return len(stream), {"made_s": made_s, "decode_s": decode_s, "decode_bytes_per_s": n_bytes / decode_s}


def run(*command):
    found = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return found.stdout


def when_repaired(program):
    return f"{program}, normalisation repaired"


class Bench:
    def __init__(self, args):
        self.args = args
        trainable = (t.size for k, t in load_file(args.net).items() if t.dtype.kind == "f" and ".running_" not in k)
        self.n_trainable = sum(trainable)
        self.records = []

    def keep(self, program):
        """Records of other programs or labels, if the file is there."""
        if self.args.records and self.args.records.is_file():
            found = json.loads(self.args.records.read_text())["records"]
            again = {program, when_repaired(program)}
            self.records = [record for record in found if record["how"] not in again]

    def measure(self, how, size, file, speed=None):
        """Evaluates a file beside the original; prints a row for each choice of examples, and keeps a record."""
        scores = []
        for examples in self.args.examples:
            task = [*self.args.task, "--examples", examples]
            found = json.loads(run(self.args.tersor, "net", "evaluate", file, "--against", self.args.net, "--json", "--quiet", *task))
            decoded, compared = found["evaluation"], found["comparison"]
            scores.append({"examples": examples, "decoded": decoded, "original": found["original"], "comparison": compared})
            row = {"program": how, "bytes": size, "examples": examples, "divergence": compared["divergence"]}
            row |= {"accuracy": decoded["accuracy"], "loss_change": compared["loss_change"], "n": decoded["n"]}
            print(json.dumps(row), flush=True)
        ratio = 4 * self.n_trainable / size
        self.records.append({"file": "", "how": how, "bytes": size, "ratio": ratio, "speed": speed, "scores": scores})
        if self.args.records:
            self.args.records.write_text(json.dumps({"records": self.records}, indent=2) + "\n")

    def repaired(self, decoded, folder):
        """The decoded checkpoint with its normalisation repaired, as a lossless file."""
        lossless, repaired = folder / "lossless.tersor", folder / "repaired.tersor"
        run(self.args.tersor, "compress", decoded, "--keep", "*", "-f", "-o", lossless, "--quiet")
        repair = [self.args.tersor, "net", "repair", lossless, "--original", self.args.net, "-f", "-o", repaired, "--quiet"]
        run(*repair, *self.args.task)
        return repaired


def option(text):
    """NAME=VALUE, the value a Python literal or a word."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[-28, -24, -20, -16])
    parser.add_argument("--nonweight-qp", type=int, default=-75, help="of biases and normalisation; -40 makes files 2 to 5 %% smaller")
    parser.add_argument("--set", type=option, nargs="+", default=[], metavar="NAME=VALUE", help="other options of nncodec, as opt_qp=True")
    parser.add_argument("--tersor", default="target/release/tersor")
    parser.add_argument("--examples", nargs="+", default=["0.."])
    parser.add_argument("--records", type=Path)
    parser.add_argument("--label", help="said of the records of this run, as in 'network pruned for 505 times'")
    parser.add_argument("--repair", action="store_true")
    parser.add_argument("task", nargs="+", help="options of `tersor net evaluate`, after --")
    args = parser.parse_args()
    bench = Bench(args)
    others = dict(args.set)
    program = " ".join(["nncodec", importlib.metadata.version("nncodec"), *(f"{name}={value}" for name, value in others.items())])
    if args.label:
        program = f"{program}, {args.label}"
    bench.keep(program)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        decoded, made = folder / "nncodec.safetensors", folder / "made.tersor"
        for qp in args.qp:
            size, speed = nncodec(args.net, {"qp": qp, "nonweight_qp": args.nonweight_qp} | others, decoded)
            bench.measure(program, size, decoded, speed)
            if args.repair:
                bench.measure(when_repaired(program), size, bench.repaired(decoded, folder))
            if not args.records:
                run(args.tersor, "compress", args.net, "--size", size, "-f", "-o", made, "--quiet")
                bench.measure("tersor without data", made.stat().st_size, made)


if __name__ == "__main__":
    main()
