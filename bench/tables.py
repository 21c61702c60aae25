#!/usr/bin/env python3
"""tables.py [--check]: writes the GPU tables of docs/benchmarks.md from bench/results/gpu_*.csv.

They stand between two comments of the document. With --check nothing is written; the exit status is 1 where the
document is not up to date.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import record  # noqa: E402
from gpu import cases, rows  # noqa: E402

DOCUMENT = record.ROOT / "docs/benchmarks.md"
RESULTS = record.ROOT / "bench/results"
BEGIN, END = "<!-- made by bench/tables.py -->", "<!-- end of what bench/tables.py makes -->"
NOTHING_YET = "No card has been measured yet."
DASH = "–"


def speed_cell(measured, variant):
    """Speed, times the best peer, and the skipped share where it is not the cold one."""
    speed = measured.speed("ours", variant)
    if not speed:
        return ""
    details, peer = [], measured.best_peer()
    if peer:
        details.append(f"{speed / peer[1]:.2f} ×")
    share = measured.skipped.get(variant, 0.0)
    if abs(share - variant.share) > 0.01:
        details.append(f"{100 * share:.0f} % skipped")
    return rows.number(speed) + (f" ({', '.join(details)})" if details else "")


def peer_cell(measured, name):
    speed = measured.speed(name)
    return f"{rows.number(speed)}{'*' * (name in measured.expanded)}" if speed else DASH


def shape_rows(measured):
    """A table row for each stretch, the dense columns and peers in the first one only."""
    stretches = sorted({variant.stretch for variant in measured.skipped if variant.share}, reverse=True) or [cases.STRETCHES[0]]
    for position, stretch in enumerate(stretches):
        cold = [speed_cell(measured, cases.Variant(True, share, stretch)) for share in cases.SHARES]
        if position:
            yield ["", str(stretch), "", ""] + cold + [""] * len(rows.PEERS)
        else:
            yield ([rows.short(measured.shape), str(stretch), speed_cell(measured, cases.DENSE),
                    speed_cell(measured, cases.NOTHING)] + cold + [peer_cell(measured, name) for name in rows.PEERS])


def phase_table(results, phase, title):
    shown = sorted((measured for _, measured in results.values() if measured.shape.phase == phase),
                   key=lambda measured: (measured.shape.kv_type, -measured.shape.head_dim, measured.shape.heads,
                                         -measured.shape.kv_heads, measured.shape.page, measured.shape.kv_len,
                                         measured.shape.batch, -measured.shape.q_len))
    if not shown:
        return []
    header = ["case", "stretch", "dense", "nothing to skip"] + [f"{100 * share:.0f} %" for share in cases.SHARES]
    header += list(rows.PEERS)
    lines = [f"**{title}**", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(cells)} |" for measured in shown for cells in shape_rows(measured)]
    refused = {}
    for measured in shown:
        for name, reason in measured.refused.items():
            refused.setdefault(f"{name} refuses ({reason.rstrip('.')})", []).append(rows.short(measured.shape))
    remarks = [f"{remark}: {'; '.join(shapes)}." for remark, shapes in sorted(refused.items())]
    if any(measured.expanded for measured in shown):
        remarks.append("\\* K and V were expanded to all query heads beforehand, for the peer takes no grouped heads.")
    return lines + [""] + [f"- {remark}" for remark in remarks] + [""] * bool(remarks)


def card_section(card, results):
    runs = {run.date: run for run, _ in results.values()}
    last = runs[max(runs)]
    commits = ", ".join(dict.fromkeys(runs[date].commit for date in sorted(runs)))
    limits = ", ".join(f"{case} {speed:.4g} {unit}" for case, (speed, unit) in last.ceilings.items())
    lines = [f"### {card}", f"{rows.without_clocks(last.card_state)}. Commit {commits}." + (f" {limits}." * bool(limits)), ""]
    lines += phase_table(results, "prefill", "Prefill, TFLOP/s of dense causal attention")
    lines += phase_table(results, "decode", "Decode, TB/s of all K and V")
    return lines


def section(paths):
    """The text between the comments."""
    cards = rows.newest(rows.read(sorted(paths)))
    lines = [line for card in sorted(cards) for line in card_section(card, cards[card])]
    return "\n".join(lines).rstrip() or NOTHING_YET


def updated(document, text):
    """`document` with `text` between its comments; raises ValueError where they are missing."""
    if document.count(BEGIN) != 1 or document.count(END) != 1:
        raise ValueError(f"the document needs the lines '{BEGIN}' and '{END}' once each")
    head, rest = document.split(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def main():
    old = DOCUMENT.read_text(encoding="utf-8")
    new = updated(old, section(RESULTS.glob("gpu_*.csv")))
    if "--check" in sys.argv[1:]:
        if old != new:
            sys.exit("docs/benchmarks.md is not what bench/results/ says: run bench/tables.py")
        return
    DOCUMENT.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
