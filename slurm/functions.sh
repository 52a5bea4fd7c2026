# The scripts that submit arrays source this: it sets $python, checks numbers, and quotes words for another shell.
if [ -x .venv/bin/python ]; then python=${PYTHON:-.venv/bin/python}; else python=${PYTHON:-python}; fi

positive() {
    case $2 in '' | *[!0-9]* | 0) echo "$1 must be a positive number, not '$2'" >&2; exit 2 ;; esac
}

quoted() {
    for word in "$@"; do printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"; done
}
