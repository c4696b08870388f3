#!/usr/bin/env python3
"""Time and memory of the command with error feedback on one large layer (Linux).

    measure_feedback.py [--tersor target/release/tersor] [--threads 2] [--inputs 4096]

Makes a square matrix of Laplace distributed f32 weights and second moments of its inputs: neighbours of correlation 0.9, scales that
differ, and a common part. Compresses it at slopes of about 1.5 and 3 bits per weight with the coder `context`, on a trellis and without, and with
`ans`. Prints one line per command: bits per weight, seconds, seconds of processor time, and the program's own memory without mapped files.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measure_memory import measure
from safetensors.numpy import save_file


def moments(rng, n):
    """E[x x^T] of inputs, `[1, n, n]`."""
    scales = np.exp(0.5 * rng.standard_normal(n))
    at = np.arange(n)
    return (np.outer(scales, scales) * (0.2 + 0.9 ** np.abs(at[:, None] - at))).astype(np.float32)[None]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tersor", type=Path, default=Path("target/release/tersor"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inputs", type=int, default=4096)
    args = parser.parse_args()
    tersor, n = args.tersor.resolve(), args.inputs
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        net, h, small = (Path(folder) / name for name in ("net.safetensors", "h.safetensors", "net.tersor"))
        save_file({"w": (0.02 * rng.laplace(size=(n, n))).astype(np.float32)}, net)
        save_file({"w": np.full(1, 1e-3, np.float32), "w::gram": moments(rng, n)}, h)
        print(f"{'coder':22} {'slope':>6} {'bits':>5} {'seconds':>8} {'processor':>9} {'own MB':>7}")
        for coder, words in (
            ("context, trellis", ["--coder", "context"]),
            ("context", ["--coder", "context", "--no-trellis"]),
            ("ans", ["--coder", "ans"]),
        ):
            for slope in (1e-8, 1e-9):
                small.unlink(missing_ok=True)
                common = ["--sensitivity", h, "--slope", slope, "--threads", args.threads, "--quiet"]
                seconds, processor, _, own = measure([tersor, "compress", net, "-o", small, *words, *common])
                bits = 8 * small.stat().st_size / n**2
                print(f"{coder:22} {slope:6.0e} {bits:5.2f} {seconds:8.1f} {processor:9.1f} {own / 1e6:7.0f}", flush=True)


if __name__ == "__main__":
    main()
