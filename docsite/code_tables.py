"""Tables of constants that stand in the code: kernel models, populations of the simulator."""

from __future__ import annotations


def kernels() -> str:
    """Parameters of the modelled kernels, as Markdown."""
    from KernelNormalizationLib.core.kernels.mtf import KERNELS

    rows = ["| kernel | f50 (lp/cm) | p | b | f1 (lp/cm) |", "| --- | --- | --- | --- | --- |"]
    rows += [f"| B{k.number}f | {k.f50:.2f} | {k.p:.2f} | {k.b:.2f} | {k.f1:.2f} |" for k in KERNELS.values()]
    return "\n".join(rows)


def populations() -> str:
    """What the simulator draws for its three populations, as Markdown."""
    from training.simulate import kernel_family as kernel
    from training.simulate import presets

    counts = zip(presets.PAPER_COUNTS, presets.PAPER_COUNT_SHARES, strict=True)
    shares = ", ".join(f"{count} ({100 * share:.0f} %)" for count, share in counts)
    correlations = " or ".join(map(str, presets.PAPER_CORRELATIONS))
    lifts = ", ".join(f"{lift:g}" for lift in kernel.LIFTS)
    outside_lifts = ", ".join(f"{lift:g}" for lift in kernel.OUTSIDE_LIFTS)
    spread = ", ".join(f"{100 * half:.0f} %" for half in kernel.SPREAD)
    low, high = kernel.OUTSIDE
    pixels = [" to ".join(f"{mm:.2f}" for mm in limits) for limits in (presets.PAPER_PIXELS, presets.DIVERSE_PIXELS)]
    thick = ", ".join(f"{mm:g}" for mm in presets.THICK_SLICES)
    rows = (
        ("", "`paper`: to test on", "`diverse`: to train on", "`outside`: beyond training"),
        ("---",) * 4,
        (
            "kernel",
            "B80f",
            f"B50f to B80f, f50, p, b, f1 within ± {spread}",
            f"all off by {low:g} to {high:g} times those limits",
        ),
        ("low-frequency lift, as a share of the measured one", f"{presets.PAPER_LIFT:g}", lifts, outside_lifts),
        ("images averaged", shares, "1 to 8, a clip at -1000 HU, or no floor", ", ".join(map(str, presets.OUTSIDE_COUNTS))),
        ("correlation of their noise", correlations, "0 to 0.6", f"0 to {presets.OUTSIDE_CORRELATION:g}"),
        ("dose (quanta a sample)", f"{presets.PAPER_QUANTA:.3g}, log-normal", "a third to five times that", "as paper"),
        ("pixels (mm)", pixels[0], pixels[1], "as paper"),
        ("slices (mm)", "1, some resampled from 0.7", f"0.7 to 1, a quarter {thick}", "as paper"),
    )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
