"""Walking, small copies, finding nothing to do, and deleting: 100,000 files of 4 KiB in 100 directories."""

import os
import subprocess
import sys

import storage
import trees
from contest import Contest

DIRECTORIES, FILES, SIZE = 100, 1000, 4096
PLACES = {"tmpfs": storage.tmpfs, "ext4": storage.ext4, "xfs": storage.xfs}
# Calls do not depend on the storage, and tracing them may take longer than all runs.
COUNTED_ON = "tmpfs"


def contests(peers):
    names = os.environ.get("STORAGE", "").split() or list(PLACES)
    unknown = set(names) - set(PLACES)
    if unknown:
        sys.exit(f"bench: no storage {', '.join(sorted(unknown))}; storages are {', '.join(PLACES)}")
    for name in names:
        with PLACES[name]() as work:
            tree = Tree(work, name, peers)
            yield tree.walk()
            yield tree.copy()
            yield from tree.two_equal()
            yield tree.delete()


class Tree:
    """A tree and a place for its copy, on one storage."""

    def __init__(self, work, name, peers):
        self.source, self.target, self.name, self.peers = f"{work}/source", f"{work}/target", name, peers
        # Both trees with the slash by which rsync names what is in a directory.
        self.contents = (f"{self.source}/", f"{self.target}/")
        self.ours, self.mfu, self.other = peers.ours, peers.mfu, peers.other
        self.entries = trees.small_files(self.source, DIRECTORIES, FILES, SIZE)

    def contest(self, title, commands, counted, before=lambda: None):
        more = {"before": before, "counted": counted if self.name == COUNTED_ON else (), "env": self.peers.environment()}
        return Contest(title, self.name, commands, self.entries, **more).hold()

    def walk(self):
        commands = {
            "dwalk": self.ours("dwalk", "-q", self.source),
            "dwalk, 2 ranks": self.ours("dwalk", "-q", self.source, ranks=2),
            "mpiFileUtils dwalk": self.mfu("dwalk", "-q", self.source),
            "mpiFileUtils dwalk, 2 ranks": self.mfu("dwalk", "-q", self.source, ranks=2),
            "find -printf %s": self.other("find", self.source, "-printf", "%s\\n"),
            "ls -lR": self.other("ls", "-lR", self.source),
            "rclone size": self.other("rclone", "size", self.source),
        }
        counted = ("dwalk", "mpiFileUtils dwalk", "find -printf %s", "ls -lR")
        return self.contest("Walk with the metadata of each entry", commands, counted)

    def copy(self):
        commands = {
            "dcp -p": self.ours("dcp", "-q", "-p", self.source, self.target),
            "dcp -p, 2 ranks": self.ours("dcp", "-q", "-p", self.source, self.target, ranks=2),
            "mpiFileUtils dcp -p": self.mfu("dcp", "-q", "-p", self.source, self.target),
            "mpiFileUtils dcp -p, 2 ranks": self.mfu("dcp", "-q", "-p", self.source, self.target, ranks=2),
            "cp -a": self.other("cp", "-a", self.source, self.target),
            "rsync -a": self.other("rsync", "-a", f"{self.source}/", self.target),
            "fpsync -n 2": self.other("fpsync", "-n", "2", "-t", f"{self.target}.fpsync", *self.contents),
            "rclone copy --metadata": self.other("rclone", "copy", "--metadata", self.source, self.target),
            "juicefs sync --perms": self.other("juicefs", "sync", "-q", "--dirs", "--perms", *self.contents),
        }
        counted = ("dcp -p", "mpiFileUtils dcp -p", "cp -a", "rsync -a")
        return self.contest("Copy of small files", commands, counted, self.remove_target)

    def remove_target(self):
        trees.remove(self.target)
        trees.remove(f"{self.target}.fpsync")

    def two_equal(self):
        """The target is an exact copy: what is measured is finding that out."""
        self.remove_target()
        subprocess.run(["cp", "-a", self.source, self.target], check=True)
        yield self.nothing_to_do()
        yield self.compare_metadata()
        yield self.compare_content()
        self.remove_target()

    def nothing_to_do(self):
        commands = {
            "dsync": self.ours("dsync", "-q", self.source, self.target),
            "dsync --xattrs none": self.ours("dsync", "-q", "--xattrs", "none", self.source, self.target),
            "mpiFileUtils dsync": self.mfu("dsync", "-q", self.source, self.target),
            "rsync -a": self.other("rsync", "-a", *self.contents),
            "rsync -aAX": self.other("rsync", "-aAX", *self.contents),
            "rclone sync": self.other("rclone", "sync", self.source, self.target),
            "juicefs sync --perms": self.other("juicefs", "sync", "-q", "--dirs", "--perms", *self.contents),
        }
        counted = ("dsync", "dsync --xattrs none", "mpiFileUtils dsync", "rsync -a", "rsync -aAX")
        return self.contest("Synchronise without changes", commands, counted)

    def compare_metadata(self):
        commands = {
            "dcmp --lite": self.ours("dcmp", "-q", "--lite", self.source, self.target),
            "mpiFileUtils dcmp --lite": self.mfu("dcmp", "-q", "--lite", self.source, self.target),
            "rsync -an": self.other("rsync", "-an", *self.contents),
            "rclone check --size-only": self.other("rclone", "check", "-q", "--size-only", self.source, self.target),
        }
        counted = ("dcmp --lite", "mpiFileUtils dcmp --lite", "rsync -an")
        return self.contest("Compare metadata", commands, counted)

    def compare_content(self):
        commands = {
            "dcmp": self.ours("dcmp", "-q", self.source, self.target),
            "mpiFileUtils dcmp": self.mfu("dcmp", "-q", self.source, self.target),
            "diff -r": self.other("diff", "-r", "--no-dereference", self.source, self.target),
            "rsync -anc": self.other("rsync", "-anc", *self.contents),
            "rclone check --download": self.other("rclone", "check", "-q", "--download", self.source, self.target),
        }
        counted = ("dcmp", "mpiFileUtils dcmp", "diff -r", "rsync -anc")
        return self.contest("Compare content", commands, counted)

    def delete(self):
        """Each run deletes a copy of its own, of empty files: reading them is no part of it."""
        commands = {
            "drm": self.ours("drm", "-q", self.target),
            "drm, 2 ranks": self.ours("drm", "-q", self.target, ranks=2),
            "mpiFileUtils drm": self.mfu("drm", "-q", self.target),
            "mpiFileUtils drm, 2 ranks": self.mfu("drm", "-q", self.target, ranks=2),
            "rm -r": self.other("rm", "-r", self.target),
        }

        def before():
            trees.remove(self.target)
            trees.small_files(self.target, DIRECTORIES, FILES, 0)

        counted = ("drm", "mpiFileUtils drm", "rm -r")
        return self.contest("Delete", commands, counted, before)
