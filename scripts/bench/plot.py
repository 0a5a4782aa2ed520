"""A bar for each program of a contest: the median of its wall time, with the fastest and the slowest run."""

import re

from contest import median, spread

OURS_COLOUR, OTHERS_COLOUR = "#1f77b4", "#b0b0b0"


def draw(result, folder):
    """Writes an SVG and returns its name, or None where matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError:
        return None
    matplotlib.use("svg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    from matplotlib import pyplot

    names = list(result["programs"])
    programs = result["programs"].values()
    walls = [median(program, "wall_seconds") for program in programs]
    ends = [spread(program, "wall_seconds") for program in programs]
    errors = [
        [wall - low for wall, (low, _) in zip(walls, ends)],
        [high - wall for wall, (_, high) in zip(walls, ends)],
    ]
    colours = [OURS_COLOUR if is_ours(name) else OTHERS_COLOUR for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.28 * len(names)), layout="constrained")
    axes.barh(names, walls, xerr=errors, color=colours, error_kw={"linewidth": 0.8, "capsize": 2})
    axes.invert_yaxis()
    axes.set_xlabel("wall time in seconds")
    axes.spines[["top", "right"]].set_visible(False)
    name = f"{slug(result)}.svg"
    figure.savefig(f"{folder}/{name}", metadata={"Date": None})
    pyplot.close(figure)
    return name


def is_ours(name):
    return re.match(r"(dwalk|dcp|dsync|dcmp|drm)\b", name) is not None


def slug(result):
    return re.sub(r"[^a-z0-9]+", "-", f"{result['title']} {result['storage']}".lower()).strip("-")
