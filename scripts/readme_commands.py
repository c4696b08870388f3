#!/usr/bin/env python3
"""Runs the commands that a Markdown file shows.

    readme_commands.py README.md FOLDER

Every block fenced with ```sh that follows a line `<!-- ci -->` is run with `bash -euo pipefail` in FOLDER, in order, so
that later blocks find what earlier ones wrote. Status 1 if a block fails, or if there is none.
"""

import pathlib
import subprocess
import sys

MARK = "<!-- ci -->"


def blocks(text):
    """Line number and content of every marked block."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.strip() != MARK:
            continue
        start = i + 1
        while start < len(lines) and not lines[start].strip():
            start += 1
        if start == len(lines) or lines[start].strip() != "```sh":
            sys.exit(f"line {i + 1}: {MARK} is not followed by a block fenced with ```sh")
        end = start + 1
        while end < len(lines) and lines[end].strip() != "```":
            end += 1
        if end == len(lines):
            sys.exit(f"line {start + 1}: the block does not end")
        yield start + 1, "\n".join(lines[start + 1 : end]) + "\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    path, folder = pathlib.Path(sys.argv[1]), sys.argv[2]
    found = list(blocks(path.read_text(encoding="utf-8")))
    if not found:
        sys.exit(f"{path}: no block is marked with {MARK}")
    for line, commands in found:
        print(f"-- {path}:{line}\n{commands}", end="", flush=True)
        status = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=folder, stdin=subprocess.DEVNULL).returncode
        if status != 0:
            sys.exit(f"{path}:{line}: status {status}")


if __name__ == "__main__":
    main()
