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


class Cluster:
    """Another cluster: two doors of OpenSSH on this machine, each behind a line with a round trip of its own.

    Gives the configuration of ssh in which the doors are the hosts `one` and `two`.
    """

    DOORS = ("one", "two")

    def __init__(self, relay, round_trip_us):
        self.relay, self.round_trip_us = relay, round_trip_us

    def __enter__(self):
        self.running = []
        self.folder = tempfile.TemporaryDirectory()
        self.config = f"{self.folder.name}/ssh_config"
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{self.folder.name}/{key}"], check=True)
        os.makedirs("/run/sshd", exist_ok=True)
        self.ports = {door: self.line(self.door(port)) for door, port in zip(self.DOORS, free_ports(len(self.DOORS)))}
        with open(self.config, "w", encoding="utf-8") as out:
            for door, port in self.ports.items():
                out.write(f"Host {door}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  BatchMode yes\n"
                          f"  IdentityFile {self.folder.name}/user\n  StrictHostKeyChecking accept-new\n"
                          f"  UserKnownHostsFile {self.folder.name}/known\n")
        for door in self.DOORS:
            subprocess.run([*self.shell(), door, "true"], check=True, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        for process in reversed(self.running):
            process.kill()
            process.wait()
        self.folder.cleanup()

    def shell(self):
        return ["ssh", "-F", self.config]

    def door(self, port):
        """Starts a server, and returns its port."""
        config = f"{self.folder.name}/sshd_config.{port}"
        with open(config, "w", encoding="utf-8") as out:
            out.write(f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {self.folder.name}/host\nPidFile none\n"
                      f"AuthorizedKeysFile {self.folder.name}/user.pub\nStrictModes no\nUsePAM no\n"
                      "PermitRootLogin yes\nSubsystem sftp internal-sftp\n")
        self.start(["/usr/sbin/sshd", "-D", "-e", "-f", config])
        wait_for_port(port)
        return port

    def line(self, port):
        """Starts a relay to a server where there is a delay, and returns the port to connect to."""
        if self.round_trip_us == 0:
            return port
        # Half of the time each way.
        relay = self.start([self.relay, str(self.round_trip_us // 2), str(port)])
        return int(relay.stdout.readline())

    def start(self, command):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.running.append(subprocess.Popen(command, **pipes))
        return self.running[-1]

    def servers(self):
        return [process.pid for process in self.running]


def wait_for_port(port, seconds_max=30):
    until = time.monotonic() + seconds_max
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
