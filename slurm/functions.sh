# What the launchers share; they source it in the repository's root. It sets two interpreters:
#   $python        for the jobs: PYTHON, or else this checkout's environment
#   $local_python  for this machine: the checkout's environment first, because PYTHON may exist on the nodes only
if [ -x .venv/bin/python ]; then local_python=.venv/bin/python; else local_python=${PYTHON:-python}; fi
python=${PYTHON:-$local_python}

# End with status 2 unless $2 is a positive number; $1 names it.
positive() {
    case $2 in '' | *[!0-9]* | 0) echo "$1 must be a positive number, not '$2'" >&2; exit 2 ;; esac
}

# Print the arguments quoted, as words for another shell.
quoted() {
    for word in "$@"; do printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
}

# Print how far the training of config $1 is, with the options $2 ... and TRAIN_ARGS: see training/state.py.
training_state() {
    # shellcheck disable=SC2086  # TRAIN_ARGS is several words or none
    "$local_python" -m training.state "$@" ${TRAIN_ARGS:-}
}
