"""Measures our tools beside others that do the same work, and writes docs/benchmarks.md.

    [ONLY="metadata large"] [STORAGE="tmpfs ext4"] [TURNS=3] [MFU=DIRECTORY] python3 scripts/bench BIN-DIRECTORY MPIEXEC [FLAGS...]

Each section is a module of `works`. Requires root, for loop and FUSE mounts.
"""

import datetime
import importlib
import os
import sys

import machine
from peers import Peers
from report import HEADINGS, Report
from storage import ROOT


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    peers = Peers(os.path.abspath(sys.argv[1]), sys.argv[2:], f"{ROOT}/target/venv/bin")
    sections = os.environ.get("ONLY", "").split() or list(HEADINGS)
    unknown = set(sections) - set(HEADINGS)
    if unknown:
        sys.exit(f"bench: no section {', '.join(sorted(unknown))}; sections are {', '.join(HEADINGS)}")
    if not machine.is_quiet():
        print("bench: the machine is busy; figures that this disturbs are marked", file=sys.stderr)
    report = Report(f"{ROOT}/docs")
    for section in sections:
        contests = importlib.import_module(f"works.{section}").contests(peers)
        report.put(section, about(peers), list(contests))


def about(peers):
    """When, on what, and with which versions."""
    installed, missing = peers.versions()
    today = datetime.date.today().isoformat()
    launcher = os.path.basename(peers.mpiexec[0])
    text = f"Measured on {today} with `{launcher}` on {machine.description()}: {', '.join(installed)}."
    return text + (f" Not installed: {', '.join(missing)}." if missing else "")


main()
