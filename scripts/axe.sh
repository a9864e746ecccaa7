#!/usr/bin/env bash
# Installs axe-core, which the browser tests look at pages with, unless it is there already.
#
#   scripts/axe.sh [DIRECTORY]
#
# DIRECTORY is .venv/axe unless given. Where npm is missing or cannot reach its registry, the tests
# that need axe-core are skipped and say so; with SYNCHRO_REQUIRE_BROWSER set it is an error.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=${1:-.venv/axe}
wanted='axe-core@~4.14.1'
stamp=$directory/installed.txt
if [ -f "$directory/node_modules/axe-core/axe.min.js" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

# Tells why it is missing; that is no mistake unless it is required.
give_up() {
    echo "$1" >&2
    [ -z "${SYNCHRO_REQUIRE_BROWSER:-}" ]
    exit
}

command -v npm >/dev/null || give_up "npm is missing, so axe-core is not installed (scripts/browser.sh installs it)"
echo "Installing $directory with npm ($wanted) ..."
mkdir -p "$directory"
npm install --prefix "$directory" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "$wanted" \
    || give_up "npm could not install $wanted"
echo "$wanted" >"$stamp"
