#!/usr/bin/env bash
# Makes a virtual environment with this project in it (editable), unless it is there already.
#
#   scripts/venv.sh PYTHON DIRECTORY EXTRAS [REQUIREMENT...]
#
# A stamp file inside remembers what was installed: nothing happens while pyproject.toml, the
# interpreter and the arguments stay the same.
set -euo pipefail

python=$1
directory=$2
extras=$3
shift 3

[ -n "$python" ] || exit 1 # find-python.sh has said why
stamp=$directory/installed.txt
wanted="$python $extras $* $(cksum <pyproject.toml)"
if [ -x "$directory/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

echo "Installing $directory with $("$python" --version) (extras: $extras)${*:+, $*} ..."
rm -rf "$directory"
"$python" -m venv "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[$extras]" "$@"
echo "$wanted" >"$stamp"
