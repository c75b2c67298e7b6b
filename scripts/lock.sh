#!/bin/sh
# Makes the lock files again with uv (https://docs.astral.sh/uv): versions stay unless pyproject.toml forbids them;
# --upgrade-package NAME, or --upgrade, takes newer ones.
#
# torch is apart: its CPU build is not among PyPI's files, and pip would pass it over for one of those if their hashes
# stood beside its own. That build must be on offer to pip, and to uv in UV_FIND_LINKS or UV_INDEX.
set -e
cd "$(dirname "$0")/.."
torch=2.13.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf 'torch==%s+cpu\n' $torch >"$work/cpu.in"
printf 'torch==%s\n' $torch >"$work/torch.in"
printf 'hatchling\neditables\n' >"$work/build.in" # for the editable install of sym3d itself

export UV_CUSTOM_COMPILE_COMMAND="sh scripts/lock.sh"
lock() { uv pip compile --quiet --universal --python-version 3.11.5 --generate-hashes --no-annotate "$@"; }
lock pyproject.toml "$work/build.in" "$work/cpu.in" --extra dev --extra docs --extra fuzz --no-emit-package torch -o requirements.lock "$@"
UV_FIND_LINKS="" UV_INDEX="" lock "$work/torch.in" --constraint requirements.lock -o torch.lock

pip download --quiet --no-deps --requirement "$work/cpu.in" --dest "$work"
printf '# made by: sh scripts/lock.sh\ntorch==%s+cpu \\\n    %s\n' $torch "$(pip hash "$work"/*.whl | tail -n 1)" >torch-cpu.lock
