#!/usr/bin/env bash
# Writes the tables and pictures of docs/results/quantizers/, every method, scope and coder at 2, 3 and 4 bits per weight on
# real networks, and those of docs/results/limit/, how far methods are from the rate-distortion bound. TERSOR_DATA names the
# folder that holds weights/ with them, TERSOR the command; without it, it is built.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${TERSOR_DATA:?names the folder that holds weights/}"
if [[ -z ${TERSOR:-} ]]; then
    cargo build --release --package tersor-cli
fi
tersor=${TERSOR:-${CARGO_TARGET_DIR:-target}/release/tersor}
out=docs/results/quantizers
limit=docs/results/limit
mkdir -p "$out" "$limit"

sweep() {
    local name=$1 net=$2
    shift 2
    "$tersor" sweep "$TERSOR_DATA/weights/$net.safetensors" "$@" --feedback off --coders fixed,huffman,ans,context --bpw 2,3,4 >"$out/$name.md"
    "$tersor" sweep "$TERSOR_DATA/weights/$net.safetensors" "$@" --feedback off --coders context --bpw 1,1.5,2,2.5,3,3.5,4,5 \
        --svg "$out/$name.svg" --force >/dev/null
    "$tersor" sweep "$TERSOR_DATA/weights/$net.safetensors" "$@" --bound --coders ans --bpw 1,1.5,2,2.5,3,4,5 \
        --svg "$limit/$name.svg" --force --json >"$limit/$name.json"
    gaps "$limit/$name.json" >"$limit/$name.md"
}

# A table of what a sweep with --bound found.
gaps() {
    python3 - "$1" <<'END'
import json, sys

columns = ["method", "scope", "target_bpw", "file_bytes", "bpw", "entropy_bpw", "bound_bpw", "gap_bpw"]
cell = lambda value: "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
print(*columns, sep=" | ")
print(*["---"] * len(columns), sep=" | ")
for point in json.load(open(sys.argv[1])):
    print(*[cell(point.get(column)) for column in columns], sep=" | ")
END
}

main() {
    sweep resnet32-fisher resnet32-cifar10 --sensitivity "$TERSOR_DATA/weights/resnet32-cifar10.fisher.safetensors"
    sweep resnet32 resnet32-cifar10 --alike
    sweep squeezenet1_1 squeezenet1_1-imagenet --alike
    sweep stories260k stories260k --alike
}

# On one line: bash has read all of this file before it starts, so that a change to it does no harm to a run.
main; exit
