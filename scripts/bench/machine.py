"""What the measurements run on, and whether it was theirs alone meanwhile."""

import os
import platform
import time
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

# A figure is marked if others took more than this share of the processors while it was taken.
FOREIGN_SHARE_MAX = 0.05
STEAL_SHARE_MAX = 0.02


def description():
    """One line: processor, cores, memory, kernel and distribution."""
    model = first_value("/proc/cpuinfo", "model name", ":") or platform.machine()
    memory_kib = int(first_value("/proc/meminfo", "MemTotal", ":").split()[0])
    system = (first_value("/etc/os-release", "PRETTY_NAME", "=") or platform.system()).strip('"')
    kernel = platform.release().split("-")[0]
    return f"{os.cpu_count()} cores of {model}, {memory_kib / 2**20:.0f} GiB, {system}, Linux {kernel}"


def first_value(path, key, separator):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, found, value = line.partition(separator)
            if found and name.strip() == key:
                return value.strip()
    return None


@dataclass
class Ticks:
    """Processor time of the whole machine since its start, in ticks."""

    busy: int
    stolen: int
    at: float

    @classmethod
    def now(cls):
        with open("/proc/stat", encoding="ascii") as lines:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, lines.readline().split()[1:9])
        return cls(user + nice + system + irq + softirq, steal, time.monotonic())


def cpu_of(pids):
    """CPU seconds that running processes and their children have used; an ended one counts as 0."""
    ticks, left = 0, list(pids)
    while left:
        process = f"/proc/{left.pop()}"
        try:
            with open(f"{process}/stat", encoding="utf-8", errors="replace") as line:
                fields = line.read().rpartition(")")[2].split()
            with open(f"{process}/task/{os.path.basename(process)}/children", encoding="ascii") as children:
                left += children.read().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # Its own user and system time, and that of children that it has waited for.
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_SECOND


class Watch:
    """Measures what others take of the processors during a run.

    `servers` are processes whose time belongs to the run, such as a FUSE server.
    """

    def __init__(self, servers=()):
        self.servers = servers
        self.began = Ticks.now()
        self.servers_began = cpu_of(servers)

    def disturbed(self, own_cpu):
        """Whether others, or the hypervisor, took more than a figure bears."""
        now = Ticks.now()
        available = (now.at - self.began.at) * os.cpu_count()
        own = own_cpu + cpu_of(self.servers) - self.servers_began
        # The kernel counts in ticks: a run shorter than some of them cannot be judged by them.
        slack = 2 * os.cpu_count() / TICKS_PER_SECOND
        foreign = (now.busy - self.began.busy) / TICKS_PER_SECOND - own - slack
        stolen = (now.stolen - self.began.stolen) / TICKS_PER_SECOND - slack
        return foreign > FOREIGN_SHARE_MAX * available or stolen > STEAL_SHARE_MAX * available


def is_quiet(seconds=2.0):
    """Whether the machine has nothing else to do for a while."""
    watch = Watch()
    time.sleep(seconds)
    return not watch.disturbed(own_cpu=0.0)
