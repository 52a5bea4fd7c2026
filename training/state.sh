#!/bin/sh
# Ask how far a training is: sh training/state.sh CONFIG [OPTIONS OF THE TRAINING ...]; see training/state.py.
#
# TRAIN_ARGS holds more options, as in training/launch.sh. The interpreter is the checkout's, because PYTHON may be one
# that only the nodes have. Where there is no run at all, there is nothing to ask.
config=$1
case "$config $* ${TRAIN_ARGS:-} " in
    /* | *" --recover "* | *" --experiments"* | *save_path* | *" --datetime"*) ;;
    *)
        runs=${config%%/*}/experiments/$(sed -n 's/^save_path: *//p' "$config")
        ls "$runs"/*/ckpt_iter_* > /dev/null 2>&1 || { echo start; exit 0; }
        ;;
esac
if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=${PYTHON:-python}; fi
# shellcheck disable=SC2086  # TRAIN_ARGS is several words or none
exec "$python" -m training.state "$@" ${TRAIN_ARGS:-}
