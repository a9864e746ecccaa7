#!/usr/bin/env bash
# Builds the sdist and the wheel, and makes a new project against the wheel in an empty environment.
#
#   scripts/check-wheel.sh PYTHON BUILD_PYTHON
#
# PYTHON makes the empty environment; BUILD_PYTHON has the package `build`.
set -euo pipefail

python=$1
build_python=$2
here=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The wheel is built from the sdist, so whatever the sdist lacks is seen here.
"$build_python" -m build --outdir "$scratch/dist" "$here" >"$scratch/build.txt" 2>&1 || {
    cat "$scratch/build.txt"
    exit 1
}
ls "$scratch/dist"

"$python" -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$scratch"/dist/*.whl
cd "$scratch"
venv/bin/python -m pip check
venv/bin/django-admin startproject shop
cd shop
../venv/bin/python "$here/scripts/wheel_project.py" write
../venv/bin/python manage.py makemigrations --verbosity 0 orders
../venv/bin/python manage.py migrate --verbosity 0
../venv/bin/python manage.py migrate --verbosity 0 --database remote
../venv/bin/python manage.py check --database default --database remote
../venv/bin/python "$here/scripts/wheel_project.py" create
../venv/bin/python manage.py synchronize
../venv/bin/python manage.py synchronize
../venv/bin/python "$here/scripts/wheel_project.py" check
