"""``ctkernel``: normalize, quantify and describe chest CT from the command line."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from EmphysemaQuantLib.core.indices.emphysema_mask import require_threshold
from EmphysemaQuantLib.core.indices.prediction_interval import ENSEMBLE_KEY, ENSEMBLE_SD_KEY
from EmphysemaQuantLib.core.lungs.label_schemes import SCHEMES, parse_labels
from EmphysemaQuantLib.core.lungs.quality_verdict import require_usable
from EmphysemaQuantLib.core.results.acquisition_sheet import Patient, Sex
from EmphysemaQuantLib.core.results.measurement import MeasurementSettings, measure
from EmphysemaQuantLib.core.results.wording import airways_sentence, mask_sentence
from EmphysemaQuantLib.report.pdf import why_no_pdf
from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.io.file_conversion import Choices, normalize_file, provenance_path
from KernelNormalizationLib.core.io.reading import read_second_volume, read_volume
from KernelNormalizationLib.core.io.whole_sets import finish_interrupted, require_name, require_set_writable
from KernelNormalizationLib.core.io.writing import require_not_input, require_writable
from KernelNormalizationLib.core.kernels.told_kernel import with_told_kernel
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, METHOD_TEXTS, METHODS, UNCHANGED_KEY
from KernelNormalizationLib.core.methods.registry import chosen_method
from KernelNormalizationLib.core.network.model_folder import list_models, model_label
from KernelNormalizationLib.core.plain_text import quoted
from KernelNormalizationLib.core.progress import Progress
from KernelNormalizationLib.core.suitability import assess, require_accepted
from KernelNormalizationLib.core.version import VERSION

from .cohort.command import add_cohort, tell_change_of_cohort
from .console import PlainFormatter, cancellable, print_json, print_lines, run_command
from .demo import add_demo
from .dicom_export import add_export
from .options import SCAN_HELP, add_device, add_kernel, add_thirds, add_threshold
from .quantification_files import (
    SET_NAMES,
    lung_mask_for,
    records_of,
    result_lines,
    write_measurement_set,
)
from .reader_study.command import add_reader_study
from .review.command import add_review
from .scan_info import add_info
from .verification.command import add_verify

DESCRIPTION = f"""Turn a sharp-kernel chest CT (such as Siemens B80f or B70f) into the smooth-kernel (B20f) volume on which
emphysema is measured, and measure it. {RESEARCH_USE}"""
EXIT_CODES = (
    "Exit codes: 0 done, 1 another failure, 2 the input cannot be used (the message says why), 3 cancelled with Ctrl+C."
)

Command = Callable[[argparse.Namespace], int | None]


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    options = _parser().parse_args(arguments)
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, handlers=[handler])
    logging.getLogger("pydicom").setLevel(logging.ERROR)  # every tag that counts is checked, and told in words for the user
    if not options.verbose:
        warnings.simplefilter("ignore")  # warnings of libraries; those that concern the user are logged as messages
    command: Command = options.command
    given = sys.argv[1:] if arguments is None else arguments
    return run_command(lambda: command(_usable(options, given)), options.json)


def _usable(options: argparse.Namespace, given: list[str]) -> argparse.Namespace:
    """The options as they are.

    Raises:
        InputError: one is empty, which as a path would be the current folder; one holds a zero byte, which no path or name can
            have, and which would stop the work at its very end; one is a path that the system cannot follow; or one was given
            as ``--name=--``, of which argparse makes an empty list.
    """
    if any(not argument.strip() or (argument.startswith("--") and argument.endswith("=")) for argument in given):
        raise InputError("One of the arguments is empty; a variable in the command may hold nothing. Give a path or a value.")
    for name, value in vars(options).items():
        if value == [] and name != "input":
            raise InputError(f"--{name.replace('_', '-')} has no value; give one, or leave it out.")
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, str | Path) and "\0" in str(part):
                raise InputError(f"The value of {name.upper()}, {quoted(part)}, holds a zero byte; give a name without it.")
            if isinstance(part, Path) or (isinstance(part, str) and name == "model"):
                require_name(Path(part))
    return options


def normalize(options: argparse.Namespace) -> None:
    """``ctkernel normalize``."""
    with cancellable(options.json) as progress:
        # the ensemble runs first, so that a run stopped during it has written nothing
        spread = _ensemble(options, progress) if options.ensemble else None
        choices = Choices(options.model, options.device, options.series, options.kernel, options.override_gate)
        more = None if spread is None else {ENSEMBLE_KEY: spread}
        record = normalize_file(options.scan, options.out, options.method, choices, progress, more)
    if options.json:
        print_json(record)
        return
    if record.get(UNCHANGED_KEY):
        lines = [f"Nothing was done; {options.out} holds the scan as it is"]
    else:
        lines = [f"Wrote {options.out} (synthetic B20f, method {record['method']}, {record['seconds']:.0f} s)"]
    if "device_reason" in record:
        lines.append(f"Computed on {record['device']} with {record['backend']}: {record['device_reason']}")
    if spread is not None:
        lines.append(f"Ensemble of {len(spread['members'])}: EI differs by {spread[ENSEMBLE_SD_KEY]:.2f} points (SD)")
    if "truncation_in_words" in record:
        lines.append(record["truncation_in_words"])
    lines += [f"Note: {warning}" for warning in record["warnings"]]
    print_lines([*lines, f"Provenance: {provenance_path(options.out)}", RESEARCH_USE])


def _ensemble(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    from .ensemble import ensemble_spread, load_members

    method = chosen_method(options.method, options.model)
    if method != "unet":
        raise InputError(f"--ensemble compares networks; the method {method} has none. Use --method unet.")
    require_writable(options.out)
    members = load_members(options.model)
    volume = with_told_kernel(read_volume(options.scan, options.series), options.kernel)
    require_accepted(assess(volume), options.override_gate)  # before hours of work, not after
    return ensemble_spread(volume, members, options.device, progress)


def quantify_scan(options: argparse.Namespace) -> None:
    """``ctkernel quantify``."""
    _check_mask_options(options)
    if options.compare_series is not None and options.compare is None:
        raise InputError("--compare-series chooses a series of the second volume; give that with --compare too.")
    settings = MeasurementSettings(options.threshold, options.thirds, _patient(options))
    require_set_writable(options.out, SET_NAMES)
    for path in (options.scan, options.compare):
        if path is not None:
            finish_interrupted(path.parent)
            for name in SET_NAMES:
                require_not_input(options.out / name, path, "output folder")
    read = {read_volume(options.scan, options.series): options.scan}
    if options.compare is not None:
        read[read_second_volume(options.compare, options.compare_series, options.scan, options.series)] = options.compare
    provenance = records_of(read)
    with cancellable(options.json) as progress:
        lung_mask = lung_mask_for(list(read), options.mask, progress, options.mask_labels)
        require_usable(lung_mask.quality)
        measurement = measure(list(read), lung_mask, settings, provenance, progress)
        record = write_measurement_set(measurement, options.out, options.report, progress)
    if options.json:
        print_json(record)
        return
    mask_lines = [airways_sentence(measurement.volume.airways_ml), mask_sentence(lung_mask.quality), *lung_mask.notes]
    print_lines([*result_lines(measurement), *mask_lines, *_without_pdf(options), f"Files: {options.out}", RESEARCH_USE])


def _without_pdf(options: argparse.Namespace) -> list[str]:
    reason = why_no_pdf() if options.report else None
    return [] if reason is None else [reason]


def _check_mask_options(options: argparse.Namespace) -> None:
    """Refuse an invalid ``--mask-labels`` before the scan is read."""
    if options.mask_labels is None:
        return
    if options.mask is None:
        raise InputError("--mask-labels says what the numbers of a mask mean; give the mask with --mask too.")
    parse_labels(options.mask_labels)


def _patient(options: argparse.Namespace) -> Patient | None:
    given = (options.sex, options.height, options.weight)
    if all(value is None for value in given):
        return None
    if None in given:
        raise InputError("A predicted lung volume needs --sex, --height and --weight together; give all three or none.")
    return Patient(*given)


def change(options: argparse.Namespace) -> None:
    """``ctkernel change``."""
    from .longitudinal import change_lines, change_record

    if options.follow_up is None:
        tell_change_of_cohort(options.baseline, options.json)
        return
    require_threshold(options.threshold)
    both = (options.baseline, options.follow_up)
    # of a folder and a file, the choice is meant for the folder; for two files it is refused
    folders = [path.is_dir() for path in both]
    chosen = [options.series if folder or not any(folders) else None for folder in folders]
    baseline, follow_up = (read_volume(path, series) for path, series in zip(both, chosen, strict=True))
    records_of({baseline: both[0], follow_up: both[1]})
    with cancellable(options.json) as progress:
        record = change_record(baseline, follow_up, options.threshold, progress)
    if options.json:
        print_json(record)
    else:
        print_lines([*change_lines(record), RESEARCH_USE])


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as JSON on standard output, for programs")
    common.add_argument("--verbose", action="store_true", help="print more details of the work")
    reading = argparse.ArgumentParser(add_help=False, parents=[common])
    reading.add_argument("--series", help="number, kernel or UID of the series, when a DICOM folder holds several")
    parser = argparse.ArgumentParser(prog="ctkernel", description=DESCRIPTION, epilog=EXIT_CODES)
    parser.add_argument("--version", action="version", version=f"ctkernel {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_normalize(commands, reading)
    _add_quantify(commands, reading)
    _add_change(commands, reading)
    add_export(commands, reading)
    add_verify(commands, common)
    add_cohort(commands, common)
    add_reader_study(commands, common)
    add_review(commands, reading)
    add_info(commands, reading)
    add_demo(commands, reading)
    return parser


def _add_normalize(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "normalize",
        parents=[common],
        help="make the smooth-kernel (B20f) volume of a sharp-kernel scan",
        description="Make the smooth-kernel (B20f) volume of a sharp-kernel scan. The scan itself is never changed; "
        "the new volume is marked as synthetic, and OUT's .provenance.json says how it was made.",
    )
    parser.add_argument("scan", type=Path, help=SCAN_HELP)
    parser.add_argument("out", type=Path, help="volume to write: .nrrd, .nii, .nii.gz or .mha")
    parser.add_argument(
        "--method",
        choices=METHODS,
        help="; ".join(f"{method}: {text}" for method, text in METHOD_TEXTS.items())
        + f" (default: {DEFAULT_METHOD}; unet where --model is given)",
    )
    parser.add_argument("--model", help=f"model folder, or one of the installed models: {_installed_models()}")
    add_device(parser)
    add_kernel(parser)
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="also run the model's ensemble members and record how far their EI differ (takes that many times longer)",
    )
    parser.add_argument(
        "--override-gate",
        action="store_true",
        help="normalize a scan although it is refused (see ctkernel info); record and reports of the result say so",
    )
    parser.set_defaults(command=normalize)


def _installed_models() -> str:
    texts = [f"{name} ({model_label(name)})".replace("%", "%%") for name in list_models()]
    return ", ".join(texts) or "none"


def _add_quantify(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "quantify",
        parents=[common],
        help="segment the lungs and measure emphysema",
        description="Segment the lungs and measure emphysema: EI (% of lung below the threshold), EV, TLV, Perc15, MLD. "
        "With --compare a second volume of the same scan is measured on the same lung mask.",
    )
    parser.add_argument("scan", type=Path, help=SCAN_HELP)
    parser.add_argument("--compare", type=Path, help="second volume on the same grid, such as the normalized one")
    parser.add_argument(
        "--compare-series", help="which series of --compare; not needed if its folder is the scan's and holds two"
    )
    parser.add_argument("--mask", type=Path, help="lung mask to use instead of the automatic one (label map or .seg.nrrd)")
    parser.add_argument(
        "--mask-labels",
        metavar="LABELS",
        help="what the mask's numbers mean, when they are not recognised: "
        f"one of {', '.join(SCHEMES)}, or the numbers, such as right=1,left=2,airways=3",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for segmentation, metrics.json and metrics.csv")
    parser.add_argument(
        "--report", action="store_true", help="also write a report: a web page, and a PDF if the extra pdf is installed"
    )
    add_thirds(parser)
    prediction = parser.add_argument_group(
        "predicted lung volume", "that of Chinese adults (Cheng 2019); give all three or none"
    )
    prediction.add_argument("--sex", choices=get_args(Sex))
    prediction.add_argument("--height", type=float, metavar="CM")
    prediction.add_argument("--weight", type=float, metavar="KG")
    add_threshold(parser)
    parser.set_defaults(command=quantify_scan)


def _add_change(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "change",
        parents=[common],
        help="compare lung density of two dates",
        description="Change of Perc15 and EI from an earlier to a later scan of one patient, each on its own lung mask, with "
        "and without adjustment for the depth of inspiration. Use one kernel for both, or normalize both first.",
    )
    parser.add_argument("baseline", type=Path, help="earlier " + SCAN_HELP + "; or alone, the output folder of ctkernel cohort")
    parser.add_argument("follow_up", type=Path, nargs="?", help="later scan, in any of these forms")
    add_threshold(parser)
    parser.set_defaults(command=change)
