#!/usr/bin/env bash
# Installs what the browser tests need from the system: Chromium and npm, unless they are there
# already. On Debian as root it does so with apt-get; otherwise it says what is missing, and how to
# get it.
set -euo pipefail

missing=()
if [ -z "${SYNCHRO_CHROMIUM:-}" ]; then
    found=
    for name in chromium chromium-browser google-chrome; do
        found=${found:-$(command -v "$name" || true)}
    done
    [ -n "$found" ] || missing+=(chromium)
fi
command -v npm >/dev/null || missing+=(npm)
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --no-install-recommends --yes "${missing[@]}"
    exit
fi
echo "The browser tests need ${missing[*]}. On Debian: sudo apt-get install ${missing[*]}." \
    "A Chromium in another place is named by SYNCHRO_CHROMIUM=/path/to/chromium." >&2
exit 1
