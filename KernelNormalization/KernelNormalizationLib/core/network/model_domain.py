"""What a model was made for and tested on: the ``domain`` section of its card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ModelError
from ..plain_text import quoted

DOMAIN_KEY = "domain"

Range = tuple[float, float]


@dataclass(frozen=True)
class Domain:
    """Scans that a model was made for; the defaults are those of the models that come with the product.

    Attributes:
        makers: of scanners, as :mod:`..kernels.kernel_names` names them. Only Siemens kernels were simulated.
        family: of their kernels.
        kernel_numbers: lowest and highest sharpness number; simulated were B50f to B80f.
        pixel_mm: in-plane spacing of the simulated patients, mm.
        slice_mm: slice thickness, mm. Simulated were 0.7 to 8 mm, measured on real pairs 1 and 5 mm; the gate keeps to what
            lies between, with half a millimetre below for the thin series of newer scanners.
        reconstructions: kinds of reconstruction; none but filtered back-projection was simulated.
    """

    makers: tuple[str, ...] = ("Siemens",)
    family: str = "B"
    kernel_numbers: Range = (50.0, 80.0)
    pixel_mm: Range = (0.5, 0.95)
    slice_mm: Range = (0.5, 5.0)
    reconstructions: tuple[str, ...] = ("filtered back-projection",)

    def as_card(self) -> dict[str, Any]:
        """The card's section, JSON-serializable."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_card(cls, section: Any) -> Domain:
        """The domain that a card states; the default one for a card of a time when cards stated none.

        Raises:
            ModelError: the section is damaged.
        """
        if section is None:
            return cls()
        try:
            return cls(
                makers=_texts(section["makers"]),
                family=str(section["family"]),
                kernel_numbers=_range(section["kernel_numbers"]),
                pixel_mm=_range(section["pixel_mm"]),
                slice_mm=_range(section["slice_mm"]),
                reconstructions=_texts(section["reconstructions"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            problem = quoted(error) if isinstance(error, ValueError) else "an entry is missing, or of another kind"
            raise ModelError(
                f"The model card's section “{DOMAIN_KEY}” is damaged ({problem}); copy the model folder again."
            ) from error


def domain_of(card: Mapping[str, Any]) -> Domain:
    """The domain of a parsed card.

    Raises:
        ModelError: its section is damaged.
    """
    return Domain.from_card(card.get(DOMAIN_KEY))


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise ValueError(f"{value!r} is no list of texts")
    return tuple(value)


def _range(value: Any) -> Range:
    low, high = (float(end) for end in value)
    if not low <= high:
        raise ValueError(f"{value!r} is no range")
    return low, high
