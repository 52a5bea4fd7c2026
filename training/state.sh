#!/bin/sh
# Ask how far a training is: sh training/state.sh CONFIG [OPTIONS OF THE TRAINING ...]; see training/state.py.
#
# TRAIN_ARGS holds more options, as in training/launch.sh. The interpreter is the checkout's, because PYTHON may be one
# that only the nodes have.
if [ -x .venv/bin/python ]; then python=.venv/bin/python; else python=${PYTHON:-python}; fi
# shellcheck disable=SC2086  # TRAIN_ARGS is several words or none
exec "$python" -m training.state "$@" ${TRAIN_ARGS:-}
