#!/usr/bin/env python3
"""Memory and time of the command on a large synthetic checkpoint, with one thread and with two (Linux).

    measure_memory.py [--tersor target/release/tersor] [--tensors 96] [--threads 1 2]

Makes a checkpoint of bell-shaped f32 weights, 4 MiB a tensor (96 of them: 403 MB), and sensitivities of the same size, in a
temporary folder (about 1.3 GB with what comes out). Prints one line per command: seconds, seconds of processor time, the largest
resident set, mapped files included, and the largest part of it that is the program's own memory.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SIDE = 1024


def write_checkpoint(path, n_tensors, tensor):
    """A safetensors file written tensor by tensor."""
    n_bytes = 4 * SIDE * SIDE
    entry = lambda i: {"dtype": "F32", "shape": [SIDE, SIDE], "data_offsets": [i * n_bytes, (i + 1) * n_bytes]}
    header = json.dumps({f"layer{i}.weight": entry(i) for i in range(n_tensors)}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for i in range(n_tensors):
            file.write(tensor(i).astype("<f4").tobytes())


def own_bytes(pid):
    """Resident memory that is no file's."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return sum(1024 * int(line.split()[1]) for line in status if line.startswith("RssAnon"))
    except (OSError, IndexError):
        return 0


def measure(words):
    """Seconds, processor seconds, largest resident set and largest own memory, which is looked at every few milliseconds."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, words)))
    largest = [0]

    def watch():
        while process.returncode is None:
            largest[0] = max(largest[0], own_bytes(process.pid))
            time.sleep(0.003)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    watcher.join()
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: status {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss, largest[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tersor", type=Path, default=Path("target/release/tersor"))
    parser.add_argument("--tensors", type=int, default=96)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    tersor = args.tersor.resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        net, h, small, back = (folder / name for name in ("net.safetensors", "h.safetensors", "net.tersor", "back.safetensors"))
        rng = np.random.default_rng(1)
        normal = lambda: rng.standard_normal((SIDE, SIDE), dtype=np.float32)
        write_checkpoint(net, args.tensors, lambda i: 0.02 * (1 + i / 8) * normal())
        write_checkpoint(h, args.tensors, lambda _: np.exp(normal()))
        compress = ["compress", net, "-o", small, "--bpw", 3, "--coder", "ans"]
        commands = {
            "compress": compress,
            "compress, one codebook": [*compress, "--scope", "global"],
            "compress, sensitivities": [*compress, "--sensitivity", h],
            "compress, sensitivities, one codebook": [*compress, "--sensitivity", h, "--scope", "global"],
            "verify": ["verify", small],
            "decompress": ["decompress", small, "-o", back],
        }
        print(f"{net.stat().st_size / 1e6:.0f} MB of f32, the sensitivities as much")
        print(f"{'command':40} {'threads':>7} {'seconds':>8} {'processor':>9} {'resident MB':>12} {'own MB':>8}")
        for name, words in commands.items():
            for n in args.threads:
                for output in (back, small)[: 2 if words[0] == "compress" else 1]:
                    output.unlink(missing_ok=True)
                seconds, processor, resident, own = measure([tersor, *words, "--threads", n, "--quiet"])
                print(f"{name:40} {n:7} {seconds:8.2f} {processor:9.2f} {resident / 1e6:12.0f} {own / 1e6:8.0f}", flush=True)


if __name__ == "__main__":
    main()
