"""What a shape's measurement came to: CSV rows, lines of the table, remarks."""

import statistics

import record
from gpu import cases


class Outcome:
    def __init__(self, shape):
        self.shape = shape
        self.speeds = {}  # (who, Variant): samples; who is "ours" or a peer, whose variant is always dense
        self.programs = {}
        self.skipped = {}  # Variant: (measured share, the share of tiles with cold keys only)
        self.refusals = []  # (peer, program, reason)
        self.failures = []  # (Variant, problem)

    def add(self, who, variant, program, speeds):
        self.speeds[who, variant] = speeds
        self.programs[who, variant] = program

    def refuse(self, name, program, reason):
        self.refusals.append((name, program, reason))

    def fail(self, variant, problem):
        self.failures.append((variant, problem))

    def speed(self, who, variant=cases.DENSE):
        """The median, or None."""
        samples = self.speeds.get((who, variant))
        return statistics.median(samples) if samples else None

    def rows(self, command, columns):
        """CSV rows. A refusal's value is its reason."""
        rows = []
        for (who, variant), samples in self.speeds.items():
            case, program = cases.case_name(self.shape, variant), self.programs[who, variant]
            rows.append(record.row(program, command, case, "speed", samples, self.shape.unit, columns))
            if who == "ours" and variant.skip:
                rows.append(record.row(program, command, case, "skipped", [100 * self.skipped[variant][0]], "%", columns))
        for _, program, reason in self.refusals:
            rows.append(columns | {"program": program, "command": command, "case": cases.case_name(self.shape, cases.DENSE),
                                   "metric": "refused", "value": reason, "samples": 0})
        return rows

    def lines(self, peers):
        """Cells of the table, one row for each variant of ours, and one for the peers alone where ours has none."""
        dense = self.speed("ours")
        rows = []
        for variant in [v for who, v in self.speeds if who == "ours"]:
            samples, speed = self.speeds["ours", variant], self.speed("ours", variant)
            cells = [str(self.shape) if not rows else "", str(variant), f"{speed:.4g}",
                     f"{min(samples):.4g}–{max(samples):.4g}",
                     f"{100 * self.skipped[variant][0]:.1f} %" if variant.skip else "",
                     ratio(speed, dense) if variant.skip else ""]
            for name in peers:
                peer = self.speed(name)
                cells += [f"{peer:.4g}" if peer and not rows else "", ratio(speed, peer)]
            rows.append(cells)
        return rows

    def notes(self):
        """[(remark, what it is about)]."""
        shape = str(self.shape)
        notes = [(f"NOT REPORTED: {problem}", f"{shape}, {variant}") for variant, problem in self.failures]
        notes += [(f"{name} refuses: {reason}", shape) for name, _, reason in self.refusals]
        notes += [(program, shape) for program in self.programs.values() if "expanded" in program]
        notes += [(f"skips {100 * measured:.1f} % although {100 * expected:.1f} % of the tiles hold cold keys only",
                   f"{shape}, {variant}") for variant, (measured, expected) in self.skipped.items()
                  if measured < expected - 0.01]
        return notes + [(program, shape) for (who, _), program in self.programs.items() if who == "ours"]


def notes(outcomes):
    """The remarks, each once, with the cases that it is about."""
    about = {}
    for outcome in outcomes:
        for remark, subject in outcome.notes():
            about.setdefault(remark, []).append(subject)
    return [f"{remark}\n    " + "\n    ".join(dict.fromkeys(subjects)) for remark, subjects in about.items()]


def ratio(speed, other):
    return f"{speed / other:.3f}x" if speed and other else ""


def table(outcomes, peers):
    """The outcomes as text, TFLOP/s of prefill and TB/s of decode, dense-equivalent."""
    header = ["case", "mode", "ours", "range", "skipped", "/ own dense"]
    for name in peers:
        header += [name, "ours /"]
    rows = [header] + [line for outcome in outcomes for line in outcome.lines(peers)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    return "\n".join("  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)
