"""Draw the extension and module icons: SVG from code, then PNG, 128 x 128.

Run ``python Resources/draw_icons.py`` (needs PySide6) after changing a drawing; the results are committed.
"""

from __future__ import annotations

import random
from pathlib import Path

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter, QPainterPath
from PySide6.QtSvg import QSvgRenderer

ROOT = Path(__file__).resolve().parents[1]
SIZE = 128
LUNG_START = (57, 40)
LUNG_CURVES = ((46, 16, 26, 38, 17, 78), (11, 106, 18, 116, 34, 108), (45, 102, 57, 104, 57, 90))
LUNG = "M57 40 " + " ".join(f"C{a} {b} {c} {d} {e} {f}" for a, b, c, d, e, f in LUNG_CURVES) + " Z"
CELL = 5
SPECKLE = ("#0b1b29", "#ffffff", "#2f6f9c")
EMPHYSEMA = [(42, 48, 7), (32, 66, 6), (46, 66, 5), (30, 86, 4), (43, 84, 4)]


def kernels() -> str:
    """Normalization: an arrow from a speckled (sharp) half to a smooth one; coarse, so that 16 pixels show it."""
    dice = random.Random(20)
    cells = [(x, y) for x in range(2, 62, 15) for y in range(4, 124, 15) if x > 2 or 4 < y < 109]
    speckle = "".join(f'<rect x="{x}" y="{y}" width="15" height="15" fill="{dice.choice(SPECKLE)}"/>' for x, y in cells)
    arrow = '<path d="M22 64 H92 M68 38 L96 64 L68 90" fill="none" stroke="{c}" stroke-width="{w}" stroke-linecap="round" '
    arrow += 'stroke-linejoin="round"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">'
        f'<rect x="2" y="2" width="124" height="124" rx="22" fill="#8fc7ef"/>{speckle}'
        f"{arrow.format(c='#ffffff', w=30)}{arrow.format(c='#c77700', w=18)}</svg>"
    )


def svg(sharp_left: bool, sharp_right: bool, holes_left: bool, holes_right: bool) -> str:
    """Two lungs seen from the front; each speckled like a sharp kernel or smooth, with or without emphysema."""
    left = lung(sharp_left, holes_left)
    right = f'<g transform="translate({SIZE} 0) scale(-1 1)">{lung(sharp_right, holes_right)}</g>'
    trachea = (
        '<path d="M64 12 V44 M64 44 L52 58 M64 44 L76 58" fill="none" stroke="#dfe7ee" stroke-width="8" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">'
        f'<rect x="2" y="2" width="124" height="124" rx="22" fill="#16324a"/>{left}{right}{trachea}</svg>'
    )


def lung(sharp: bool, holes: bool) -> str:
    """One lung (the one on the left of the picture)."""
    speckle = noise() if sharp else ""
    spots = "".join(f'<circle cx="{x}" cy="{y}" r="{r}" fill="#ff5a4d"/>' for x, y, r in EMPHYSEMA) if holes else ""
    return (
        f'<path d="{LUNG}" fill="#5fb0e6"/>{speckle}{spots}'
        f'<path d="{LUNG}" fill="none" stroke="#eaf4fb" stroke-width="4" stroke-linejoin="round"/>'
    )


def noise() -> str:
    """Dark and bright squares inside the lung at random, the same ones in every drawing."""
    dice = random.Random(20)
    outline = QPainterPath()
    outline.moveTo(*LUNG_START)
    for curve in LUNG_CURVES:
        outline.cubicTo(*curve)
    outline.closeSubpath()
    cells = [(x, y) for x in range(7, 60, CELL) for y in range(20, 120, CELL)]
    return "".join(
        f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{dice.choice(SPECKLE)}"/>'
        for x, y in cells
        if outline.contains(QRectF(x, y, CELL, CELL))
    )


def write(path: Path, drawing: str) -> None:
    """Render ``drawing`` into the PNG file ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = QImage(SIZE, SIZE, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    QSvgRenderer(QByteArray(drawing.encode())).render(painter)
    painter.end()
    if not image.save(str(path)):
        raise OSError(f"{path} could not be written")


if __name__ == "__main__":
    application = QGuiApplication(["draw_icons", "-platform", "offscreen"])
    write(ROOT / "KernelNormalization/Resources/Icons/KernelNormalization.png", kernels())
    write(ROOT / "EmphysemaQuant/Resources/Icons/EmphysemaQuant.png", svg(False, False, True, True))
    write(ROOT / "Resources/CTKernelNormalization.png", svg(True, False, False, True))
