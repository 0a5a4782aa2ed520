"""The programs that are measured, ours and others', and where they were found."""

import os
import re
import shutil
import subprocess

OURS = ("dwalk", "dcp", "dsync", "dcmp", "drm")
OTHERS = ("find", "ls", "cp", "dd", "rm", "diff", "rsync", "fpsync", "rclone", "juicefs", "s5cmd", "aws")
VERSION_FLAGS = {"fpsync": "-V", "s5cmd": "version", "rclone": "version", "juicefs": "version"}


class Peers:
    """Commands by name: `mfu` are the tools of mpiFileUtils, in the directory that MFU names."""

    def __init__(self, bin_dir, mpiexec, venv):
        self.bin_dir, self.mpiexec, self.venv = bin_dir, mpiexec, venv
        self.mfu_dir = os.environ.get("MFU", "")

    def ours(self, name, *arguments, ranks=1):
        """A job of one of our tools; a single rank needs no launcher."""
        return self.job(os.path.join(self.bin_dir, name), arguments, ranks)

    def mfu(self, name, *arguments, ranks=1):
        """The same of mpiFileUtils, or None where it is not installed."""
        program = os.path.join(self.mfu_dir, name)
        if not self.mfu_dir or not os.path.exists(program):
            return None
        return self.job(program, arguments, ranks)

    def job(self, program, arguments, ranks):
        command = [program, *arguments]
        return command if ranks == 1 else [*self.mpiexec, "-n", str(ranks), *command]

    def other(self, name, *arguments):
        """Somebody else's program, or None where it is not installed."""
        program = self.find(name)
        return [program, *arguments] if program else None

    def find(self, name):
        beside = os.path.join(self.venv, name)
        return beside if os.access(beside, os.X_OK) else shutil.which(name)

    def versions(self):
        """Name and version of what is installed, and the names of what is not."""
        installed, missing = [], []
        for name in OTHERS:
            program = self.find(name)
            if program:
                installed.append(f"{name} {version(program, VERSION_FLAGS.get(name, '--version'))}")
            else:
                missing.append(name)
        if self.mfu("dcp") is None:
            missing.append("mpiFileUtils")
        else:
            installed.append(f"mpiFileUtils {os.environ.get('MFU_VERSION', '(version not said)')}")
        return installed, missing

    def environment(self):
        """Nothing of the caller's configuration of rclone, and the temporary files of fpsync in memory."""
        return {**os.environ, "RCLONE_CONFIG": "/dev/null"}


def version(program, flag):
    words = subprocess.run([program, flag], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+[^\s,:)]*", words.stdout)
    return found.group(0).rstrip(".") if found else "?"
