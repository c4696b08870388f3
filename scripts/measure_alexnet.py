#!/usr/bin/env python3
"""Size, time and memory of the command on a pruned network of AlexNet's size (Linux).

    measure_alexnet.py [--tersor target/release/tersor] [--threads 2] [--json FILE]

Makes 61 million f32 weights in AlexNet's shapes, Laplace distributed with deviations that fall with the fan-in, of which the largest
remain: in each layer the share that S. Han, J. Pool, J. Tran, W. Dally, "Learning both weights and connections", 2015, kept, 11 %
in all; and log-normal sensitivities. Compresses them as in the paper's Table 1 (one codebook, Huffman codes, gaps) at its ratios and with
the adaptive coder at the last of them, decodes each file and compares: pruned weights have to come back as zeros. Prints one line per
command: bytes, ratio, seconds, seconds of processor time, the program's own memory without mapped files, and squared error over energy;
the same goes to a file if asked for.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from measure_memory import measure
from safetensors.numpy import load_file, save_file

# Name, shape, share that is kept.
LAYERS = [
    ("features.0", (64, 3, 11, 11), 0.84),
    ("features.3", (192, 64, 5, 5), 0.38),
    ("features.6", (384, 192, 3, 3), 0.35),
    ("features.8", (256, 384, 3, 3), 0.37),
    ("features.10", (256, 256, 3, 3), 0.37),
    ("classifier.1", (4096, 9216), 0.09),
    ("classifier.4", (4096, 4096), 0.09),
    ("classifier.6", (1000, 4096), 0.25),
]


def layer(rng, shape, keep):
    """Weights of which the largest remain."""
    weights = rng.laplace(scale=1 / np.sqrt(2 * np.prod(shape[1:])), size=shape).astype(np.float32)
    least = np.partition(np.abs(weights), int((1 - keep) * weights.size), axis=None)[int((1 - keep) * weights.size)]
    weights[np.abs(weights) < least] = 0
    return weights


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tersor", type=Path, default=Path("target/release/tersor"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    args = parser.parse_args()
    tersor = args.tersor.resolve()
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        net, h, small, back = (Path(folder) / name for name in ("net.safetensors", "h.safetensors", "net.tersor", "back.safetensors"))
        weights, sensitivities = {}, {}
        for name, shape, keep in LAYERS:
            for part, value in (("weight", layer(rng, shape, keep)), ("bias", 0.01 * rng.standard_normal(shape[0], np.float32))):
                weights[f"{name}.{part}"] = value
                sensitivities[f"{name}.{part}"] = np.exp(rng.standard_normal(value.shape, np.float32))
        save_file(weights, net)
        save_file(sensitivities, h)
        n = sum(w.size for w in weights.values())
        kept = sum(np.count_nonzero(w) for w in weights.values())
        print(f"{n:,} weights, {100 * kept / n:.1f} % kept")
        paper = ["--scope", "global", "--coder", "huffman", "--sensitivity", h]
        commands = {
            "k-means": ["--method", "kmeans", *paper, "--ratio", 30.53],
            "Hessian-weighted k-means": ["--method", "hessian-kmeans", *paper, "--ratio", 33.71],
            "uniform": ["--method", "uniform", *paper, "--ratio", 40.65],
            "grids, context": ["--sensitivity", h, "--ratio", 40.65],
        }
        rows = []
        print(f"{'files':26} {'bytes':>10} {'ratio':>6} {'seconds':>8} {'processor':>9} {'own MB':>7} {'noise':>8}")
        for name, words in commands.items():
            for file in (small, back):
                file.unlink(missing_ok=True)
            common = ["--threads", args.threads, "--quiet"]
            compressed = measure([tersor, "compress", net, "-o", small, *words, *common])
            decoded = measure([tersor, "decompress", small, "-o", back, *common])
            found = load_file(back)
            error = sum(float(np.sum((found[k].astype(np.float64) - w) ** 2)) for k, w in weights.items())
            energy = sum(float(np.sum(w.astype(np.float64) ** 2)) for w in weights.values())
            assert all(np.all(found[k][w == 0] == 0) for k, w in weights.items()), "a pruned weight came back"
            size = small.stat().st_size
            row = {"quantizer": name, "bytes": size, "ratio": 4 * n / size, "noise": error / energy}
            for title, what, (seconds, processor, _, own) in (
                ("compressed", f"{error / energy:8.4f}", compressed),
                ("decoded", "", decoded),
            ):
                first = name if title == "compressed" else f"  {title}"
                print(
                    f"{first:26} {size:10,} {4 * n / size:6.2f} {seconds:8.2f} {processor:9.2f} {own / 1e6:7.0f} {what}",
                    flush=True,
                )
                row[title] = {"seconds": round(seconds, 3), "processor_seconds": round(processor, 3), "own_bytes": own}
            rows.append(row)
    if args.json:
        report = {"parameters": n, "kept": int(kept), "threads": args.threads, "rows": rows}
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
