#!/usr/bin/env bash
# Prints the path of a Python interpreter that can make virtual environments.
#
#   scripts/find-python.sh          any Python >= 3.11, python3 first
#   scripts/find-python.sh 3.13     exactly that version
#
# It looks on the path, then under $PYENV_ROOT/versions (~/.pyenv unless set).
set -euo pipefail

wanted=${1:-}
if [ -n "$wanted" ]; then
    names="python$wanted python3 python"
else
    names="python3 python3.13 python3.12 python3.11 python3.14 python"
fi

# Says the real path of interpreter $1 if it is suitable. It has to be run to find out: what pyenv
# puts on the path may answer "command not found", and Debian's python3 may lack ensurepip.
suitable() {
    "$1" - "$wanted" 2>/dev/null <<'PYTHON'
import sys

version = "%d.%d" % sys.version_info[:2]
if sys.version_info < (3, 11) or sys.argv[1] not in ("", version):
    sys.exit(1)
import ensurepip, venv

print(sys.executable)
PYTHON
}

for name in $names; do
    for candidate in $(type -ap "$name" || true); do
        if found=$(suitable "$candidate"); then
            echo "$found"
            exit 0
        fi
    done
done
for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python3; do
    if [ -x "$candidate" ] && found=$(suitable "$candidate"); then
        echo "$found"
        exit 0
    fi
done

echo "No Python ${wanted:-3.11 or newer} with the modules venv and ensurepip was found on the path" \
    "or under ${PYENV_ROOT:-$HOME/.pyenv}/versions. Install one (on Debian: python3 and" \
    "python3-venv), or name one: make PYTHON=/path/to/python" >&2
exit 1
