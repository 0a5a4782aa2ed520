"""The results of all works as one document, docs/benchmarks.md, with tables and plots."""

import json
import os
import textwrap

import plot
from contest import disturbed, median, spread

GB = 1e9

HEADINGS = {
    "metadata": (
        "Many small files",
        "100,000 files of 4 KiB in 100 directories, and a tree of empty files of the same shape for deleting. ext4 and"
        " xfs (with reflinks) are images in tmpfs. Caches are warm.",
    ),
    "large": ("One large file", "A file of 4 GiB from tmpfs to tmpfs."),
    "latency": (
        "Storage with latency",
        "6,000 files of 2 KiB in 300 directories, on a FUSE file system (`tests/latencyfs`) in which each operation takes"
        " 1 ms, as on a parallel file system. Caches are cold. The start of MPI is included.",
    ),
    "scale": ("Entries and ranks", "Empty files, 999 in a directory, on tmpfs; and jobs that have nothing to do."),
    "objects": (
        "S3",
        "`null_object_server` responds from memory and discards uploads; SeaweedFS is a real object store. The servers"
        " use the same cores: wall time is that of client and server, CPU time that of the client.",
    ),
    "ssh": (
        "Another cluster, over ssh",
        "Two servers of OpenSSH on this machine stand for two nodes of another cluster, behind a relay"
        " (`tests/latencyrelay`) that delays each direction by half of the round trip. Both sides share the cores and"
        " tmpfs. CPU time is that of this side, with ssh. `dcp` has 4 ranks and uses both nodes.",
    ),
}

INTRODUCTION = """# Benchmarks

`make bench` writes this page. It runs our tools and others that are installed one after the other on the same
work, in turns (A B C A B C …) after one turn that warms up, each with its defaults unless its name says more.
`make bench ONLY="metadata large"` repeats some of the sections, `TURNS=7` sets the number of turns,
`STORAGE="tmpfs ext4"` selects file systems of the first section, and `MFU=DIRECTORY` names the tools of mpiFileUtils. It requires root, and 10 GiB in `/dev/shm`.

Figures are medians; the range is from the fastest to the slowest run. Times are of whole processes with their
children, and include the start of MPI. Memory is the peak of the largest process. Calls are system calls per
entry, counted in a run of their own. A ratio is the program's wall time divided by that of the first
row: above 1, our tool is faster. A figure is marked † if another process or the hypervisor took more than 5 % (2 %) of
the processors in most of its runs, also after three attempts.

**Limits.** All measurements use one machine with few cores, which all ranks and servers share. Several nodes,
networks, Lustre, DAOS and real parallel file systems were not measured. [Measurements by hand](measurements.md)
has what `make bench` does not repeat, and earlier figures of sections that are not below.
"""


def filled(text):
    """Paragraphs in the width of all pages."""
    fill = textwrap.TextWrapper(width=100, break_long_words=False, break_on_hyphens=False).fill
    return "\n\n".join(fill(paragraph) for paragraph in text.strip().split("\n\n"))


class Report:
    """Results by section, kept beside the page, so that a part of them can be measured again."""

    def __init__(self, docs):
        self.page, self.folder = f"{docs}/benchmarks.md", f"{docs}/benchmarks"
        self.kept = f"{self.folder}/results.json"
        os.makedirs(self.folder, exist_ok=True)
        self.sections = {}
        if os.path.exists(self.kept):
            with open(self.kept, encoding="utf-8") as kept:
                self.sections = json.load(kept)

    def put(self, section, about, results):
        """Replaces a section. `about` says when, on what, and with which versions it was measured."""
        self.sections[section] = {"about": about, "results": results}
        with open(self.kept, "w", encoding="utf-8") as kept:
            json.dump(self.sections, kept, indent=1)
            kept.write("\n")
        self.write()

    def write(self):
        lines = [filled(INTRODUCTION) + "\n"]
        for name, (title, text) in HEADINGS.items():
            if name in self.sections:
                lines += self.section(title, text, self.sections[name])
        with open(self.page, "w", encoding="utf-8") as page:
            page.write("\n".join(lines).rstrip("\n") + "\n")

    def section(self, title, text, section):
        yield f"## {title}\n\n{filled(text)}\n\n{filled(section['about'])}\n"
        for result in section["results"]:
            yield f"### {result['title']}, {result['storage']}\n"
            yield from table(result)
            drawn = plot.draw(result, self.folder)
            if drawn:
                yield f"\n![Wall times]({os.path.basename(self.folder)}/{drawn})"
            yield ""


def table(result):
    """A row for each program; columns that no program has are left out."""
    programs = result["programs"]
    first = median(next(iter(programs.values())), "wall_seconds")
    counted = any(program["system_calls"] for program in programs.values())
    large = result["size_bytes"] > 0
    heads = ["program", "wall", "range", "ratio", "CPU", "memory"]
    heads += ["calls per entry"] * counted + ["CPU per GB"] * large
    yield row(heads)
    yield row(["---"] * len(heads))
    for name, program in programs.items():
        wall, cpu = median(program, "wall_seconds"), median(program, "cpu_seconds")
        low, high = spread(program, "wall_seconds")
        memory = max(run["peak_memory_bytes"] for run in program["runs"]) / 2**20
        cells = [name, f"{wall:.2f} s", f"{low:.2f} to {high:.2f} s", f"{wall / first:.2f}", f"{cpu:.2f} s"]
        cells[1] += " †" * disturbed(program)
        cells += [f"{memory:.0f} MiB"]
        if counted:
            calls = program["system_calls"]
            cells += [f"{calls / result['entries']:.1f}" if calls else ""]
        if large:
            cells += [f"{cpu / (result['size_bytes'] / GB):.2f} s"]
        yield row(cells)


def row(cells):
    return f"| {' | '.join(cells)} |"
