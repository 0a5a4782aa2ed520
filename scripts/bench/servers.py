"""The servers that S3 clients are measured against, each for the time of a `with`."""

import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


class NullServer:
    """Answers from memory and throws uploads away: what is measured is the client."""

    def __init__(self, bin_dir, *flags):
        self.command = [os.path.join(bin_dir, "null_object_server"), *flags]

    def __enter__(self):
        self.server = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self.server.stdout.readline().strip()

    def __exit__(self, *_):
        self.server.stdin.close()
        self.server.wait()


class SeaweedFS:
    """A real object store, which keeps its data on the disk of temporary files. Takes every credential."""

    PORTS = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
             "filer.port", "filer.port.grpc")

    def __init__(self, venv):
        self.program = f"{venv}/weed"

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        ports = free_ports(len(self.PORTS))
        command = [self.program, "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder.name}",
                   "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=200",
                   "-s3.port.iceberg=0", "-s3.port.lance=0",
                   *(f"-{name}={port}" for name, port in zip(self.PORTS, ports))]
        # Without credentials in its environment it takes every one.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        self.server = subprocess.Popen(command, cwd=self.folder.name, **quiet)
        url = f"http://127.0.0.1:{ports[0]}"
        for bucket in ("full", "empty"):
            make_bucket(f"{url}/{bucket}")
        return url

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        self.folder.cleanup()


def free_ports(count):
    """All at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [it.getsockname()[1] for it in sockets]
    for it in sockets:
        it.close()
    return ports


def make_bucket(url, seconds_max=90):
    until = time.monotonic() + seconds_max
    while True:
        try:
            return urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=10).close()
        except (urllib.error.URLError, OSError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
