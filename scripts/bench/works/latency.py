"""6,000 files of 2 KiB where each file-system operation takes 1 ms, as on a parallel file system; cold caches."""

import subprocess

import storage
import trees
from contest import Contest

RANKS = 4


def contests(peers):
    with storage.tmpfs() as work:
        slow = storage.Slow(work)
        entries = trees.small_files(f"{slow.backing}/source", 300, 20, 2048)
        subprocess.run(["cp", "-a", f"{slow.backing}/source", f"{slow.backing}/equal"], check=True)
        subtree = lambda name: f"{slow.mount}/{name}"
        for title, commands in works(peers, subtree("source"), subtree("equal"), subtree("copy")).items():
            yield Contest(
                title,
                "1 ms per operation",
                commands,
                entries,
                before=lambda: slow.remove("copy"),
                around=slow.mounted,
                servers=lambda: (slow.server.pid,),
                env=peers.environment(),
            ).hold()


def works(peers, source, equal, copy):
    ours, mfu, other = peers.ours, peers.mfu, peers.other
    return {
        "Walk": {
            "dwalk, 4 ranks": ours("dwalk", "-q", source, ranks=RANKS),
            "dwalk, 4 ranks of 1 thread": ours("dwalk", "-q", "--threads", "1", source, ranks=RANKS),
            "mpiFileUtils dwalk, 4 ranks": mfu("dwalk", "-q", source, ranks=RANKS),
            "find -printf %s": other("find", source, "-printf", "%s\\n"),
            "rclone size --checkers 32": other("rclone", "size", "--checkers", "32", source),
        },
        "Copy of small files": {
            "dcp, 4 ranks": ours("dcp", "-q", source, copy, ranks=RANKS),
            "dcp, 4 ranks of 1 thread": ours("dcp", "-q", "--threads", "1", source, copy, ranks=RANKS),
            "mpiFileUtils dcp, 4 ranks": mfu("dcp", "-q", source, copy, ranks=RANKS),
            "rclone copy --transfers 32": other("rclone", "copy", "--transfers", "32", source, copy),
        },
        "Synchronise without changes": {
            "dsync, 4 ranks": ours("dsync", "-q", source, equal, ranks=RANKS),
            "mpiFileUtils dsync, 4 ranks": mfu("dsync", "-q", source, equal, ranks=RANKS),
            "rsync -a": other("rsync", "-a", f"{source}/", f"{equal}/"),
            "rclone sync --checkers 32": other("rclone", "sync", "--checkers", "32", source, equal),
        },
    }
