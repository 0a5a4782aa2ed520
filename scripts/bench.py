#!/usr/bin/env python3
"""Measures dwalk, dcp, dsync and dcmp side by side with find, cp, rsync and diff, and how latency is hidden;
and dcp with s5cmd, rclone and aws.

    [ONLY="objects latency"] bench.py BIN-DIR MPIEXEC [FLAGS...]

Each pair runs in turn, A B A B ..., and the ratio of medians is printed: on a shared machine an
absolute time proves little. Works in /dev/shm (about 10 GiB) and needs root for the FUSE mounts.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import bench_objects

BIN, MPIEXEC = sys.argv[1], sys.argv[2:]
RUNS = int(os.environ.get("RUNS", "7"))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tool(ranks, name, *arguments):
    program = [os.path.join(BIN, name), *arguments]
    return program if ranks == 1 else [*MPIEXEC, "-n", str(ranks), *program]


def measure(command, env=None):
    """Wall and CPU seconds and memory of a command, with all processes it waited for."""
    began = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - began
    if status != 0:
        sys.exit(f"bench: {command} ended with status {status}")
    cpu = usage.ru_utime + usage.ru_stime
    return {"wall": wall, "cpu": cpu, "memory_bytes": usage.ru_maxrss * 1024}


def pair(title, figure, ours, peer, before=lambda: None):
    """Runs both in turn and prints medians and their ratio."""
    results = {"ours": [], "peer": []}
    for run in range(RUNS + 1):
        for name, command in (("ours", ours), ("peer", peer)):
            before()
            seconds = measure(command)[figure]
            if run > 0:  # the first round warms up
                results[name].append(seconds)
    ours_s, peer_s = (statistics.median(results[name]) for name in ("ours", "peer"))
    print(f"| {title} | {figure} | {ours_s:.3f} s | {peer_s:.3f} s | {ours_s / peer_s:.2f} |", flush=True)


def summary(command, env=None):
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=env).stdout
    return json.loads(output.splitlines()[-1])


def small_files(root, directories, files, size):
    content = os.urandom(size)
    for directory in range(directories):
        path = f"{root}/d{directory:04}"
        os.makedirs(path)
        for file in range(files):
            with open(f"{path}/f{file:05}", "wb") as out:
                out.write(content)


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)


def cheap_per_entry(work):
    print("\n100,000 files of 4 KiB in 100 directories, and one of 4 GiB, tmpfs to tmpfs:\n")
    print("| what | figure | ours | peer | ratio |\n| --- | --- | --- | --- | --- |")
    source, target = f"{work}/source", f"{work}/target"
    small_files(source, 100, 1000, 4096)
    find = ["find", source, "-printf", "%s\\n"]
    pair("dwalk, 1 rank / find -printf %s", "cpu", tool(1, "dwalk", "-q", source), find)
    cp = ["cp", "-a", source, target]
    for ranks in (1, 2):
        ours = tool(ranks, "dcp", "-q", "-p", source, target)
        pair(f"dcp -p, {ranks} rank(s) / cp -a", "wall", ours, cp, lambda: remove(target))
    remove(target)
    two_trees(source, target)
    remove(source)
    remove(target)
    big, copy = f"{work}/big", f"{work}/big.copy"
    block = os.urandom(1 << 24)
    with open(big, "wb") as out:
        for _ in range(256):
            out.write(block)
    ours = tool(1, "dcp", "-q", big, copy)
    pair("dcp of 4 GiB, 1 rank / cp", "wall", ours, ["cp", big, copy], lambda: remove(copy))
    remove(copy)
    ranks = summary(tool(4, "dcp", "--json", big, copy))["ranks"]
    shares = ", ".join(f"{rank['totals']['copied_bytes'] / 2**30:.2f}" for rank in ranks)
    print(f"\n4 GiB by 4 ranks: they wrote {shares} GiB.")
    remove(big)
    remove(copy)


def two_trees(source, target):
    """The target is an exact copy: what is measured is finding that out."""
    subprocess.run(["cp", "-a", source, target], check=True)
    rsync = ["rsync", "-aAX", f"{source}/", f"{target}/"]
    pair("dsync with nothing to do, 1 rank / rsync -aAX", "wall", tool(1, "dsync", "-q", source, target), rsync)
    dcmp = tool(1, "dcmp", "-q", source, target)
    diff = ["diff", "-r", "--no-dereference", source, target]
    pair("dcmp, 1 rank / diff -r --no-dereference", "wall", dcmp, diff)
    rsync = ["rsync", "-anc", f"{source}/", f"{target}/"]
    pair("dcmp, 1 rank / rsync -anc", "wall", dcmp, rsync)


def many_ranks(work):
    source, target = f"{work}/source", f"{work}/target"
    small_files(source, 100, 1000, 4096)
    cpu = {}
    for ranks in (4, 64):
        runs = []
        for _ in range(3):
            remove(target)
            ended = summary(tool(ranks, "dcp", "-q", "-p", "--json", source, target))
            runs.append(sum(rank["cpu_seconds"] for rank in ended["ranks"]))
        cpu[ranks] = statistics.median(runs)
    remove(source)
    remove(target)
    print(
        f"\n100,000 files of 4 KiB: CPU time of the job without MPI's own start {cpu[4]:.2f} s with 4 ranks,"
        f" {cpu[64]:.2f} s with 64 ranks on {os.cpu_count()} cores: {cpu[64] / cpu[4]:.2f} times."
    )


def memory(work):
    print("\nPeak memory of any of 4 ranks:\n\n| entries | dwalk | dcp -p |\n| --- | --- | --- |")
    for entries in (100_000, 1_000_000):
        source, target = f"{work}/source", f"{work}/target"
        small_files(source, entries // 1000, 999, 0)
        peaks = []
        for command in (("dwalk", "--json", source), ("dcp", "-p", "--json", source, target)):
            ranks = summary(tool(4, *command))["ranks"]
            peaks.append(max(rank["peak_memory_bytes"] for rank in ranks) / 2**20)
        print(f"| {entries:,} | {peaks[0]:.1f} MiB | {peaks[1]:.1f} MiB |", flush=True)
        remove(source)
        remove(target)


class Slow:
    """A mount in which every operation takes 1 ms (tests/latencyfs)."""

    def __init__(self, work):
        self.server_program = f"{work}/latencyfs"
        flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True)
        source = f"{ROOT}/tests/latencyfs/latencyfs.c"
        subprocess.run(["cc", "-O2", "-o", self.server_program, source, *flags.split()], check=True)
        self.backing, self.mount = f"{work}/backing", f"{work}/mount"
        os.makedirs(self.backing)
        os.makedirs(self.mount)

    def __enter__(self):
        command = [self.server_program, "--delay-us=1000", "--no-permissions", self.backing, self.mount]
        self.server = subprocess.Popen(command)
        while not os.path.ismount(self.mount):
            time.sleep(0.02)

    def __exit__(self, *_):
        subprocess.run(["fusermount3", "-u", self.mount], check=True)
        self.server.wait()
        remove(f"{self.backing}/copy")


def latency(work):
    slow = Slow(work)
    small_files(f"{slow.backing}/nested", 300, 20, 2048)
    small_files(f"{slow.backing}/flat", 1, 6000, 2048)
    print("\n6,000 files of 2 KiB, each file-system operation takes 1 ms; the tools' own time:\n")
    print("| what | ranks x threads | time | time x threads / entry |\n| --- | --- | --- | --- |")
    cases = [
        ("dwalk nested", [(1, 1), (4, 1), (1, 4), (4, 4), (1, 16), (4, 8), (4, 16), (4, 32)]),
        ("dwalk flat", [(4, 1), (1, 16)]),
        ("dcp nested", [(4, 1), (4, 4), (1, 16), (4, 8), (4, 32)]),
    ]
    for what, shapes in cases:
        name, tree = what.split()
        for ranks, threads in shapes:
            paths = [f"{slow.mount}/{tree}", f"{slow.mount}/copy"]
            arguments = ["--json", "--threads", str(threads), *paths[: 2 if name == "dcp" else 1]]
            with slow:
                ended = summary(tool(ranks, name, *arguments))
            entries = sum(ended["totals"]["found"].values())
            slots = ended["elapsed_seconds"] * ranks * threads / entries * 1000
            shape = f"{ranks} x {threads}"
            print(f"| {what} | {shape} | {ended['elapsed_s']:.3f} s | {slots:.2f} ms |", flush=True)


def objects(work):
    venv = f"{ROOT}/target/venv/bin"
    clients = bench_objects.Clients(BIN, venv)
    bench_objects.large(work, clients, BIN, RUNS, measure, remove)
    bench_objects.real(work, clients, venv, min(RUNS, 3), measure, remove)
    bench_objects.small(work, clients, BIN, venv, min(RUNS, 3), measure, remove, small_files)
    bench_objects.flat_listing(BIN, summary, tool)


def main():
    """Everything, or what ONLY names."""
    parts = [cheap_per_entry, many_ranks, latency, memory, objects]
    only = os.environ.get("ONLY", "").split()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as work:
        for part in parts:
            if not only or part.__name__ in only:
                part(work)


main()
