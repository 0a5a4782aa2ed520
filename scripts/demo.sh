#!/bin/sh
# Copies a real tree, the Rust toolchain's own, with 4 ranks and checks the copy with other tools and with dcmp.
#
#   demo.sh BIN-DIR MPIEXEC [FLAGS…]
set -eu
bin=$1
shift
source=$(rustc --print sysroot)
mkdir -p target
work=$(mktemp -d "$PWD/target/demo.XXXXXX")
trap 'rm -rf "$work"' EXIT

echo "== what is there: $* -n 4 dwalk $source"
"$@" -n 4 "$bin/dwalk" "$source"
echo
echo "== copy it: $* -n 4 dcp -p $source $work/copy"
"$@" -n 4 "$bin/dcp" -p --progress 1 "$source" "$work/copy"
echo
echo "== check content and attributes: rsync -nac --delete --itemize-changes"
differences=$(rsync -nac --delete --itemize-changes "$source/" "$work/copy/")
if [ -n "$differences" ]; then
    echo "$differences" | head -n 20
    echo "demo: the copy differs from its source"
    exit 1
fi
echo
echo "== and with our own eyes: $* -n 4 dcmp $source $work/copy"
"$@" -n 4 "$bin/dcmp" "$source" "$work/copy"
echo
echo "== make it equal again: $* -n 4 dsync -D $source $work/copy"
"$@" -n 4 "$bin/dsync" -D "$source" "$work/copy"
echo "demo: $(find "$work/copy" | wc -l) entries are identical in content, mode, owner and times"
