"""Opens the module Emphysema Quantification from the Kernel Normalization panel, with both volumes selected."""

from __future__ import annotations

from typing import Any

import slicer
from slicer.i18n import tr as _

from ..core.errors import CTKernelError

MEASURING_MODULE = "EmphysemaQuant"


def openEmphysemaQuantification(original: Any, synthetic: Any) -> None:
    """Open the other module on ``original`` with ``synthetic`` beside it (vtkMRMLScalarVolumeNodes).

    Raises:
        CTKernelError: the module is not there, or there is no main window.
    """
    try:
        panel = slicer.util.getModuleWidget(MEASURING_MODULE).panel
        slicer.util.selectModule(MEASURING_MODULE)
    except RuntimeError as error:
        raise CTKernelError(
            _("The module Emphysema Quantification could not be opened ({error}). It comes with the same extension.").format(
                error=error
            )
        ) from error
    # The volume first: selecting it suggests a partner, which may differ from the volume shown in the review.
    panel.choose(volume=original)
    panel.choose(comparedVolume=synthetic)
