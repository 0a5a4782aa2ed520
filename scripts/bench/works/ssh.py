"""Copies to another cluster over ssh, with and without a round trip that takes long."""

import os
import subprocess

import servers
import storage
import trees
from contest import Contest

RANKS = 4
LARGE_BYTES = 2 << 30
ROUND_TRIPS_US = {"20 ms round trip": 20_000, "no delay": 0}


def contests(peers):
    with storage.tmpfs() as work:
        small, many, large = f"{work}/small", f"{work}/many", f"{work}/large"
        entries = trees.small_files(small, 200, 100, 4096)
        trees.large_file(large, LARGE_BYTES)
        for line, round_trip_us in ROUND_TRIPS_US.items():
            with servers.Cluster(relay(work), round_trip_us) as cluster:
                other = OtherCluster(peers, cluster, line, f"{work}/far")
                yield other.copy(small, entries)
                yield other.copy_large(large)
        trees.remove(large)
        entries = trees.small_files(many, 1000, 100, 0)
        for line, round_trip_us in ROUND_TRIPS_US.items():
            with servers.Cluster(relay(work), round_trip_us) as cluster:
                yield OtherCluster(peers, cluster, line, f"{work}/far").nothing_to_do(many, entries)


def relay(work):
    program = f"{work}/latencyrelay"
    if not os.path.exists(program):
        source = f"{storage.ROOT}/tests/latencyrelay/latencyrelay.c"
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


class OtherCluster:
    """A cluster, and the path of the target there."""

    def __init__(self, peers, cluster, line, target):
        self.peers, self.cluster, self.line, self.target = peers, cluster, line, target
        self.shell = " ".join(cluster.shell())
        self.agent = os.path.join(peers.bin_dir, "dcp")

    def contest(self, title, commands, entries, **more):
        env = self.peers.environment()
        return Contest(title, self.line, commands, entries, servers=self.cluster.servers, env=env, **more).hold()

    def ours(self, name, source, *flags, ranks=RANKS):
        doors = ",".join(self.cluster.DOORS)
        remote = ["-e", self.shell, "--agent-path", self.agent, source, f"{doors}:{self.target}"]
        return self.peers.ours(name, "-q", *flags, *remote, ranks=ranks)

    def rsync(self, source, *flags):
        return self.peers.other("rsync", *flags, "-e", self.shell, source, f"one:{self.target}")

    def rclone(self, verb, source, *flags):
        """Without its checksums, for each of which it starts a session of ssh."""
        reach = [f"--sftp-ssh={self.shell} one", "--sftp-disable-hashcheck"]
        return self.peers.other("rclone", "-q", verb, *flags, *reach, source, f":sftp:{self.target}")

    def remove_target(self):
        trees.remove(self.target)

    def copy(self, source, entries):
        commands = {
            "dcp -a": self.ours("dcp", source, "-a"),
            "dcp -a, 1 rank": self.ours("dcp", source, "-a", ranks=1),
            "rsync -a": self.rsync(f"{source}/", "-a"),
        }
        # With a delay, it takes a quarter of an hour.
        if self.cluster.round_trip_us == 0:
            commands["rclone copy --transfers 32"] = self.rclone("copy", source, "--transfers", "32")
        more = {"before": self.remove_target, "once": ("rclone copy --transfers 32",)}
        return self.contest("Copy of 20,000 files of 4 KiB", commands, entries, **more)

    def copy_large(self, source):
        pipe = f"{self.shell} one 'cat > {self.target}' < {source}"
        commands = {
            "dcp -a": self.ours("dcp", source, "-a"),
            "dcp -a, 1 rank": self.ours("dcp", source, "-a", ranks=1),
            "rsync -a": self.rsync(source, "-a"),
            "rclone copyto": self.rclone("copyto", source),
            "ssh and cat": ["sh", "-c", pipe],
        }
        more = {"before": self.remove_target, "size_bytes": LARGE_BYTES}
        return self.contest("Copy of 2 GiB", commands, 1, **more)

    def nothing_to_do(self, source, entries):
        self.remove_target()
        subprocess.run(["cp", "-a", source, self.target], check=True)
        commands = {
            "dsync -a": self.ours("dsync", source, "-a"),
            "dsync -a, 1 rank": self.ours("dsync", source, "-a", ranks=1),
            "rsync -a": self.rsync(f"{source}/", "-a"),
            "rclone sync --checkers 32": self.rclone("sync", source, "--checkers", "32"),
        }
        more = {"once": ("rclone sync --checkers 32",)}
        contest = self.contest("Synchronise 100,000 files without changes", commands, entries, **more)
        self.remove_target()
        return contest
