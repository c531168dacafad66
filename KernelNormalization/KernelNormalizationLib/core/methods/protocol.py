"""The one way to normalize: a protocol, its result and the registry of methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from ..progress import Progress
from ..volume import CTVolume

Method = Literal["restored", "unet", "linear", "bands", "heuristic"]
METHODS: tuple[Method, ...] = get_args(Method)
# Nearer to B20f than every other method on 71 simulated patients, the network included (training/results/paper), and within
# 0.1 HU of the network on the visible real pair (training/results/philips).
DEFAULT_METHOD: Method = "restored"
# What each does, for a line of help.
METHOD_TEXTS: dict[Method, str] = {
    "restored": "values cut off at the HU floor put back, then the kernel filter",
    "unet": "restored, then a network (or the network that --model names)",
    "linear": "the kernel filter alone",
    "bands": "frequency bands scaled to those of B20f lungs",
    "heuristic": "median and Gaussian filter",
}
TARGET_KERNEL = "B20f"
# Key of the provenance record: how the emphysema index would change under properties the scan does not determine.
HYPOTHESES_KEY = "ei_hypotheses"
# Key of the provenance record: the verdict of the gate, and whether the user overrode it.
GATE_KEY = "gate"
# Key of the provenance record, and the version of restoration and choice of the gain: raise it whenever they compute something
# else. Errors of the index were measured with one version and count for no other.
RESTORATION_KEY, RESTORATION = "restoration", "restored-11"
# Errors of the index of the method "restored", as ``training.restored_errors`` writes them.
ERRORS_PATH = Path(__file__).with_name("restored_errors.json")
# Key that is true where a scan was smooth already and left as it is, and the method of such a record.
UNCHANGED_KEY, METHOD_NONE = "unchanged", "none"


@dataclass(frozen=True)
class NormalizationResult:
    """A synthetic smooth-kernel volume and the record of how it was made.

    Attributes:
        volume: same geometry as the input, padding bit-exact, ``synthetic`` true; the input itself where nothing was done.
        record: provenance, JSON-serializable: method, parameters, model hash, device, versions, seconds, warnings.
    """

    volume: CTVolume
    record: dict[str, Any]


class Normalizer(Protocol):
    """Turns a sharp-kernel CT volume into what the smooth reference kernel (B20f) would have shown."""

    @property
    def method(self) -> Method:
        """Name of the method."""

    def normalize(self, volume: CTVolume, progress: Progress) -> NormalizationResult:
        """Normalize ``volume``; the input is never modified.

        Raises:
            InputError: the volume cannot be processed.
            Cancelled: the user stopped the run.
        """


def synthetic_name(name: str) -> str:
    """Name of the normalized volume made from the volume called ``name``."""
    return f"{name} {TARGET_KERNEL} (synthetic)"


def name_beside_kind(name: str) -> str:
    """A synthetic volume's name for places that say “Synthetic” themselves; the method in brackets stays."""
    return name.replace("(synthetic)", "").replace("(synthetic, ", "(").strip()
