#!/usr/bin/env python3
"""Sizes, noise and times of nncodec, and of tersor at the same sizes, on one checkpoint in one run.

    nncodec.py NET.safetensors [--qp -38 -32 -28 -24 -20 -16] [--opt-qp] [--tersor target/release]

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

# nncodec as a command: a process that reads a checkpoint, encodes it and writes the stream, and one that goes back.
ENCODE = """
import sys
from safetensors.numpy import load_file
from nncodec.nn import encode
settings = {"qp": int(sys.argv[3]), "opt_qp": sys.argv[4] == "True", "results": sys.argv[5], "verbose": False}
open(sys.argv[2], "wb").write(encode(load_file(sys.argv[1]), args=settings))
"""
DECODE = """
import sys
from safetensors.numpy import save_file
from nncodec.nn import decode
save_file(decode(bytearray(open(sys.argv[1], "rb").read())), sys.argv[2])
"""


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


def time_command(n_runs, words, output, environment=None):
    """Standard output and the seconds of the fastest of some runs of a command that makes a new file each time."""

    def call():
        done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, check=False, text=True, env=environment)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, words))}: status {done.returncode}")
        return done.stdout

    least = float("inf")
    for _ in range(n_runs):
        # Replacing a file makes the file system write it out at once, which is not what is measured.
        output.unlink(missing_ok=True)
        printed, seconds = least_time(1, call)
        least = min(least, seconds)
    return printed, least


def run_nncodec(tensors, checkpoint, qp, args, folder):
    from nncodec.nn import decode, encode

    settings = {"qp": qp, "opt_qp": args.opt_qp, "results": str(folder), "verbose": False}
    if args.nonweight_qp is not None:
        settings["nonweight_qp"] = args.nonweight_qp
    with stdout_to_stderr():
        # The encoder may change the arrays it is given.
        stream, encode_s = least_time(args.runs, lambda: encode({n: t.copy() for n, t in tensors.items()}, args=dict(settings)))
        decoded, decode_s = least_time(args.runs, lambda: decode(bytearray(stream)))
    n_bytes = len(stream)
    fp32_bytes = sum(t.nbytes for t in tensors.values())
    version = importlib.metadata.version("nncodec")
    result = row("nncodec", version, qp, n_bytes, fp32_bytes, encode_s, decode_s, noise(tensors, decoded))
    if args.keep:
        # As a checkpoint of the shapes that were given: nncodec's streams have no scalars.
        shaped = {n: np.ascontiguousarray(np.asarray(decoded[n], np.float32).reshape(t.shape)) for n, t in tensors.items()}
        save_file(shaped, args.keep / f"{args.checkpoint.stem}.qp{qp}.safetensors")
    if args.commands:
        file, back = folder / "net.nnc", folder / "nnc.safetensors"
        python = [sys.executable, "-P", "-c"]
        settings = [qp, args.opt_qp, folder]
        _, result["command_encode_s"] = time_command(args.commands, [*python, ENCODE, checkpoint, file, *settings], file)
        _, result["command_decode_s"] = time_command(args.commands, [*python, DECODE, file, back], back)
    return result


def run_tersor(tensors, checkpoint, peer, args, folder):
    """At the size of the peer's file: once searching for that size, once more at the slope that was found."""
    command = (Path(args.tersor) / "tersor").resolve()
    library = (Path(args.tersor) / "examples" / "timings").resolve()
    file, back = folder / "net.tersor", folder / "back.safetensors"
    common = ["--threads", args.threads, "--quiet"]
    compress = [command, "compress", checkpoint, "-o", file, "--json", "--alike", "--coder", args.coder, *common]
    version = subprocess.run([command, "--version"], stdout=subprocess.PIPE, check=True, text=True).stdout.split()[-1]
    report, search_s = time_command(args.runs, [*compress, "--size", peer["bytes"]], file)
    report = json.loads(report)
    at_slope = [*compress, "--slope", repr(report["slope"])]
    _, slope_s = time_command(args.runs, at_slope, file)
    time_command(1, [*compress, "--size", peer["bytes"]], file)
    _, decode_s = time_command(args.runs, [command, "decompress", file, "-o", back, *common], back)
    environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
    timed = subprocess.run(
        [library, checkpoint, str(peer["bytes"]), str(args.runs)], stdout=subprocess.PIPE, check=True, text=True, env=environment
    )
    timed = json.loads(timed.stdout)
    fp32_bytes = sum(t.nbytes for t in tensors.values())
    found = noise(tensors, load_file(back))
    result = row("tersor", version, peer["qp"], file.stat().st_size, fp32_bytes, timed["encode_s"], timed["decode_s"], found)
    result["search_s"] = round(timed["search_s"], 4)
    result["n_trials"] = timed["n_trials"]
    result["command_encode_s"] = round(slope_s, 4)
    result["command_search_s"] = round(search_s, 4)
    result["command_decode_s"] = round(decode_s, 4)
    result["noise_ratio"] = round(found / peer["noise"], 4)
    for what in ("encode", "search", "decode"):
        of_peer = "decode" if what == "decode" else "encode"
        result[f"{what}_time_ratio"] = round(peer[f"{of_peer}_s"] / timed[f"{what}_s"], 2)
        of_command = result[f"command_{what}_s"]
        result[f"command_{what}_against_library"] = round(peer[f"{of_peer}_s"] / of_command, 2)
        if args.commands:
            result[f"command_{what}_time_ratio"] = round(peer[f"command_{of_peer}_s"] / of_command, 2)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--qp", type=int, nargs="+", default=[-38, -32, -28, -24, -20, -16])
    parser.add_argument("--opt-qp", action="store_true", help="let nncodec vary the step with the size of a layer")
    parser.add_argument("--nonweight-qp", type=int, help="nncodec's step for tensors of one dimension; default: its own")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="decoded checkpoints of nncodec go there")
    parser.add_argument("--coder", default="ans", help="coder of tersor; default: ans")
    parser.add_argument("--tersor", help="folder of the command, and of examples/timings, to run beside it")
    parser.add_argument("--commands", type=int, default=0, metavar="RUNS", help="runs of nncodec as a command; default: none")
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
            peer = run_nncodec(tensors, checkpoint, qp, args, folder)
            print(json.dumps(peer), flush=True)
            if args.tersor:
                print(json.dumps(run_tersor(tensors, checkpoint, peer, args, folder)), flush=True)


if __name__ == "__main__":
    main()
