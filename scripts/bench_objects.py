"""dcp against s5cmd, rclone and aws, from and to S3: what a client costs, and how fast it is.

Client and server share the machine's processors: wall time is that of the two together, CPU time the client's
own.
"""

import os
import statistics

from bench_servers import NullServer, SeaweedFS

GB = 1e9


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
        # The server keeps nothing that could be looked at afterwards.
        "RCLONE_CONFIG_S3_NO_HEAD": "true",
        "RCLONE_CONFIG_S3_NO_CHECK_BUCKET": "true",
    }


class Clients:
    """Each client's command for one and the same copy, with its own defaults."""

    def __init__(self, bin_dir, venv):
        self.dcp = [os.path.join(bin_dir, "dcp"), "-q"]
        self.s5cmd = [f"{venv}/s5cmd", "--log", "error", "cp"]
        self.rclone = [f"{venv}/rclone", "-q"]
        self.aws = [f"{venv}/aws", "s3", "cp", "--only-show-errors"]

    def of_file(self, source, target):
        remote = [path.replace("s3://", "s3:") for path in (source, target)]
        return {
            "dcp": [*self.dcp, source, target],
            "s5cmd": [*self.s5cmd, source, target],
            "rclone": [*self.rclone, "copyto", "--ignore-times", "--ignore-checksum", *remote],
            "aws": [*self.aws, source, target],
        }

    def of_tree(self, source, target):
        """Without aws, which takes ten times as long, and rclone, which looks for what it has sent."""
        wild = f"{source}/*" if source.startswith("s3:") else f"{source}/"
        return {
            "dcp": [*self.dcp, f"{source}/", f"{target}/"],
            "s5cmd": [*self.s5cmd, wild, f"{target}/"],
        }


def side_by_side(title, commands, env, runs, measure, before=lambda: None):
    """All clients in turn, one warm-up round, then medians."""
    seen = {name: [] for name in commands}
    for run in range(runs + 1):
        for name, command in commands.items():
            before()
            result = measure(command, env)
            if run > 0:
                seen[name].append(result)
    for name, results in seen.items():
        wall, cpu = (statistics.median(result[key] for result in results) for key in ("wall", "cpu"))
        memory = max(result["memory_bytes"] for result in results) / 2**20
        yield title, name, wall, cpu, memory


def large(work, clients, bin_dir, runs, measure, remove):
    """A file of 4 GiB against the server that does nothing."""
    print(f"\nA file of 4 GiB, null server, one process, {runs} turns:\n")
    with NullServer(bin_dir) as url:
        both_ways(work, clients, url, (4 << 30, runs), measure, remove, "s3://full/big.{size}")


def real(work, clients, venv, runs, measure, remove):
    """A file of 1 GiB against a real server, whose work is a part of the time."""
    print(f"\nA file of 1 GiB, SeaweedFS, one process, {runs} turns:\n")
    with SeaweedFS(venv) as url:
        both_ways(work, clients, url, (1 << 30, runs), measure, remove, "s3://full/big")


def both_ways(work, clients, url, size_and_runs, measure, remove, place):
    size, runs = size_and_runs
    print("| what | client | wall | CPU | CPU-s/GB | memory |\n| --- | --- | --- | --- | --- | --- |")
    big, back = f"{work}/big", f"{work}/back"
    block = os.urandom(1 << 24)
    with open(big, "wb") as out:
        for _ in range(size >> 24):
            out.write(block)
    place = place.format(size=size)
    rows = list(side_by_side("up", clients.of_file(big, place), environment(url), runs, measure))
    remove(big)
    down = clients.of_file(place, back)
    rows += side_by_side("down", down, environment(url), runs, measure, lambda: remove(back))
    remove(back)
    for title, name, wall, cpu, memory in rows:
        per_gb = cpu / (size / GB)
        print(f"| {title} | {name} | {wall:.2f} s | {cpu:.2f} s | {per_gb:.2f} | {memory:.0f} MiB |", flush=True)


def small(work, clients, bin_dir, venv, runs, measure, remove, small_files):
    """20,000 objects of 4 KiB, against the server that does nothing, and against a real one."""
    source, back = f"{work}/source", f"{work}/back"
    small_files(source, 100, 200, 4096)
    null = NullServer(bin_dir, "--keys=20000", "--key-prefix=t/")
    servers = (
        ("null server", null, "s3://empty/t", "s3://full/t"),
        ("SeaweedFS", SeaweedFS(venv), "s3://full/t", "s3://full/t"),
    )
    for title, server, target, origin in servers:
        print(f"\n20,000 objects of 4 KiB, {title}, one process, {runs} turns:\n")
        print("| what | client | wall | CPU | CPU, s5cmd = 1 | memory |\n| --- | --- | --- | --- | --- | --- |")
        with server as url:
            up, down = clients.of_tree(source, target), clients.of_tree(origin, back)
            rows = list(side_by_side("up", up, environment(url), runs, measure))
            rows += side_by_side("down", down, environment(url), runs, measure, lambda: remove(back))
        of_s5cmd = {what: cpu for what, name, _, cpu, _ in rows if name == "s5cmd"}
        for what, name, wall, cpu, memory in rows:
            share = cpu / of_s5cmd[what]
            print(f"| {what} | {name} | {wall:.2f} s | {cpu:.2f} s | {share:.2f} | {memory:.0f} MiB |", flush=True)
    remove(source)
    remove(back)


def flat_listing(bin_dir, summary, tool):
    """200,000 keys in one prefix, 20 ms a request."""
    print("\n200,000 keys in one flat prefix, 20 ms a request, dwalk's own time:\n")
    print("| ranks | time | keys listed by each rank |\n| --- | --- | --- |")
    with NullServer(bin_dir, "--keys=200000", "--key-prefix=t/", "--latency-us=20000") as url:
        for ranks in (1, 4):
            ended = summary(tool(ranks, "dwalk", "--json", "s3://full/t"), environment(url))
            shares = ", ".join(f"{rank['totals']['examined']:,}" for rank in ended["ranks"])
            print(f"| {ranks} | {ended['elapsed_s']:.2f} s | {shares} |", flush=True)
