#!/usr/bin/env python3
"""Sizes, noise and times of nncodec, and of tersor at the same sizes, on one checkpoint in one run.

    nncodec.py NET.safetensors [--qp -38 -32 -28 -24 -20 -16] [--opt-qp] [--tersor target/release/tersor]

Prints one JSON object per line: first the input, then one per program and size. README.md beside this file says how to set up
the environment and what the fields mean.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

# This file has the name of the package: its folder must not come first where modules are looked for.
sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).resolve().parent]

MB = 1e6


def load(path):
    """Float tensors as f32, and the names of all others: nncodec takes f32 and i32 only, and is made for weights."""
    tensors, left_out = {}, []
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():
            is_float = file.get_slice(name).get_dtype() in ("F32", "F16")
            tensor = file.get_tensor(name) if is_float else None
            if is_float and tensor.ndim and tensor.size and np.isfinite(tensor).all():
                tensors[name] = np.ascontiguousarray(tensor, dtype=np.float32)
            else:
                left_out.append(name)
    return tensors, left_out


@contextlib.contextmanager
def stdout_to_stderr():
    """What nncodec prints, also from its extension, must not mix with the results."""
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


def least_time(n_runs, f):
    """The result of the last run and the seconds of the fastest."""
    least = float("inf")
    for _ in range(n_runs):
        start = time.perf_counter()
        result = f()
        least = min(least, time.perf_counter() - start)
    return result, least


def noise(original, decoded):
    """Squared error over energy."""
    error = energy = 0.0
    for name, a in original.items():
        a, b = a.astype(np.float64), np.asarray(decoded[name]).astype(np.float64)
        if a.shape != b.shape:
            sys.exit(f"{name}: shape {a.shape} became {b.shape}")
        error += np.sum((a - b) ** 2)
        energy += np.sum(a**2)
    return error / energy


def row(program, version, size, n_bytes, fp32_bytes, encode_s, decode_s, found_noise):
    return {
        "program": program,
        "version": version,
        "qp": size,
        "bytes": n_bytes,
        "bpw": round(32 * n_bytes / fp32_bytes, 4),
        "noise": float(f"{found_noise:.4e}"),
        "encode_s": round(encode_s, 4),
        "decode_s": round(decode_s, 4),
        "encode_mb_s": round(fp32_bytes / MB / encode_s, 2),
        "decode_mb_s": round(fp32_bytes / MB / decode_s, 2),
    }


def run_nncodec(tensors, qp, args, folder):
    from nncodec.nn import decode, encode

    settings = {"qp": qp, "opt_qp": args.opt_qp, "results": str(folder), "verbose": False}
    with stdout_to_stderr():
        # The encoder may change the arrays it is given.
        stream, encode_s = least_time(args.runs, lambda: encode({n: t.copy() for n, t in tensors.items()}, args=dict(settings)))
        decoded, decode_s = least_time(args.runs, lambda: decode(bytearray(stream)))
    n_bytes = len(stream)
    fp32_bytes = sum(t.nbytes for t in tensors.values())
    version = importlib.metadata.version("nncodec")
    return row("nncodec", version, qp, n_bytes, fp32_bytes, encode_s, decode_s, noise(tensors, decoded))


def run_tersor(tensors, checkpoint, peer, args, folder):
    """The command at the size of the peer's file: once searching for that size, once more at the slope that was found."""
    command = str(Path(args.tersor).resolve())
    file, back = folder / "net.tersor", folder / "back.safetensors"

    def call(*words):
        common = ["--force", "--threads", str(args.threads), "--quiet"]
        done = subprocess.run([command, *map(str, words), *common], stdout=subprocess.PIPE, check=False, text=True)
        if done.returncode != 0:
            sys.exit(f"{command} {' '.join(map(str, words))}: status {done.returncode}")
        return done.stdout

    version = subprocess.run([command, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout.split()[-1]
    compress = ["compress", checkpoint, "-o", file, "--json"]
    report, search_s = least_time(args.runs, lambda: call(*compress, "--size", peer["bytes"]))
    report = json.loads(report)
    _, slope_s = least_time(args.runs, lambda: call(*compress, "--slope", repr(report["slope"]), "--coder", report["coder"]))
    call(*compress, "--size", peer["bytes"])
    _, decode_s = least_time(args.runs, lambda: call("decompress", file, "-o", back))
    fp32_bytes = sum(t.nbytes for t in tensors.values())
    found = noise(tensors, load_file(back))
    result = row("tersor", version, peer["qp"], file.stat().st_size, fp32_bytes, slope_s, decode_s, found)
    result["search_s"] = round(search_s, 4)
    result["noise_ratio"] = round(found / peer["noise"], 4)
    result["encode_time_ratio"] = round(peer["encode_s"] / slope_s, 3)
    result["search_time_ratio"] = round(peer["encode_s"] / search_s, 3)
    result["decode_time_ratio"] = round(peer["decode_s"] / decode_s, 3)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[-38, -32, -28, -24, -20, -16])
    parser.add_argument("--opt-qp", action="store_true", help="let nncodec vary the step with the size of a layer")
    parser.add_argument("--tersor", help="path of the command to run beside it")
    parser.add_argument("--threads", type=int, default=1, help="threads of tersor; nncodec uses one")
    parser.add_argument("--runs", type=int, default=3, help="runs of everything; the least time counts")
    args = parser.parse_args()
    tensors, left_out = load(args.checkpoint)
    if not tensors:
        sys.exit(f"{args.checkpoint} holds no tensors that nncodec takes")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        checkpoint = folder / "net.safetensors"
        save_file(tensors, checkpoint)
        fp32_bytes = sum(t.nbytes for t in tensors.values())
        about = {
            "input": args.checkpoint.name,
            "n_tensors": len(tensors),
            "fp32_bytes": fp32_bytes,
            "left_out": left_out,
            "opt_qp": args.opt_qp,
            "threads": args.threads,
            "runs": args.runs,
        }
        print(json.dumps(about), flush=True)
        for qp in args.qp:
            peer = run_nncodec(tensors, qp, args, folder)
            print(json.dumps(peer), flush=True)
            if args.tersor:
                print(json.dumps(run_tersor(tensors, checkpoint, peer, args, folder)), flush=True)


if __name__ == "__main__":
    main()
