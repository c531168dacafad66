"""The verdict on a lung mask: ok, look at it, or failed, with the reasons in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from KernelNormalizationLib.core.errors import LungNotFoundError

Verdict = Literal["ok", "look", "failed"]

# Own choice, generous: mean TLV of normal adults at CT is 4.5 +- 1.3 L (Cheng 2019, abstract); emphysema and height add.
VOLUME_RANGE_ML = (1000.0, 10000.0)
# Less than this is no chest CT of an adult with lungs in the field of view.
FAILED_VOLUME_ML = 300.0
# The largest lungs hold some 10 L; far more is another part of the image, as where lungs and surroundings are exchanged.
FAILED_LARGE_ML = 15000.0
# Own choice, generous: with more tissue it is no lung but another part of the image, such as the spine.
FAILED_DENSE_PERCENT = 85.0
# Own choice: lungs with 40 % emphysema have a median of about -940 HU. A mean this low is gas: a mask of emphysema or air.
FAILED_MEAN_HU = -965.0
# So much tissue in a mask, and so much lung beside it, that it is of another scan or turned round: a chest's mask turned upside
# down has 34 % and 570 mL, one with large consolidations has no lung beside it.
ASTRAY_TISSUE_PERCENT, ASTRAY_LUNG_ML = 25.0, 300.0
# Own choice: 1.0 to 1.4 in the test chests; one lobe removed or collapsed leads outside.
SIDE_RATIO_RANGE = (0.65, 2.0)
# Own choice: the test chests lie between -880 and -800 HU; severe emphysema is lower, expiration and dense lungs higher.
MEAN_RANGE_HU = (-940.0, -550.0)
CUT_AREA_CM2 = 4.0
EDGE_AREA_CM2 = 2.0
# Vessels are 3 to 6 % of the masks of the test chests; more tissue is consolidation, a mass or a bridged gap.
DENSE_SHARE_PERCENT = 12.0
GAS_POCKET_ML = 40.0
# Lungs touch along a junction of a few cm by one or two; a larger contact is a cut through one of them.
CONTACT_CM2 = 50.0
# The gaps of the two sides differ by 1 to 6 mm in the test chests.
DORSAL_GAP_MM = 18.0
LEFT_OUT_GAS_ML = 150.0
# Undiluted contrast in the great veins of a test chest reaches 4 mL without harm to the mask.
METAL_ML = 8.0
# Own choice: a ball of 27 mm; what noise and partial volume close off in the test chests is below 1 mL.
HOLES_ML = 10.0
# Own choice: a ball of 49 mm, a tenth of a lobe; the test chests with a complete mask have none.
MISSED_LUNG_ML = 60.0
# Own choice: a ball of 25 mm; the test chests have none.
SOLID_ML = 8.0
# A left diaphragm standing higher at its side makes 39 cm2 in a test chest; a lobe without air makes 65 and more.
SILHOUETTE_GAP_CM2 = 50.0


@dataclass(frozen=True)
class MaskFacts:
    """Measurements on which a verdict is based.

    Attributes:
        right_ml: mL, right lung.
        left_ml: mL, left lung.
        mean_hu: HU over the mask.
        top_cut_cm2: cm2 of lung in the uppermost slice.
        bottom_cut_cm2: cm2 of lung in the lowest slice.
        edge_cm2: cm2 of the lungs' surface on the lateral, anterior and posterior edge of the image, or on padding.
        dense_percent: % of mask voxels that are tissue (above -400 HU).
        trachea_found: whether the trachea was found.
        airways_leaked: whether growing the bronchi leaked at once.
        gas_pocket_ml: mL, largest pocket of pure gas inside the mask (bulla or pneumothorax).
        left_out_gas_ml: mL, gas at the level of the lungs that was left out (pneumothorax, bowel).
        metal_ml: mL above 3000 HU at the level of the lungs.
        dorsal_gap_mm: mm of tissue between the back of the (right, left) lung and the skin, median over columns.
        contact_cm2: cm2 over which right and left lung touch.
        holes_ml: mL of cavities that the mask encloses on all sides.
        solid_ml: mL, largest piece of tissue inside the mask that is thicker than a vessel.
        missed_lung_ml: mL that look like lung and lie against the mask, but outside it (masks made elsewhere or edited).
        silhouette_gap_cm2: cm2 that the (right, left) lung lacks of the other's silhouette seen from the side.
        left_out_slices: transverse slices without a lung between slices that hold it (masks made elsewhere or edited).
    """

    right_ml: float
    left_ml: float
    mean_hu: float
    top_cut_cm2: float = 0.0
    bottom_cut_cm2: float = 0.0
    edge_cm2: float = 0.0
    dense_percent: float = 5.0
    trachea_found: bool = True
    airways_leaked: bool = False
    gas_pocket_ml: float = 0.0
    left_out_gas_ml: float = 0.0
    metal_ml: float = 0.0
    dorsal_gap_mm: tuple[float, float] = (0.0, 0.0)
    contact_cm2: float = 0.0
    holes_ml: float = 0.0
    solid_ml: float = 0.0
    missed_lung_ml: float = 0.0
    silhouette_gap_cm2: tuple[float, float] = (0.0, 0.0)
    left_out_slices: int = 0


@dataclass(frozen=True)
class MaskQuality:
    """The verdict on a lung mask, with its reasons.

    Attributes:
        verdict: "ok", "look" (a person should look before the numbers are used) or "failed" (do not use them).
        reasons: one sentence for each finding, for the user; empty when the verdict is "ok".
    """

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def require_usable(quality: MaskQuality) -> None:
    """Refuse a mask on which nothing can be measured.

    Raises:
        LungNotFoundError: the verdict is "failed"; the message gives the reasons.
    """
    if quality.verdict == "failed":
        raise LungNotFoundError(
            f"The lung mask failed, so nothing was measured: {' '.join(quality.reasons)} Check that the scan shows the lungs, "
            "or supply a lung mask."
        )


def judge(facts: MaskFacts) -> MaskQuality:
    """The verdict for these measurements, with a sentence for every finding."""
    total = facts.right_ml + facts.left_ml
    if total < FAILED_VOLUME_ML:
        reason = f"Only {total:.0f} mL of lung were found: no lungs in the scan, or lungs filled with fluid or consolidated."
        return MaskQuality("failed", (reason,))
    if total > FAILED_LARGE_ML:
        reason = f"The mask covers {total:.0f} mL, more than any lungs hold: it is not, or not only, of the lungs."
        return MaskQuality("failed", (reason,))
    if facts.mean_hu < FAILED_MEAN_HU:
        reason = f"The mean of the mask is {facts.mean_hu:.0f} HU, that of gas: it is a mask of emphysema or air, not of lungs."
        return MaskQuality("failed", (reason,))
    if facts.dense_percent > FAILED_DENSE_PERCENT:
        reason = (
            f"The mask is to {facts.dense_percent:.0f} % tissue (mean {facts.mean_hu:.0f} HU): it does not cover the lungs."
        )
        return MaskQuality("failed", (reason,))
    if facts.dense_percent > ASTRAY_TISSUE_PERCENT and facts.missed_lung_ml > ASTRAY_LUNG_ML:
        reason = (
            f"{facts.dense_percent:.0f} % of the mask is tissue and {facts.missed_lung_ml:.0f} mL of lung lie beside it: the "
            "mask is not of this scan, or turned round or shifted against it."
        )
        return MaskQuality("failed", (reason,))
    reasons = [*_volume_reasons(facts, total), *_gap_reasons(facts), *_silhouette_reasons(facts)]
    reasons += [*_cut_reasons(facts), *_content_reasons(facts)]
    return MaskQuality("look" if reasons else "ok", tuple(reasons))


def _volume_reasons(facts: MaskFacts, total: float) -> list[str]:
    low, high = VOLUME_RANGE_ML
    reasons = []
    if not low <= total <= high:
        reasons.append(f"The lungs measure {total:.0f} mL, outside {low:.0f} to {high:.0f} mL.")
    if min(facts.right_ml, facts.left_ml) < 0.05 * total:
        side = "right" if facts.right_ml < facts.left_ml else "left"
        reasons.append(f"Hardly any {side} lung was found: removed, collapsed, filled with fluid, or missed.")
    elif not SIDE_RATIO_RANGE[0] <= facts.right_ml / facts.left_ml <= SIDE_RATIO_RANGE[1]:
        expected = f"{SIDE_RATIO_RANGE[0]:g} to {SIDE_RATIO_RANGE[1]:g}"
        reasons.append(
            f"The right lung is {facts.right_ml / facts.left_ml:.2f} times the left (expected {expected}): "
            "collapse, effusion, surgery, or a wrong split."
        )
    return reasons


def _gap_reasons(facts: MaskFacts) -> list[str]:
    right, left = facts.dorsal_gap_mm
    if min(facts.right_ml, facts.left_ml) < 0.05 * (facts.right_ml + facts.left_ml) or abs(right - left) <= DORSAL_GAP_MM:
        return []
    side = "right" if right > left else "left"
    return [
        f"Behind the {side} lung lie {abs(right - left):.0f} mm more tissue than behind the other: "
        "effusion or consolidation, left out of the mask."
    ]


def _silhouette_reasons(facts: MaskFacts) -> list[str]:
    if min(facts.right_ml, facts.left_ml) < 0.05 * (facts.right_ml + facts.left_ml):
        return []
    return [
        f"In the side view the {side} lung does not cover {gap:.0f} cm² that the other covers: consolidation, effusion, "
        "collapse or surgery, left out of the mask."
        for side, gap in zip(("right", "left"), facts.silhouette_gap_cm2, strict=True)
        if gap > SILHOUETTE_GAP_CM2
    ]


def _cut_reasons(facts: MaskFacts) -> list[str]:
    reasons = []
    for where, area in (("uppermost", facts.top_cut_cm2), ("lowest", facts.bottom_cut_cm2)):
        if area > CUT_AREA_CM2:
            reasons.append(
                f"{area:.0f} cm² of lung lie in the {where} slice: the lungs are cut off there, so that TLV and EI are those "
                "of the imaged part."
            )
    if facts.edge_cm2 > EDGE_AREA_CM2:
        reasons.append(
            f"{facts.edge_cm2:.0f} cm² of the lungs' surface touch padding or the edge of the image: the field of view cuts "
            "the lungs, so that TLV and EI are those of the imaged part."
        )
    return reasons


def _content_reasons(facts: MaskFacts) -> list[str]:
    low, high = MEAN_RANGE_HU
    findings = (
        (
            not low <= facts.mean_hu <= high,
            f"The mean of the mask is {facts.mean_hu:.0f} HU, outside {low:.0f} to {high:.0f}.",
        ),
        (
            facts.dense_percent > DENSE_SHARE_PERCENT,
            f"{facts.dense_percent:.0f} % of the mask is tissue: consolidation, a mass, or a gap bridged by mistake.",
        ),
        (
            facts.contact_cm2 > CONTACT_CM2,
            f"Right and left lung touch over {facts.contact_cm2:.0f} cm²: the border between them may be wrong.",
        ),
        (
            not facts.trachea_found,
            "No trachea was found; air of trachea and bronchi may be counted as lung.",
        ),
        (
            facts.airways_leaked,
            "The bronchi could not be followed without leaking into the lung; some of their air is counted as lung.",
        ),
        (
            facts.gas_pocket_ml > GAS_POCKET_ML,
            f"A pocket of {facts.gas_pocket_ml:.0f} mL of pure gas lies in the mask: a bulla (kept in on purpose) "
            "or a pneumothorax (should be taken out by hand).",
        ),
        (
            facts.left_out_gas_ml > LEFT_OUT_GAS_ML,
            f"{facts.left_out_gas_ml:.0f} mL of gas without lung tissue beside the lungs were left out: "
            "pneumothorax, bowel, or a giant bulla.",
        ),
        (
            facts.holes_ml > HOLES_ML,
            f"The mask has closed holes of {facts.holes_ml:.0f} mL: a mass or consolidation left out, or lung that was missed.",
        ),
        (
            facts.missed_lung_ml > MISSED_LUNG_ML,
            f"{facts.missed_lung_ml:.0f} mL beside the mask look like lung and were left out: a part of a lung is missing.",
        ),
        (
            facts.left_out_slices > 0,
            f"{facts.left_out_slices} slice(s) of the mask are empty between slices that hold lung: what they show is not "
            "measured, so TLV is too small. Fill them (in 3D Slicer: Fill between slices).",
        ),
        (
            facts.solid_ml > SOLID_ML,
            f"A solid part of {facts.solid_ml:.0f} mL lies in the mask: a mass or consolidation (should be taken out by hand).",
        ),
        (
            facts.metal_ml > METAL_ML,
            f"{facts.metal_ml:.0f} mL of metal at the level of the lungs: streaks may spoil the mask.",
        ),
    )
    return [text for found, text in findings if found]
