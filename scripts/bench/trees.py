"""Trees and files that are walked, copied, compared and deleted."""

import os
import shutil


def small_files(root, directories, files, size):
    """Files of one size, in directories of equally many; returns the number of entries."""
    content = os.urandom(size)
    for directory in range(directories):
        path = f"{root}/d{directory:04}"
        os.makedirs(path)
        for file in range(files):
            with open(f"{path}/f{file:05}", "wb") as out:
                out.write(content)
    return directories * (files + 1) + 1


def large_file(path, size):
    """A file of random bytes, which neither compress nor repeat within 16 MiB."""
    block = os.urandom(1 << 24)
    with open(path, "wb") as out:
        for _ in range(size >> 24):
            out.write(block)


def remove(path):
    """Whatever is there, or nothing."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
