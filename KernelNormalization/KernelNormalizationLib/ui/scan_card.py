"""The one-line description of a scan and its traffic light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..core.kernels.told_kernel import kernel_in_use
from ..core.plain_text import for_html
from ..core.suitability import Suitability
from ..core.volume import Acquisition, CTVolume

# Contrast of at least 3:1 (WCAG 2.1, graphics) on white and on a dark panel (#323232); the meaning is also given in words.
COLORS = {
    "in domain": "#2e8b57",
    "untested": "#c77700",
    "already smooth": "#c77700",
    "refuse": "#dd5050",
    "cannot be used": "#dd5050",
}


REFUSE = "refuse"
NOT_USABLE = (REFUSE, "cannot be used")


@dataclass(frozen=True)
class ScanCard:
    """What the panel shows of the chosen volume.

    Attributes:
        facts: one line: kernel, manufacturer, slices, floor, sharpness.
        verdict: traffic light in words.
        reasons: sentences behind the verdict.
    """

    facts: str
    verdict: str
    reasons: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether normalizing the volume makes sense."""
        return self.verdict not in NOT_USABLE

    @property
    def refused(self) -> bool:
        """Whether the gate keeps the volume from being normalized; the user may override that."""
        return self.verdict == REFUSE

    @property
    def html(self) -> str:
        """Verdict with its colour, then the reasons."""
        color = COLORS.get(self.verdict, "#c77700")
        reasons = "<br>".join(_escaped(reason) for reason in self.reasons)
        return f'<span style="color:{color}">●</span> <b>{self.verdict}</b>' + (f"<br>{reasons}" if reasons else "")


def scanCard(volume: CTVolume, suitability: Suitability) -> ScanCard:
    """Describe ``volume``."""
    facts, (thickness, rows, _) = volume.acquisition, volume.geometry.spacing
    parts = [
        _kernelText(facts, suitability),
        facts.manufacturer or "manufacturer unknown",
        f"{facts.slice_thickness_mm or thickness:.3g} mm slices every {thickness:.3g} mm, pixels {rows:.3g} mm",
        f"{100.0 * suitability.lung_floor_share:.1f} % of lung at the HU floor",
    ]
    if suitability.sharpness is not None:
        parts.append(f"noise as sharp as B{suitability.sharpness.kernel_number:.0f}f")
    return ScanCard(" · ".join(parts), suitability.verdict, suitability.reasons)


def _kernelText(facts: Acquisition, suitability: Suitability) -> str:
    kernel = kernel_in_use(facts)
    header = f"header: {facts.kernel}" if facts.kernel else "not in the header"
    if facts.told_kernel is not None:
        return f"kernel {kernel}, named by you ({header})" if kernel else f"kernel estimated from noise ({header})"
    if not kernel:
        return "kernel unknown: estimated from noise"
    name = suitability.name
    kinds = [part for part in (name.sharpness, name.algorithm or name.reconstruction) if part]
    return f"kernel {name.name or kernel}" + (f" ({', '.join(kinds)})" if kinds else "")


def errorCard(message: str) -> ScanCard:
    """Card of a volume that cannot be used."""
    return ScanCard("", "cannot be used", (message,))


def _escaped(text: str) -> str:
    return for_html(text)


def describeScan(volume: Callable[[], CTVolume], kernel: str) -> ScanCard:
    """The card of a scan, with the kernel that the user named; takes seconds, so it runs in a thread."""
    from ..core.kernels.told_kernel import with_told_kernel
    from ..core.suitability import assess

    scan = with_told_kernel(volume(), kernel)
    return scanCard(scan, assess(scan))
