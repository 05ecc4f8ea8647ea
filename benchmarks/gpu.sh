#!/usr/bin/env bash
# What was not run on a GPU yet, the most wanted first: speed, then trainings.
#
#   benchmarks/gpu.sh OUT DATA [PART...]
#
# OUT gets a folder and a log for each part. DATA has cifar10, camvid, bsds500 and grocery. Without PART all run, one
# after another, each for $LIMIT seconds at most (an hour). What has ended is left out when it is called again, and
# trainings go on where they were stopped. DLA is the command (python3 -m dla).
set -euo pipefail
if (($# < 2)); then
    sed -n '2,/^set/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
out=$(mkdir -p "$1" && realpath "$1") data=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
shift 2
wanted=" $* "
read -ra dla <<<"${DLA:-python3 -m dla}"

part() { # NAME COMMAND...: run it unless it has ended, or is not wanted
    local name=$1 code=0
    shift
    [[ -e $out/$name.done || ($wanted != "  " && $wanted != *" $name "*) ]] && return
    printf '%s: %s\n' "$name" "$*"
    timeout --kill-after 60 "${LIMIT:-3600}" "$@" 2>&1 | tee -a "$out/$name.log" || code=$?
    if ((code)); then printf '%s ended with code %s: %s\n' "$name" "$code" "$out/$name.log"; else touch "$out/$name.done"; fi
}

speed() { # NAME ARGUMENTS...: a benchmark
    part "$1" "${dla[@]}" benchmark "${@:2}" --device cuda --output "$out/$1"
}

train() { # NAME RECIPE ARGUMENTS...: a training, or the rest of one
    local run=$out/$1
    if [[ -e $run/config.yaml ]]; then
        part "$1" "${dla[@]}" fit --config "$run/config.yaml" --ckpt_path last
    else
        part "$1" "${dla[@]}" fit --config "recipes/$2" "${@:3}" --model.compile true --trainer.default_root_dir "$run"
    fi
}

compare() { # NAME STUDY ARGUMENTS...: it goes on by itself
    part "$1" "${dla[@]}" compare "studies/$2" "${@:3}" --output "$out/$1"
}

speed training_compiled dla34 timm/dla34 --precision bfloat16 --engines none --training 256 --compile --rounds 7 --seconds 0.5
speed training dla34 timm/dla34 timm/resnet34 --precision bfloat16 --engines none --training 64,256 --rounds 5 --seconds 0.5
speed autotuned dla34=eager timm/dla34=max-autotune --precision bfloat16 --batch 1,32,256
speed engines dla34=eager,compile,tensorrt timm/dla34=plain,tensorrt --batch 1,32,256
speed training_float32 dla34 timm/dla34 timm/resnet34 --engines none --training 64 --rounds 5 --seconds 0.5
speed curve --curve dla34,dla60 --training 64
train cifar10_dla34 classification/cifar10_dla34.yaml --data.root "$data/cifar10"
train camvid_dla34up segmentation/camvid_dla34up.yaml --data.root "$data/camvid"
train bsds500_dla34up boundaries/bsds500_dla34up.yaml --data.root "$data/bsds500"
train grocery classification/grocery.yaml --data.root "$data/grocery"
compare figure1 figure1_cifar10.yaml --data.root "$data/cifar10"
compare peers peers_cifar10.yaml --data.root "$data/cifar10"
