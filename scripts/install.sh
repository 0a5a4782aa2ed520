#!/bin/sh
# Installs the tools with their manual pages and completions for shells.
#
#   install.sh BIN-DIR PREFIX TOOL...
set -eu
bin=$1 prefix=$2
shift 2
man=$prefix/share/man/man1
bash=$prefix/share/bash-completion/completions
zsh=$prefix/share/zsh/site-functions
fish=$prefix/share/fish/vendor_completions.d
install -d "$prefix/bin" "$man" "$bash" "$zsh" "$fish"
for tool in "$@"; do
    install -m 755 "$bin/$tool" "$prefix/bin/$tool"
    "$bin/$tool" --generate man >"$man/$tool.1"
    "$bin/$tool" --generate complete-bash >"$bash/$tool"
    "$bin/$tool" --generate complete-zsh >"$zsh/_$tool"
    "$bin/$tool" --generate complete-fish >"$fish/$tool.fish"
done
echo "installed $* in $prefix/bin, with manual pages and completions in $prefix/share"
