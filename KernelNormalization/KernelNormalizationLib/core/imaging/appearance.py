"""How pictures of a chest look in Slicer, reports and figures alike: window, range of a difference, and colours.

Colours are red, green and blue, each 0 to 1. The review page in the browser has its own, lighter ones for its dark background.
"""

from __future__ import annotations

RGB = tuple[float, float, float]

LUNG_WINDOW_WIDTH_HU, LUNG_WINDOW_CENTRE_HU = 1500.0, -600.0  # the usual lung window
LUNG_WINDOW_HU = (LUNG_WINDOW_CENTRE_HU - LUNG_WINDOW_WIDTH_HU / 2, LUNG_WINDOW_CENTRE_HU + LUNG_WINDOW_WIDTH_HU / 2)
DIFFERENCE_HU = 150.0  # a difference is drawn from minus to plus this many HU

EMPHYSEMA: RGB = (0.84, 0.15, 0.10)
# Emphysema of the first volume only, and of the second only; what both have is drawn as emphysema. The three differ in
# brightness too, for eyes that do not tell red from green.
REMOVED: RGB = (1.00, 0.62, 0.10)
ADDED: RGB = (0.55, 0.20, 0.85)
# Original and synthetic, or first and second volume: blue and vermilion of Okabe and Ito, safe for colour-blind eyes.
ORIGINAL: RGB = (0.0, 0.45, 0.70)
SYNTHETIC: RGB = (0.84, 0.37, 0.0)
