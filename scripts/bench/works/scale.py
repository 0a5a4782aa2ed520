"""What grows with entries and with ranks: memory, sorting, and the start and end of a job."""

import os
import subprocess

import storage
import trees
from contest import Contest

HELLO = r"""
#include <mpi.h>
int main(int argc, char **argv) { MPI_Init(&argc, &argv); MPI_Barrier(MPI_COMM_WORLD); return MPI_Finalize(); }
"""


def contests(peers):
    with storage.tmpfs() as work:
        yield from a_million(peers, work)
        yield from start_and_end(peers, work)


def a_million(peers, work):
    source = f"{work}/million"
    entries = trees.small_files(source, 1000, 999, 0)
    four, sorted_list = {"ranks": 4}, f"{work}/list"
    walks = {
        "dwalk, 4 ranks": peers.ours("dwalk", "-q", source, **four),
        "mpiFileUtils dwalk, 4 ranks": peers.mfu("dwalk", "-q", source, **four),
    }
    sorts = {
        "dwalk --sort, 4 ranks": peers.ours("dwalk", "-q", "--sort", "name", "-o", f"{sorted_list}.mfu", source, **four),
        "mpiFileUtils dwalk --sort, 4 ranks": peers.mfu("dwalk", "-q", "--sort", "name", "-o", sorted_list, source, **four),
    }
    yield Contest("Walk of 1,000,000 entries", "tmpfs", walks, entries).hold()
    yield Contest("List sorted by name, 1,000,000 entries", "tmpfs", sorts, entries).hold()
    trees.remove(source)


def start_and_end(peers, work):
    """An empty tree on 64 ranks, against a program that does nothing but start and end MPI."""
    hello, empty = f"{work}/hello", f"{work}/empty"
    with open(f"{hello}.c", "w", encoding="ascii") as out:
        out.write(HELLO)
    subprocess.run([os.environ.get("MPICC", "mpicc"), "-O2", "-o", hello, f"{hello}.c"], check=True)
    os.mkdir(empty)
    commands = {
        "dwalk, 64 ranks": peers.ours("dwalk", "-q", empty, ranks=64),
        "MPI_Init and MPI_Finalize, 64 ranks": peers.job(hello, [], 64),
    }
    yield Contest("Start and end, empty tree", "tmpfs", commands, 1).hold()
    yield Contest("--help", "one process", {"dcp --help": peers.ours("dcp", "--help")}, 1).hold()
