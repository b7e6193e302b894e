#!/bin/sh
# Trains the person detector that ships, in edged/demo/person: its card says what comes of it.
#
#   sh provisioning/person/train.sh PEOPLE COCO128 VIDEOS TEACHER.onnx WORK
#
# PEOPLE and COCO128 are data sets (folders with data.yaml), VIDEOS a folder of videos, TEACHER.onnx a person detector
# whose licence allows it: it labels every training picture, too; its weights are not used. Everything is kept in WORK;
# the same command goes on where an earlier one was stopped. PYTHON names the interpreter (default: .venv/bin/python).
set -eu
[ $# -eq 5 ] || { sed -n '2,8p' "$0"; exit 2; }
people=$1 coco128=$2 videos=$3 teacher=$4 work=$5
here=$(dirname "$0")
python=${PYTHON:-.venv/bin/python}
mkdir -p "$work"

provision() { "$python" -m provisioning "$@"; }

[ -d "$work/coco128" ] || provision dataset convert "$coco128" --from yolo --only person --to "$work/coco128"
[ -d "$work/scenes" ] || provision dataset render --to "$work/scenes" --train 220 --val 20 --seed 100000
[ -d "$work/frames" ] || provision sample "$videos"/*.mp4 --count 320 --verification 20 --out "$work/frames"
printf 'person\n' >"$work/names.txt"
cat >"$work/data.yaml" <<END
train:
  - $people/images/train
  - $work/coco128/images/train
  - $work/scenes/images/train
  - $work/frames
val: $people/images/val
names: [person]
END

# phase NUMBER SIDE EPOCHS WEIGHTS: two processes of one thread each get further than one of two.
phase() {
  [ -e "$work/runs/$1/done" ] && return
  resume=
  [ -e "$work/runs/$1/last.pt" ] && resume=--resume
  [ -e "$work/models/teacher-$2" ] ||
    provision import "$teacher" --name "teacher-$2" --size "$2" --names "$work/names.txt" --store "$work/models"
  OMP_NUM_THREADS=1 "$python" -m torch.distributed.run --standalone --nproc-per-node 2 -m provisioning train \
    --data "$work/data.yaml" --teacher "$work/models/teacher-$2" --model n --weights "$4" --keep-anchors \
    --hyper "$here/$1.toml" --size "$2" --epochs "$3" --batch-size 16 --workers 1 --cache-gb 3 --val-every 5 \
    --patience 0 --local-normalisation --runs "$work/runs" --name "$1" $resume
  touch "$work/runs/$1/done"
}
phase small 192 36 none
phase middle 256 20 "$work/runs/small/last.pt"
phase large 320 7 "$work/runs/middle/last.pt"
provision import "$work/runs/large/last.pt" --name people --size 320 --licence Apache-2.0 --store "$work/models"
provision val --data "$work/data.yaml" --model "$work/models/people"
