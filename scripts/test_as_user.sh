#!/bin/bash
# Runs a part of the tests as an ordinary user, who reaches neither the build nor what root has installed: all unit
# tests, and the tests of the tools that FILTER... selects. Tests that need root report that they are skipped.
#
#   cargo test --no-run --message-format=json ... | test_as_user.sh DIRECTORY-OF-PROGRAMS FILTER...
set -euo pipefail
programs=$1
shift
if [ "$(id -u)" != 0 ]; then
    echo "test_as_user: this is an ordinary user, who runs all tests"
    exit
fi
user='setpriv --reuid=65534 --regid=65534 --clear-groups'
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
# Where cargo puts them, since the tests look for the programs beside their own.
build=$place/target/mpi/tests
mkdir -p "$build/deps"
rsync -a --exclude=/target --exclude=.git ./ "$place/"
find "$programs" -maxdepth 1 -type f -perm -u+x -size +1M -exec cp -t "$build" {} +
chmod 755 "$place"
tests=$(python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable") and message["profile"]["test"]:
        print(message["target"]["kind"][0], message["target"]["name"], message["executable"], sep="\t")
')
[ -n "$tests" ] || { echo "test_as_user: there is nothing to run" >&2; exit 1; }
chown -R 65534:65534 "$place"
# CARGO_MANIFEST_DIR leads to the sources.
run() {
    local directory=$1 program=$2
    shift 2
    cp "$program" "$build/deps/"
    (cd "$place" && $user env HOME="$place" SUITE_NO_SKIP=0 CARGO_MANIFEST_DIR="$place/$directory" \
        "$build/deps/$(basename "$program")" "$@")
    rm "$build/deps/$(basename "$program")"
}
while IFS=$'\t' read -r kind name program; do
    case $kind/$name in
    lib/*) run tests "$program" --quiet ;;
    test/tools) run tests "$program" "$@" ;;
    esac
done <<<"$tests"
