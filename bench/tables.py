#!/usr/bin/env python3
"""tables.py [--check]: writes the GPU tables of docs/benchmarks.md from bench/results/gpu_*.csv and engine_*.csv.

Each kind stands between two comments of the document. With --check nothing is written; the exit status is 1 where the
document is not up to date.
"""

import dataclasses
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import record  # noqa: E402
from gpu import cases, engine_rows, rows  # noqa: E402

DOCUMENT = record.ROOT / "docs/benchmarks.md"
RESULTS = record.ROOT / "bench/results"
BEGIN, END = "<!-- made by bench/tables.py -->", "<!-- end of what bench/tables.py makes -->"
BEGIN_ENGINE, END_ENGINE = "<!-- engine: made by bench/tables.py -->", "<!-- engine: end of what bench/tables.py makes -->"
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


def engine_time(result, measure):
    """The number that a program got, with its unit."""
    metric, unit = engine_rows.TIMES[measure]
    value = result and result.values.get(metric)
    return f"{rows.number(value)} {unit}" if value else DASH


def engine_cell(results, case, best_peer):
    """Ours: the time, times the best peer, times dense, and the skipped share where it is not the wanted one."""
    result = results.get((case, engine_rows.OURS))
    metric, _ = engine_rows.TIMES[case.measure]
    if not result or metric not in result.values:
        return DASH
    faster = (lambda a, b: a / b) if metric == "throughput" else (lambda a, b: b / a)
    details = [f"{faster(result.values[metric], best_peer):.2f} ×"] if best_peer else []
    dense = results.get((case.dense(), engine_rows.OURS))
    if case.share:
        if dense and metric in dense.values:
            details.append(f"{faster(result.values[metric], dense.values[metric]):.2f} × dense")
        phase = "decode" if case.measure == "decode" else "prefill"
        skipped = result.values.get(f"skipped_{phase}", 0.0)
        if abs(skipped - 100 * case.share) > 2:
            details.append(f"{skipped:.0f} % skipped")
    return engine_time(result, case.measure) + (f" ({', '.join(details)})" if details else "")


def parts_cell(result):
    """Shares of the device's time."""
    parts = {name: result.values.get(f"part_{name}", 0.0) for name in engine_rows.PARTS} if result else {}
    total = sum(parts.values())
    return ", ".join(f"{name} {100 * part / total:.0f} %" for name, part in parts.items() if part) if total else ""


def engine_table(results, shape, measure, title):
    """results: {(Case, program): Result} of one card."""
    shown = sorted({case.dense() for case, _ in results if case.shape == shape and case.measure == measure})
    if not shown:
        return []
    mine = {key: result for key, result in results.items() if key[0].dense() in shown}
    shares = sorted({case.share for case, program in mine if program == engine_rows.OURS and case.share})
    peers = sorted({program for _, program in mine} - {engine_rows.OURS})
    columns = [f"{100 * share:g} %" for share in shares]
    header = ["case", *peers, "dense", *columns, "of dense", *(f"of {column}" for column in columns)]
    lines = [f"**{shape}: {title}**", "", f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    metric, _ = engine_rows.TIMES[measure]
    for case in shown:
        theirs = [mine.get((case, peer)) for peer in peers]
        times = [result.values[metric] for result in theirs if result and metric in result.values]
        best = (max if metric == "throughput" else min)(times) if times else None
        ours = [case] + [dataclasses.replace(case, share=share) for share in shares]
        cells = [str(case).removeprefix(f"{shape} {measure} ")] + [engine_time(result, measure) for result in theirs]
        cells += [engine_cell(mine, each, best) for each in ours]
        cells += [parts_cell(mine.get((each, engine_rows.OURS))) for each in ours]
        lines.append(f"| {' | '.join(cells)} |")
    refused = {}
    for (case, program), result in sorted(mine.items()):
        if result.refused:
            refused.setdefault(f"{program} is not measured ({result.refused.rstrip('.')})", []).append(
                str(case).removeprefix(f"{shape} "))
    lines += [""] + [f"- {reason}: {'; '.join(names)}." for reason, names in sorted(refused.items())]
    return lines + [""] * bool(refused)


def engine_section(paths):
    results, lines = engine_rows.read(sorted(paths)), []
    for name in sorted({card for card, _, _ in results}):
        mine = {(case, program): result for (card, case, program), result in results.items() if card == name}
        commits = ", ".join(dict.fromkeys(result.commit for result in sorted(mine.values(), key=lambda each: each.date)))
        newest = max(mine.values(), key=lambda each: each.date)
        state = rows.without_clocks("; ".join(newest.machine.split("; ")[3:]))
        programs = ", ".join(sorted({result.program.split(",")[0] for result in mine.values()}))
        lines += [f"### {name}", f"{state}. Commit {commits}. {programs}.", ""]
        for shape in sorted({case.shape for case, _ in mine}):
            lines += engine_table(mine, shape, "prefill", "time to the first token")
            lines += engine_table(mine, shape, "decode", "time per output token")
            lines += engine_table(mine, shape, "throughput", "tokens per second, prompts and output")
            lines += memory_lines(mine, shape)
    return "\n".join(lines).rstrip() or NOTHING_YET


def memory_lines(results, shape):
    """Of the first case that knows it."""
    for (case, program), result in sorted(results.items()):
        if case.shape == shape and program == engine_rows.OURS and "memory_weights" in result.values:
            gigabytes = [f"{name.replace('_', ' ').replace('kv', 'KV')} {result.values[f'memory_{name}']:.1f} GB"
                         for name in engine_rows.MEMORY]
            return [f"Memory in use at {str(case).removeprefix(f'{shape} ')}: {', '.join(gigabytes)}.", ""]
    return []


def updated(document, text, begin=BEGIN, end=END):
    """`document` with `text` between its comments; raises ValueError where they are missing."""
    if document.count(begin) != 1 or document.count(end) != 1:
        raise ValueError(f"the document needs the lines '{begin}' and '{end}' once each")
    head, rest = document.split(begin)
    return f"{head}{begin}\n{text}\n{end}{rest.split(end)[1]}"


def main():
    old = DOCUMENT.read_text(encoding="utf-8")
    new = updated(old, section(RESULTS.glob("gpu_*.csv")))
    new = updated(new, engine_section(RESULTS.glob("engine_*.csv")), BEGIN_ENGINE, END_ENGINE)
    if "--check" in sys.argv[1:]:
        if old != new:
            sys.exit("docs/benchmarks.md is not what bench/results/ says: run bench/tables.py")
        return
    DOCUMENT.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
