#!/bin/bash
# Runs the tests as an ordinary user, who reaches neither the build nor what root has installed, in a directory for this
# user alone whose path is no plain word: all unit tests, and those of the tools that FILTER... selects. Tests that need
# root are skipped, and then run by root, for whom alone the directory is by then.
#
#   cargo test --no-run --message-format=json ... | test_as_user.sh TARGET-DIRECTORY FILTER...
set -euo pipefail
programs=$1/checked
shift
if [ "$(id -u)" != 0 ]; then
    echo "test_as_user: this is an ordinary user, who runs all tests"
    exit
fi
tests=$(python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"]:
        print(message["target"]["kind"][0], message["target"]["name"], message["executable"], sep="\t")
')
[ -n "$tests" ] || { echo "test_as_user: there is nothing to run" >&2; exit 1; }

top=$(mktemp -d)
# Open MPI's jobs that start at the same time race for the directory of their user, and one fails.
session=/tmp/ompi.$(uname -n).65534
trap 'rm -rf "$top" "$session"' EXIT
mkdir -p "$session/held"
chown -R 65534:65534 "$session"
chmod 700 "$session"
place="$top/nur für mich/suite"
# Where cargo puts them, since the tests look for the programs beside their own.
build=$place/target/mpi/checked
mkdir -p "$build/deps"
rsync -a --exclude=/target --exclude=.git ./ "$place/"
mkdir "$place/target/venv"
cp -a target/venv/. "$place/target/venv/"
# The interpreter, too, may be one that only root reaches.
interpreter=$(realpath target/venv/bin/python)
if ! setpriv --reuid=65534 --regid=65534 --clear-groups test -x "$interpreter"; then
    # Without its own tests and headers, which are most of it.
    rsync -a --exclude='/lib/python*/test' --exclude='/lib/python*/config-*' --exclude=/include --exclude=__pycache__ \
        "$(dirname "$interpreter")/../" "$place/target/python"
    ln -sfn "../../python/bin/$(basename "$interpreter")" "$place/target/venv/bin/python3"
    sed -i "s|^home = .*|home = $place/target/python/bin|" "$place/target/venv/pyvenv.cfg"
fi
find "$programs" -maxdepth 1 -type f -perm -u+x ! -name '*-[0-9]*' -exec cp -t "$build" {} +
while IFS=$'\t' read -r _ _ program; do cp "$program" "$build/deps/"; done <<<"$tests"

own() { chown -R "$1" "$top" && chmod 700 "$top" "$top"/*; }

# run PROGRAM ARGUMENT...: CARGO_MANIFEST_DIR and INSTA_WORKSPACE_ROOT lead to the sources.
run() {
    local program
    program=$build/deps/$(basename "$1")
    shift
    (cd "$place" && "${user[@]}" CARGO_MANIFEST_DIR="$place/tests" INSTA_WORKSPACE_ROOT="$place" \
        CARGO_TARGET_DIR="$place/target/mpi" "$program" "$@")
}

failed=
own 65534:65534
user=(setpriv --reuid=65534 --regid=65534 --clear-groups env SUITE_NO_SKIP=0 HOME="$place")
[ ! -e "$place/target/python" ] || user+=(LD_LIBRARY_PATH="$place/target/python/lib")
while IFS=$'\t' read -r kind name program; do
    case $kind/$name in
    lib/*) run "$program" --quiet || failed+=" $name" ;;
    test/tools)
        tools=$program
        run "$program" "$@" 2>"$top/skipped" || failed+=" $name"
        cat "$top/skipped" >&2
        ;;
    esac
done <<<"$tests"

own 0:0
user=(env SUITE_NO_SKIP=1)
mapfile -t skipped < <(sed -n 's/^SKIPPED \(.*\): it needs .*/\1/p' "$top/skipped" | sort -u)
[ ${#skipped[@]} = 0 ] || run "$tools" --exact "${skipped[@]}" || failed+=" tools, as root"
[ -z "$failed" ] || { echo "test_as_user: failed:$failed" >&2; exit 1; }
