#!/usr/bin/env python3
"""Checks ARCHITECTURE.md against the tree: the files it names exist, and its table has every direct dependency and its users.

    check_architecture.py        in the root of the repository; status 1 with what is wrong
"""

import pathlib
import re
import sys
import tomllib

SHORT_NAMES = {
    "tersor-codec": "codec",
    "tersor-data": "data",
    "tersor-nets": "nets",
    "tersor-quant": "quant",
    "tersor": "tersor",
    "tersor-cli": "cli",
}


def named_files(text, paths):
    """Complaints about names in code quotes that look like files or folders and end no path of the tree."""
    for name in sorted(set(re.findall(r"`([\w./-]+(?:\.(?:rs|py|md|toml)|/))`", text))):
        if not any(("/" + path).endswith("/" + name) or f"/{name}" in f"/{path}/" for path in paths):
            yield f"there is no {name}"


def dependencies(text):
    """Complaints about the table, which has rows of crates, users, reason."""
    users = {}
    for manifest in sorted(pathlib.Path("crates").glob("*/Cargo.toml")):
        crate = tomllib.loads(manifest.read_text(encoding="utf-8"))
        short = SHORT_NAMES.get(crate["package"]["name"], crate["package"]["name"])
        for name in crate.get("dependencies", {}):
            if name not in SHORT_NAMES:
                users.setdefault(name, set()).add(short)
    stated = {}
    table = text.partition("## Dependencies")[2].partition("\n## ")[0]
    for names, crates in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", table, re.MULTILINE):
        for name in re.findall(r"`([^`]*)`", names):
            stated[name] = set(crates.split(", "))
    for name in sorted(users.keys() | stated.keys()):
        if users.get(name) != stated.get(name):
            yield f"{name} is used by {sorted(users.get(name, []))}, the table says {sorted(stated.get(name, []))}"


def main():
    text = pathlib.Path("ARCHITECTURE.md").read_text(encoding="utf-8")
    skipped = {".git", "target"}
    paths = [p.as_posix() for top in pathlib.Path(".").iterdir() if top.name not in skipped for p in [top, *top.rglob("*")]]
    complaints = [*named_files(text, paths), *dependencies(text)]
    if complaints:
        sys.exit("ARCHITECTURE.md: " + "\n".join(complaints))


if __name__ == "__main__":
    main()
