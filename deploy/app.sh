#!/bin/sh
# Build dist/robustforensics.pex: the commands of analysts, their packages, the shipped weights and the detector's in
# one file. It runs where the same minor version of Python is installed, on the same kind of processor, without a
# network. `make app` calls this. What git has not committed is not in it.
#
# pex rather than shiv: both unpack themselves into a cache at the first start, but only pex falls back to a temporary
# folder where the home is read-only, checks the hashes of the lock, and runs from a virtual environment of its own, so
# that worker processes start as everywhere else.
set -eu
cd "$(dirname "$0")/.."
python=.venv/bin/python
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
git archive HEAD common faces training image_based video_based pretrain inference forensics docs/reference/schemas \
    requirements-score.lock LICENSE | tar -x -C "$stage"
git rev-parse HEAD > "$stage/common/commit.txt"
$python -m pretrain.retinaface
weights=$($python -c 'from faces.detector import default_weights; print(default_weights())')
mkdir -p "$stage/inference/face_detect_ckpt" dist
cp "$weights" "$stage/inference/face_detect_ckpt/"
$python -m pex --venv --no-build --intransitive -r requirements-score.lock -D "$stage" -m forensics.app \
    -o dist/robustforensics.pex
ls -l dist/robustforensics.pex
