#!/usr/bin/env bash
# Compresses real networks after training, layer by layer, and measures what is left of them. One line of JSON per file, in FOLDER.
#
#     TERSOR_DATA=/path/to/data scripts/bars.sh FOLDER [NETWORK...]
#
# TERSOR names the command; without it, it is built.
#
# NETWORK is resnet32, squeezenet1_1 or stories260k; all of them without one. What is reported is measured on examples on which
# nothing was chosen or calibrated: ResNet-32 on the test images but every tenth, and on all; SqueezeNet on all but the first 150;
# stories260K on the first 150 pieces of text.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${TERSOR_DATA:?names the folder that holds weights/ and the data sets}"
out=${1:?names the folder for the results}
shift
mkdir -p "$out"
if [[ -z ${TERSOR:-} ]]; then
    cargo build --release --package tersor-cli
fi
tersor=${TERSOR:-${CARGO_TARGET_DIR:-target}/release/tersor}
weights=$TERSOR_DATA/weights

# measure NAME CHECKPOINT EXAMPLES TASK...: prints the row of a file.
measure() {
    local name=$1 checkpoint=$2 examples=$3 measured
    shift 3
    measured=$out/$name.$(tr -c '[:alnum:]\n' _ <<<"$examples").json
    "$tersor" net evaluate "$@" "$out/$name.tersor" --against "$checkpoint" --examples "$examples" --json --quiet \
        >"$measured"
    python3 - "$name" "$examples" "$measured" "$out/$name.json" <<'PYTHON'
import json, sys
name, examples, measured, made = sys.argv[1], sys.argv[2], *map(lambda p: json.load(open(p)), sys.argv[3:])
e, o, c = measured["evaluation"], measured["original"], measured["comparison"]
print(json.dumps({
    "file": name, "bytes": made["bytes"], "ratio_paper": round(made["ratio_paper"], 2), "seconds": round(made["seconds"]),
    "examples": examples, "n": e["n"], "accuracy": round(e["accuracy"], 5), "original": round(o["accuracy"], 5),
    "loss_change": round(c["loss_change"], 5), "divergence": round(c["divergence"], 5),
}), flush=True)
PYTHON
}

# row NAME CHECKPOINT CALIBRATION REPORT... -- TASK... -- TARGET...: makes a file, unless it is there, and measures it.
row() {
    local name=$1 checkpoint=$2 calibration=$3 reports=() task=()
    shift 3
    while [[ $1 != -- ]]; do reports+=("$1"); shift; done
    shift
    while [[ $1 != -- ]]; do task+=("$1"); shift; done
    shift
    if [[ ! -f $out/$name.json ]]; then
        "$tersor" net compress "${task[@]}" "$checkpoint" --examples "$calibration" "$@" \
            -f -o "$out/$name.tersor" --json --quiet >"$out/$name.tmp"
        mv "$out/$name.tmp" "$out/$name.json"
    fi
    for examples in "${reports[@]}"; do
        measure "$name" "$checkpoint" "$examples" "${task[@]}"
    done
}

resnet32() {
    local ratio
    for ratio in 15 18 21 25; do
        row "resnet32-$ratio" "$weights/resnet32-cifar10.safetensors" 0.. '!0%10' 0.. \
            -- --net resnet32 --data "$TERSOR_DATA/cifar10" -- --ratio "$ratio"
    done
}

squeezenet1_1() {
    local ratio
    for ratio in 9 12; do
        row "squeezenet1_1-$ratio" "$weights/squeezenet1_1-imagenet.safetensors" ..150 150.. \
            -- --net squeezenet1_1 --data "$TERSOR_DATA/imagenet650" -- --ratio "$ratio" --samples 150 --repair mean
    done
}

stories260k() {
    local config=$out/stories260k-config.json bpw
    cat >"$config" <<'JSON'
{"hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 5, "num_attention_heads": 8, "num_key_value_heads": 4,
 "vocab_size": 512, "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
 "tie_word_embeddings": true, "rope_interleaved": true}
JSON
    local task=(--net "llama:$config" --data "$TERSOR_DATA/text/tinystories-cased.txt"
        --tokenizer "$weights/stories260k-tok512.bin")
    local checkpoint=$weights/stories260k.safetensors fisher=$out/stories260k-fisher.safetensors
    # The embedding, which is the output matrix too, matters more than its size says.
    [[ -f $fisher ]] ||
        "$tersor" net sensitivity "${task[@]}" "$checkpoint" --examples 150.. --samples 300 -o "$fisher" --quiet
    for bpw in 3 4 5; do
        row "stories260k-$bpw" "$checkpoint" 150.. ..150 -- "${task[@]}" \
            -- --bpw "$bpw" --samples 150 --sensitivity "$fisher"
    done
}

[[ $# -gt 0 ]] || set -- resnet32 squeezenet1_1 stories260k
for network in "$@"; do
    "$network"
done
