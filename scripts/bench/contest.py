"""Several programs that do the same work in turn, A B C A B C ..., in one run."""

import os
import statistics
from dataclasses import dataclass, field

import measure

TURNS = int(os.environ.get("TURNS", "3"))
# Further tries of a run during which the machine was busy.
TRIES_MAX = 3


@dataclass
class Contest:
    """What each of its programs does, and how much of it there is.

    `before` is called before each run, `around` gives a context for each. Commands that are None are of programs
    that are not installed. Programs whose names are in `counted` are run once more to count their system calls;
    those in `once` take so long that they have a single turn, without one that warms up.
    """

    title: str
    storage: str
    commands: dict
    entries: int = 0
    size_bytes: int = 0
    before: callable = lambda: None
    around: callable = None
    servers: callable = lambda: ()
    env: dict = None
    counted: tuple = ()
    once: tuple = ()
    turns: int = TURNS
    runs: dict = field(default_factory=dict)
    calls: dict = field(default_factory=dict)

    def hold(self):
        """Runs all of it; returns what a report needs as plain data."""
        commands = {name: command for name, command in self.commands.items() if command}
        self.runs = {name: [] for name in commands}
        for turn in range(self.turns + 1):
            for name, command in commands.items():
                if name in self.once and turn != 1:
                    continue
                run = self.one_run(command)
                if turn > 0:  # the first turn warms up
                    self.runs[name].append(run)
        for name in self.counted:
            if name in commands:
                self.before()
                self.calls[name] = measure.system_calls(commands[name], self.env)
        result = self.as_json()
        say(result)
        return result

    def one_run(self, command):
        for _ in range(TRIES_MAX):
            self.before()
            if self.around is None:
                run = measure.run(command, self.env, self.servers())
            else:
                with self.around():
                    run = measure.run(command, self.env, self.servers())
            if not run.disturbed:
                break
        return run

    def as_json(self):
        return {
            "title": self.title,
            "storage": self.storage,
            "entries": self.entries,
            "size_bytes": self.size_bytes,
            "programs": {
                name: {"runs": [run.as_json() for run in runs], "system_calls": self.calls.get(name)}
                for name, runs in self.runs.items()
            },
        }


def median(program, key):
    return statistics.median(run[key] for run in program["runs"])


def spread(program, key):
    values = [run[key] for run in program["runs"]]
    return min(values), max(values)


def disturbed(program):
    """Whether most of its runs were on a busy machine."""
    return sum(run["disturbed"] for run in program["runs"]) * 2 > len(program["runs"])


def say(result):
    print(f"\n{result['title']}, {result['storage']}:", flush=True)
    for name, program in result["programs"].items():
        busy = "  (busy machine)" if disturbed(program) else ""
        wall, cpu = median(program, "wall_seconds"), median(program, "cpu_seconds")
        print(f"  {name:40} {wall:9.3f} s wall {cpu:9.3f} s CPU{busy}", flush=True)
