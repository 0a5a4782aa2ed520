"""Walking, small copies, finding nothing to do, and deleting: 100,000 files of 4 KiB in 100 directories."""

import subprocess

import storage
import trees
from contest import Contest

DIRECTORIES, FILES, SIZE = 100, 1000, 4096
PLACES = {"tmpfs": storage.tmpfs, "ext4": storage.ext4, "xfs": storage.xfs}


def contests(peers):
    for name, place in PLACES.items():
        with place() as work:
            tree = Tree(work, name, peers)
            yield tree.walk()
            yield tree.copy()
            yield from tree.two_equal()
            yield tree.delete()


class Tree:
    """A tree and a place for its copy, on one storage."""

    def __init__(self, work, name, peers):
        self.source, self.target, self.name, self.peers = f"{work}/source", f"{work}/target", name, peers
        self.entries = trees.small_files(self.source, DIRECTORIES, FILES, SIZE)

    def contest(self, title, commands, counted, before=lambda: None):
        env = self.peers.environment()
        return Contest(title, self.name, commands, self.entries, before=before, counted=counted, env=env).hold()

    def walk(self):
        ours, mfu, other, source = self.peers.ours, self.peers.mfu, self.peers.other, self.source
        commands = {
            "dwalk": ours("dwalk", "-q", source),
            "dwalk, 2 ranks": ours("dwalk", "-q", source, ranks=2),
            "mpiFileUtils dwalk": mfu("dwalk", "-q", source),
            "mpiFileUtils dwalk, 2 ranks": mfu("dwalk", "-q", source, ranks=2),
            "find -printf %s": other("find", source, "-printf", "%s\\n"),
            "ls -lR": other("ls", "-lR", source),
            "rclone size": other("rclone", "size", source),
        }
        counted = ("dwalk", "mpiFileUtils dwalk", "find -printf %s", "ls -lR")
        return self.contest("Walk with the metadata of each entry", commands, counted)

    def copy(self):
        ours, mfu, other, source, target = self.peers.ours, self.peers.mfu, self.peers.other, self.source, self.target
        commands = {
            "dcp -p": ours("dcp", "-q", "-p", source, target),
            "dcp -p, 2 ranks": ours("dcp", "-q", "-p", source, target, ranks=2),
            "mpiFileUtils dcp -p": mfu("dcp", "-q", "-p", source, target),
            "mpiFileUtils dcp -p, 2 ranks": mfu("dcp", "-q", "-p", source, target, ranks=2),
            "cp -a": other("cp", "-a", source, target),
            "rsync -a": other("rsync", "-a", f"{source}/", target),
            "fpsync -n 2": other("fpsync", "-n", "2", "-t", f"{target}.fpsync", f"{source}/", f"{target}/"),
            "rclone copy --metadata": other("rclone", "copy", "--metadata", source, target),
            "juicefs sync --perms": other("juicefs", "sync", "-q", "--dirs", "--perms", f"{source}/", f"{target}/"),
        }
        counted = ("dcp -p", "mpiFileUtils dcp -p", "cp -a", "rsync -a", "rclone copy --metadata")
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
        ours, mfu, other, source, target = self.peers.ours, self.peers.mfu, self.peers.other, self.source, self.target
        commands = {
            "dsync": ours("dsync", "-q", source, target),
            "dsync --xattrs none": ours("dsync", "-q", "--xattrs", "none", source, target),
            "mpiFileUtils dsync": mfu("dsync", "-q", source, target),
            "rsync -a": other("rsync", "-a", f"{source}/", f"{target}/"),
            "rsync -aAX": other("rsync", "-aAX", f"{source}/", f"{target}/"),
            "rclone sync": other("rclone", "sync", source, target),
            "juicefs sync --perms": other("juicefs", "sync", "-q", "--dirs", "--perms", f"{source}/", f"{target}/"),
        }
        counted = ("dsync", "dsync --xattrs none", "mpiFileUtils dsync", "rsync -a", "rsync -aAX", "rclone sync")
        return self.contest("Synchronise without changes", commands, counted)

    def compare_metadata(self):
        ours, mfu, other, source, target = self.peers.ours, self.peers.mfu, self.peers.other, self.source, self.target
        commands = {
            "dcmp --lite": ours("dcmp", "-q", "--lite", source, target),
            "mpiFileUtils dcmp --lite": mfu("dcmp", "-q", "--lite", source, target),
            "rsync -an": other("rsync", "-an", f"{source}/", f"{target}/"),
            "rclone check --size-only": other("rclone", "check", "-q", "--size-only", source, target),
        }
        counted = ("dcmp --lite", "mpiFileUtils dcmp --lite", "rsync -an")
        return self.contest("Compare metadata", commands, counted)

    def compare_content(self):
        ours, mfu, other, source, target = self.peers.ours, self.peers.mfu, self.peers.other, self.source, self.target
        commands = {
            "dcmp": ours("dcmp", "-q", source, target),
            "mpiFileUtils dcmp": mfu("dcmp", "-q", source, target),
            "diff -r": other("diff", "-r", "--no-dereference", source, target),
            "rsync -anc": other("rsync", "-anc", f"{source}/", f"{target}/"),
            "rclone check --download": other("rclone", "check", "-q", "--download", source, target),
        }
        counted = ("dcmp", "mpiFileUtils dcmp", "diff -r", "rsync -anc")
        return self.contest("Compare content", commands, counted)

    def delete(self):
        """Each run deletes a copy of its own, of empty files: reading them is no part of it."""
        ours, mfu, other, target = self.peers.ours, self.peers.mfu, self.peers.other, self.target
        commands = {
            "drm": ours("drm", "-q", target),
            "drm, 2 ranks": ours("drm", "-q", target, ranks=2),
            "mpiFileUtils drm": mfu("drm", "-q", target),
            "mpiFileUtils drm, 2 ranks": mfu("drm", "-q", target, ranks=2),
            "rm -r": other("rm", "-r", target),
        }

        def before():
            trees.remove(target)
            trees.small_files(target, DIRECTORIES, FILES, 0)

        counted = ("drm", "mpiFileUtils drm", "rm -r")
        return self.contest("Delete", commands, counted, before)
