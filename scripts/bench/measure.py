"""One run of a command: its time, its memory and its system calls."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass

import machine


@dataclass
class Run:
    """A run of a command, with all processes it waited for."""

    wall_seconds: float
    cpu_seconds: float
    peak_memory_bytes: int  # of its largest process
    disturbed: bool

    def as_json(self):
        return asdict(self)


def run(command, env=None, servers=()):
    """Runs a command to its end; a failure ends the benchmark, since its figure would be of something else."""
    watch = machine.Watch(servers)
    began = time.monotonic()
    with tempfile.TemporaryFile() as output, tempfile.NamedTemporaryFile("r") as memory:
        # A process starts with the peak of the one that started it, which Python's would hide small ones behind.
        command = ["/usr/bin/time", "--format=%M", f"--output={memory.name}", *command]
        child = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        if child.returncode != 0:
            output.seek(0)
            tail = output.read().decode(errors="replace")[-2000:]
            sys.exit(f"bench: {' '.join(command)}\nended with {child.returncode}:\n{tail}")
        peak_kib = int(memory.read())
    cpu = usage.ru_utime + usage.ru_stime
    return Run(wall, cpu, peak_kib * 1024, watch.disturbed(cpu))


def system_calls(command, env=None):
    """System calls that a command and its children make: counted by perf, or strace, which slows it down manyfold."""
    return counted_by_perf(command, env) or counted_by_strace(command, env)


def counted_by_perf(command, env):
    """The kernel's own count, or None where perf is not installed or must not count."""
    if not shutil.which("perf"):
        return None
    with tempfile.NamedTemporaryFile("r") as count:
        perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", count.name, *command]
        ran = subprocess.run(perf, check=False, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = re.search(r"^(\d+),", count.read(), re.MULTILINE)
    return int(found.group(1)) if found and ran.returncode == 0 else None


def counted_by_strace(command, env):
    with tempfile.NamedTemporaryFile("r") as counts:
        strace = ["strace", "-f", "-c", "-U", "calls,name", "-o", counts.name, *command]
        subprocess.run(strace, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        total = re.search(r"^\s*(\d+) total$", counts.read(), re.MULTILINE)
    return int(total.group(1))
