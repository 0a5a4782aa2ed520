"""One file of 4 GiB in tmpfs."""

import storage
import trees
from contest import Contest

SIZE = 4 << 30


def contests(peers):
    with storage.tmpfs() as work:
        source, target = f"{work}/big", f"{work}/copy"
        trees.large_file(source, SIZE)
        commands = {
            "dcp": peers.ours("dcp", "-q", source, target),
            "dcp, 2 ranks": peers.ours("dcp", "-q", source, target, ranks=2),
            "mpiFileUtils dcp": peers.mfu("dcp", "-q", source, target),
            "mpiFileUtils dcp, 2 ranks": peers.mfu("dcp", "-q", source, target, ranks=2),
            "cp": peers.other("cp", source, target),
            "dd bs=1M": peers.other("dd", "bs=1M", "status=none", f"if={source}", f"of={target}"),
            "rsync -W": peers.other("rsync", "-W", source, target),
            "rclone copyto": peers.other("rclone", "copyto", source, target),
        }
        before = lambda: trees.remove(target)
        yield Contest("Copy of 4 GiB", "tmpfs", commands, 1, SIZE, before, env=peers.environment()).hold()
