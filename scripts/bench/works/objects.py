"""Copies from and to S3: what a client costs, and how fast it is.

Client and server share the processors: wall time is that of the two together, CPU time the client's own.
"""

import os

import servers
import storage
import trees
from contest import Contest


def contests(peers):
    with storage.tmpfs() as work:
        yield from large(peers, work, 4 << 30, "null server", servers.NullServer(peers.bin_dir))
        yield from large(peers, work, 1 << 30, "SeaweedFS", servers.SeaweedFS(peers.venv))
        yield from small(peers, work, "null server", null_with_keys(peers, 20_000), "s3://empty/t")
        yield from small(peers, work, "SeaweedFS", servers.SeaweedFS(peers.venv), "s3://full/t")
        yield from flat_prefix(peers)


def environment(url):
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": url,
        "S3_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENV_AUTH": "true",
        "RCLONE_CONFIG_S3_ENDPOINT": url,
        # The null server keeps nothing that could be looked at afterwards.
        "RCLONE_CONFIG_S3_NO_HEAD": "true",
        "RCLONE_CONFIG_S3_NO_CHECK_BUCKET": "true",
        # What the null server lists.
        "RCLONE_CONFIG_S3_LIST_VERSION": "2",
    }


def null_with_keys(peers, keys, *flags):
    return servers.NullServer(peers.bin_dir, f"--keys={keys}", "--key-prefix=t/", *flags)


def large(peers, work, size, service, server):
    """One file up, and down again."""
    big, back = f"{work}/big", f"{work}/back"
    place = f"s3://full/big.{size}"
    with server as url:
        trees.large_file(big, size)
        up = of_file(peers, big, place)
        title = f"of {size >> 30} GiB"
        yield held(f"Upload {title}", service, up, server, url, size_bytes=size, entries=1)
        trees.remove(big)
        down = of_file(peers, place, back)
        before = lambda: trees.remove(back)
        yield held(f"Download {title}", service, down, server, url, size_bytes=size, entries=1, before=before)
        trees.remove(back)


def small(peers, work, service, server, target):
    """20,000 objects of 4 KiB up, and down again."""
    source, back = f"{work}/source", f"{work}/back"
    trees.small_files(source, 100, 200, 4096)
    with server as url:
        up = of_tree(peers, source, target)
        yield held("Upload of 20,000 objects of 4 KiB", service, up, server, url, entries=20_000)
        down = of_tree(peers, "s3://full/t", back)
        before = lambda: trees.remove(back)
        yield held("Download of 20,000 objects of 4 KiB", service, down, server, url, entries=20_000, before=before)
    trees.remove(source)
    trees.remove(back)


def flat_prefix(peers):
    """Keys of one prefix, where a page has 1,000 of them; in two buckets that are equal."""
    server = null_with_keys(peers, 200_000, "--latency-us=20000")
    source, target, service = "s3://full/t", "s3://same/t", "20 ms per request"
    with server as url:
        listing = {
            "dwalk": peers.ours("dwalk", "-q", source),
            "dwalk, 4 ranks": peers.ours("dwalk", "-q", source, ranks=4),
            "s5cmd ls": peers.other("s5cmd", "ls", f"{source}/*"),
            "rclone size": peers.other("rclone", "size", "s3:full/t/"),
            "aws s3 ls": peers.other("aws", "s3", "ls", f"{source}/"),
        }
        yield held("List of 200,000 keys of one prefix", service, listing, server, url, entries=200_000)
        sizes = ["-q", "-D", "--size-only", f"{source}/", f"{target}/"]
        nothing_to_do = {
            "dsync -D --size-only": peers.ours("dsync", *sizes),
            "dsync -D --size-only, 4 ranks": peers.ours("dsync", *sizes, ranks=4),
            "s5cmd sync --delete --size-only": peers.other(
                "s5cmd", "sync", "--delete", "--size-only", f"{source}/*", f"{target}/"),
            "rclone sync --size-only": peers.other("rclone", "-q", "sync", "--size-only", "s3:full/t/", "s3:same/t/"),
            "aws s3 sync --delete --size-only": peers.other(
                "aws", "s3", "sync", "--only-show-errors", "--delete", "--size-only", source, target),
        }
        title = "Synchronise 200,000 keys without changes"
        yield held(title, service, nothing_to_do, server, url, entries=200_000)


def held(title, service, commands, server, url, **more):
    servers_of = lambda: (server.server.pid,)
    return Contest(title, service, commands, env=environment(url), servers=servers_of, **more).hold()


def of_file(peers, source, target):
    """Each client with its own defaults."""
    remote = [path.replace("s3://", "s3:") for path in (source, target)]
    return {
        "dcp": peers.ours("dcp", "-q", source, target),
        "s5cmd": peers.other("s5cmd", "--log", "error", "cp", source, target),
        "rclone": peers.other("rclone", "-q", "copyto", "--ignore-times", "--ignore-checksum", *remote),
        "aws": peers.other("aws", "s3", "cp", "--only-show-errors", source, target),
    }


def of_tree(peers, source, target):
    """Without aws, which takes ten times as long, and rclone, which looks for what it has sent."""
    wild = f"{source}/*" if source.startswith("s3:") else f"{source}/"
    return {
        "dcp": peers.ours("dcp", "-q", f"{source}/", f"{target}/"),
        "s5cmd": peers.other("s5cmd", "--log", "error", "cp", wild, f"{target}/"),
    }
