"""Places to measure in, each for the time of a `with`: it gives the path of an empty directory."""

import contextlib
import os
import subprocess
import tempfile
import time

import trees

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE_BYTES = 6 << 30


@contextlib.contextmanager
def tmpfs():
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="bench.") as place:
        yield place


@contextlib.contextmanager
def loop(kind, *options):
    """A local file system in an image in tmpfs, so that no disk's mood is measured."""
    with tmpfs() as place:
        image, mount = f"{place}/image", f"{place}/mount"
        with open(image, "wb") as out:
            out.truncate(IMAGE_BYTES)
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([f"mkfs.{kind}", *options, image], **quiet)
        os.mkdir(mount)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            os.mkdir(f"{mount}/work")
            yield f"{mount}/work"
        finally:
            subprocess.run(["umount", mount], check=True)


def ext4():
    return loop("ext4", "-q")


def xfs():
    return loop("xfs", "-q", "-m", "reflink=1")


class Slow:
    """A FUSE file system in which each operation takes a time of its own (tests/latencyfs).

    `mounted()` gives a fresh mount of the same `backing` directory, whose caches are cold.
    """

    def __init__(self, work, delay_us=1000):
        self.program = f"{work}/latencyfs"
        flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "fuse3"], text=True)
        source = f"{ROOT}/tests/latencyfs/latencyfs.c"
        subprocess.run(["cc", "-O2", "-o", self.program, source, *flags.split()], check=True)
        self.options = [f"--delay-us={delay_us}", "--no-permissions"]
        self.backing, self.mount = f"{work}/backing", f"{work}/mount"
        os.makedirs(self.backing)
        os.makedirs(self.mount)
        self.server = None

    @contextlib.contextmanager
    def mounted(self):
        self.server = subprocess.Popen([self.program, *self.options, self.backing, self.mount])
        while not os.path.ismount(self.mount):
            time.sleep(0.02)
        try:
            yield self.mount
        finally:
            subprocess.run(["fusermount3", "-u", self.mount], check=True)
            self.server.wait()

    def remove(self, name):
        trees.remove(f"{self.backing}/{name}")
