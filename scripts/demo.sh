#!/bin/sh
# Copies a real tree, the Rust toolchain's own or the sources of the crates, with 4 ranks and checks the copy with other tools and with dcmp.
# Then its libraries into S3 and back, with a server that keeps them in memory (about 0.6 GB).
#
#   demo.sh BIN-DIR MPIEXEC [FLAGS…]
set -eu
bin=$1
shift
source=$(rustc --print sysroot)
# A toolchain of the distribution is spread over all of /usr.
case $source in
/usr*) source=${CARGO_HOME:-$HOME/.cargo}/registry/src ;;
esac
# The documentation of a toolchain is tens of thousands of small files, which show nothing new in S3.
objects=$(cd "$source/lib" 2>/dev/null && pwd -P) || objects=$source
mkdir -p target
work=$(mktemp -d "$PWD/target/demo.XXXXXX")
server=''
trap 'rm -rf "$work"; [ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT

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

echo
echo "== an S3 server of the tests: $bin/object_server"
mkfifo "$work/end"
"$bin/object_server" --bucket demo --access-key demo --secret-key demo <"$work/end" >"$work/url" 2>/dev/null &
server=$!
exec 9>"$work/end"
while [ ! -s "$work/url" ]; do sleep 0.05; done
AWS_ENDPOINT_URL_S3=$(cat "$work/url")
export AWS_ENDPOINT_URL_S3 AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo AWS_EC2_METADATA_DISABLED=true
echo "== into a bucket: $* -n 4 dcp -p $objects/ s3://demo/tree"
"$@" -n 4 "$bin/dcp" -p --progress 1 "$objects/" s3://demo/tree
echo
echo "== is all of it there? $* -n 4 dcmp $objects s3://demo/tree"
"$@" -n 4 "$bin/dcmp" "$objects" s3://demo/tree
echo
echo "== and back: $* -n 4 dcp -p s3://demo/tree/ $work/back"
"$@" -n 4 "$bin/dcp" -p --progress 1 s3://demo/tree/ "$work/back"
echo
echo "== is all of it back? $* -n 4 dcmp s3://demo/tree $work/back; diff -r $objects $work/back"
"$@" -n 4 "$bin/dcmp" s3://demo/tree "$work/back"
diff -r --no-dereference "$objects" "$work/back"
echo "demo: $(find "$work/copy" | wc -l) entries are identical in content, mode, owner and times, and $(find "$work/back" -type f | wc -l) files came back from S3"
