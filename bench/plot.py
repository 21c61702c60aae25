#!/usr/bin/env python3
"""plot.py CSV... -o FOLDER: draws speed against the skipped share as SVG, from rows of bench/gpu/attention.py.

For each card two files, prefill and decode, of the shape with the most shares measured (or of the first that --shape
names). One line for ours in each stretch of cold keys, level lines for what does not skip, and the limit that computing
every score sets.
"""

import argparse
import html
import math
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from gpu import cases, rows  # noqa: E402

WIDTH, HEIGHT = 900, 470
LEFT, RIGHT, TOP, BOTTOM = 70, 200, 84, 56  # around the axes; labels of the lines stand on the right
INK, PALE, GRID = "#1a1a1a", "#6b6b6b", "#e4e4e4"
# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = {"128": "#0072b2", "32": "#009e73", "16": "#d55e00", "dense": "#1a1a1a", "cuDNN": "#cc79a7", "flash": "#7a5c00"}
LABEL_HEIGHT = 16


class Line:
    """Points (skipped share in %, Value), left to right."""

    def __init__(self, name, colour, points, dash=""):
        self.name, self.colour, self.dash = name, colour, dash
        self.points = sorted(points, key=lambda point: point[0])


def lines_of(measured):
    lines = []
    zero = measured.speeds.get(("ours", cases.NOTHING))
    for stretch in cases.STRETCHES:
        points = [(100 * measured.skipped[variant], value) for (who, variant), value in measured.speeds.items()
                  if who == "ours" and variant.share and variant.stretch == stretch]
        if points:
            lines.append(Line(f"stretches of {stretch}", COLOURS[str(stretch)], points + [(0.0, zero)] * bool(zero)))
    for who, name in [("ours", "skip off"), *((peer, peer) for peer in rows.PEERS)]:
        value = measured.speeds.get((who, cases.DENSE))
        if value:
            label = name + " (K, V expanded)" * (who in measured.expanded)
            lines.append(Line(label, COLOURS["dense" if who == "ours" else who], [(0.0, value), (100.0, value)], "6 4"))
    return lines


def nice_step(top, wanted=6):
    """A round distance between about `wanted` marks from 0 to `top`."""
    magnitude = 10.0 ** math.floor(math.log10(top / wanted))
    return next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude * wanted >= top)


def spread(heights, gap, bottom):
    """The same heights, moved apart so that labels do not cover each other and none is below `bottom`."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [0.0] * len(heights)
    last = -math.inf
    for i in order:
        last = placed[i] = max(heights[i], last + gap)
    limit = bottom
    for i in reversed(order):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - gap
    return placed


def text(x, y, words, anchor="start", size=12, colour=INK, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"{extra}>{html.escape(words)}</text>'


def path(points, colour, dash="", width=2.0):
    d = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path d="{d}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def draw(title, subtitle, unit, lines):
    """An SVG document."""
    top = 1.08 * max(value.high for line in lines for _, value in line.points)
    step = nice_step(top)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x_of(share):
        return LEFT + (right - LEFT) * share / 100

    def y_of(speed):
        return bottom - (bottom - TOP) * speed / top

    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
             text(LEFT, 28, title, size=16, extra=' font-weight="600"'), text(LEFT, 47, subtitle, colour=PALE)]
    for i in range(int(top / step) + 1):
        y = y_of(i * step)
        parts.append(path([(LEFT, y), (right, y)], INK if i == 0 else GRID, width=1))
        parts.append(text(LEFT - 8, y + 4, f"{i * step:g}", "end", colour=PALE))
    for share in range(0, 101, 25):
        x = x_of(share)
        parts.append(path([(x, bottom), (x, bottom + 5)], INK, width=1))
        parts.append(text(x, bottom + 20, f"{share} %", "middle", colour=PALE))
    parts.append(text((LEFT + right) / 2, HEIGHT - 14, "tiles skipped", "middle"))
    parts.append(text(20, (TOP + bottom) / 2, f"{unit}, dense-equivalent", "middle",
                      extra=f' transform="rotate(-90 20 {(TOP + bottom) / 2:.1f})"'))
    level = next((line.points[0][1].median for line in lines if line.name == "skip off"), None)
    if level:
        limit = [(s, level / (1 - s / 200)) for s in range(0, 101, 2)]
        shown = [(x_of(s), y_of(speed)) for s, speed in limit if speed <= top]
        parts.append(path(shown, PALE, "1 4", 1.5))
    keys = [(line.name, line.colour, line.dash) for line in lines] + [("limit: scores computed", PALE, "1 4")] * bool(level)
    x = LEFT
    for name, colour, dash in keys:
        parts.append(path([(x, 64), (x + 20, 64)], colour, dash))
        parts.append(text(x + 25, 68, name, size=11))
        x += 40 + 6.2 * len(name)
    ends = [y_of(line.points[-1][1].median) for line in lines]
    for line, end, label in zip(lines, ends, spread(ends, LABEL_HEIGHT, bottom)):
        parts.append(path([(x_of(s), y_of(v.median)) for s, v in line.points], line.colour, line.dash))
        for share, value in line.points if not line.dash else []:
            x = x_of(share)
            parts.append(path([(x, y_of(value.low)), (x, y_of(value.high))], line.colour, width=1))
            parts.append(f'<circle cx="{x:.1f}" cy="{y_of(value.median):.1f}" r="3.5" fill="{line.colour}"/>')
        parts.append(path([(x_of(line.points[-1][0]) + 5, end), (right + 6, label)], line.colour, "1 2", 1))
        parts.append(text(right + 10, label + 4, f"{line.name}: {rows.number(line.points[-1][1].median)}", colour=line.colour))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="Helvetica, Arial, sans-serif">\n' + "\n".join(parts) + "\n</svg>\n")


def pick(results, phase, pattern):
    """The (Run, Measured) of this phase with the most variants among those whose name matches; None where there is none."""
    fitting = [pair for shape, pair in results.items() if shape.phase == phase and re.search(pattern, str(shape))]
    return max(fitting, key=lambda pair: len(pair[1].speeds), default=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("csv", nargs="+", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=pathlib.Path("."), help="folder of the SVG files")
    parser.add_argument("--shape", default="", help="regular expression on the name of the shape")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    drawn = 0
    for card, results in rows.newest(rows.read(options.csv)).items():
        for phase in ("prefill", "decode"):
            picked = pick(results, phase, options.shape)
            if picked:
                run, measured = picked
                name = re.sub(r"[^a-z0-9]+", "_", f"{card} {phase}".lower())
                title = f"Attention {phase}: {rows.short(measured.shape)}"
                file = options.output / f"{name}.svg"
                file.write_text(draw(title, f"{card}, commit {run.commit}", measured.shape.unit, lines_of(measured)),
                                encoding="utf-8")
                print(file)
                drawn += 1
    if not drawn:
        sys.exit("plot.py: these files have no such rows of bench/gpu/attention.py")


if __name__ == "__main__":
    main()
