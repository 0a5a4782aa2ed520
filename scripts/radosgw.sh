#!/bin/sh
# Runs Ceph's object gateway (radosgw) on this machine, with a cluster of one: a monitor, a manager and one
# storage daemon that keeps everything in memory. For trying the suite against a server that many sites have,
# and whose older versions know nothing of newer checksums.
#
#   radosgw.sh DIR [PORT]
#
# DIR is made, holds configuration, keys and logs, and may be removed afterwards. PORT (8340) is S3's;
# PORT+10 and PORT+11 are the monitor's. Everything listens on 127.0.0.1. The first line on standard output is
# the address, when it answers, which takes 15 to 30 s; the access key is "test-access", the secret
# key "test-secret". It ends by SIGTERM or Ctrl-C, and takes all daemons with it.
#
# Debian: apt-get install --no-install-recommends radosgw ceph-mon ceph-mgr ceph-osd ceph-common
set -eu
[ $# -ge 1 ] || { echo "usage: radosgw.sh DIR [PORT]" >&2; exit 64; }
port=${2:-8340}
access_key=test-access secret_key=test-secret

missing=''
for program in ceph ceph-authtool ceph-mgr ceph-mon ceph-osd monmaptool radosgw radosgw-admin curl; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    echo "missing:$missing; install with: apt-get install --no-install-recommends" \
        "radosgw ceph-mon ceph-mgr ceph-osd ceph-common curl" >&2
    exit 1
fi

mkdir -p "$1"
dir=$(cd "$1" && pwd)
[ -z "$(ls -A "$dir")" ] || { echo "$dir is not empty" >&2; exit 1; }
mkdir "$dir/mon" "$dir/mgr" "$dir/osd" "$dir/rgw" "$dir/log" "$dir/run"
cluster=$(cat /proc/sys/kernel/random/uuid)
disk=$(cat /proc/sys/kernel/random/uuid)
conf=$dir/ceph.conf keyring=$dir/keyring

# One copy of everything, few placement groups, 6 GiB of memory at most.
cat >"$conf" <<CONF
[global]
fsid = $cluster
mon_host = v2:127.0.0.1:$((port + 10)),v1:127.0.0.1:$((port + 11))
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_ipv6 = false
keyring = $keyring
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
log_file = $dir/log/\$name.log
crash_dir = $dir/log
mon_data = $dir/mon
mgr_data = $dir/mgr
mgr_initial_modules =
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 6442450944
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true

[client.rgw]
rgw_data = $dir/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port
CONF
export CEPH_CONF="$conf"

daemons=''
finish() {
    trap '' INT TERM
    # shellcheck disable=SC2086  # one process each
    [ -z "$daemons" ] || kill $daemons 2>/dev/null || true
    wait
}
trap finish EXIT
trap 'exit 0' INT TERM

# start PROGRAM ARGUMENTS: in the background, remembered
start() {
    "$@" >>"$dir/log/start" 2>&1 &
    daemons="$daemons $!"
}

# within SECONDS COMMAND: until it succeeds
within() {
    left=$1
    shift
    until "$@" >>"$dir/log/start" 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "this did not succeed in time: $*; see $dir/log" >&2
            exit 1
        fi
        sleep 1
    done
}

key() {
    ceph-authtool "$keyring" --gen-key -n "$@" >>"$dir/log/start"
}
ceph-authtool --create-keyring "$keyring" --gen-key -n mon. --cap mon 'allow *' >"$dir/log/start"
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key client.rgw --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key mgr.one --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'

addresses="[v2:127.0.0.1:$((port + 10)),v1:127.0.0.1:$((port + 11))]"
monmaptool --create --fsid "$cluster" --addv one "$addresses" "$dir/monmap" >>"$dir/log/start"
ceph-mon -c "$conf" -i one --mkfs --monmap "$dir/monmap" --keyring "$keyring" >>"$dir/log/start" 2>&1
start ceph-mon -c "$conf" -i one -f
within 30 timeout 10 ceph -c "$conf" quorum_status

start ceph-mgr -c "$conf" -i one -f
within 10 timeout 10 ceph -c "$conf" osd create "$disk"
ceph-osd -c "$conf" -i 0 --mkfs --osd-uuid "$disk" >>"$dir/log/start" 2>&1
start ceph-osd -c "$conf" -i 0 -f
within 10 timeout 10 ceph -c "$conf" osd crush add osd.0 1 root=default host=localhost
is_up() { timeout 10 ceph -c "$conf" osd stat | grep -q '1 up'; }
within 30 is_up

start radosgw -c "$conf" -n client.rgw -f
within 90 curl -s -o /dev/null "http://127.0.0.1:$port/"
within 30 timeout 60 radosgw-admin -c "$conf" -n client.rgw user create --uid=test --display-name=test \
    "--access-key=$access_key" "--secret-key=$secret_key"
echo "http://127.0.0.1:$port"
wait
