"""Command line: ``python -m training.simulate``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

from KernelNormalizationLib.core.errors import InputError  # noqa: E402

from ..data.kernel_pair import PairRecord  # noqa: E402
from ..running.command_line import ends_with_code  # noqa: E402
from .patient import simulate_patient  # noqa: E402
from .presets import PRESETS, Options  # noqa: E402
from .real_objects import RealVolume, find_volumes  # noqa: E402
from .store import patient_path, require_same_parameters, write_manifest, write_patient  # noqa: E402

logger = logging.getLogger("training.simulate")
_volumes: list[RealVolume] = []

DESCRIPTION = """\
Simulate chest CT pairs: the same patient and the same noise, reconstructed with a sharp and with the smooth B20f kernel.

  paper    the population of the B80f to B20f study: one scanner, 0.6 to 0.85 mm pixels, 1 mm slices, truncated at -1024 HU
  diverse  for training: B50f- to B80f-like kernels, doses, pixel sizes, slice thicknesses and HU floors of several scanners
  outside  for evaluation: like paper, with kernels, lifts and truncations that diverse never draws

Every patient becomes DIR/patients/simNNNN.npz; DIR/manifest.json lists them with checksums and the truth. A run that was
stopped continues where it was when the same command is given again; more patients can be added the same way."""


def build_parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    parser = argparse.ArgumentParser(
        "python -m training.simulate", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", choices=PRESETS, default="diverse", help="population (default: diverse)")
    parser.add_argument("--patients", type=int, default=60, metavar="N", help="number of patients (default: 60)")
    parser.add_argument("--slices", type=int, default=8, metavar="M", help="neighbouring slices a patient (default: 8)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same patients (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument(
        "--objects",
        type=Path,
        nargs="*",
        default=[],
        metavar="DIR",
        help="folders of real chest CTs (DICOM, NRRD, NIfTI) to use beside procedural patients",
    )
    parser.add_argument(
        "--real-share",
        type=float,
        default=-1.0,
        metavar="P",
        help="share of patients from --objects, 0 to 1 (default: diverse 0.5, paper 0)",
    )
    parser.add_argument("--matrix", type=int, default=512, help="rows and columns; below 512 a crop of the right lung")
    parser.add_argument("--quanta", type=float, default=0.0, help="mean quanta a detector reading (default: preset's)")
    parser.add_argument(
        "--keep-unclipped",
        action="store_true",
        help="also store the sharp volume before truncation and its noise, for variants",
    )
    parser.add_argument("--workers", type=int, default=1, metavar="W", help="processes (default: 1)")
    return parser


@ends_with_code(logger)
def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns 0 when every patient is there, 2 for unusable arguments."""
    args = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    run(args)
    return 0


def run(args: argparse.Namespace) -> None:
    """Simulate the patients that the folder does not hold yet.

    Raises:
        InputError: arguments out of range, or the folder holds another run.
    """
    _check(args)
    options = Options(args.preset, args.slices, args.matrix, args.quanta, args.keep_unclipped, args.real_share)
    volumes = find_volumes(args.objects)
    if args.objects and not volumes:
        raise InputError(f"None of {', '.join(map(str, args.objects))} holds a usable chest CT; see the messages above.")
    parameters = {**asdict(options), "seed": args.seed, "patients": args.patients, "objects": [v.source for v in volumes]}
    require_same_parameters(args.out, parameters)
    missing = [n for n in range(args.patients) if not patient_path(args.out, n).exists()]
    write_manifest(args.out, parameters)
    logger.info("%d of %d patients are missing in %s", len(missing), args.patients, args.out)
    if args.workers == 1:
        _start(volumes)
        for index in missing:
            _report(_simulate(options, args.seed, index, args.out))
            write_manifest(args.out, parameters)
    else:
        with ProcessPoolExecutor(args.workers, initializer=_start, initargs=(volumes,)) as pool:
            jobs = [pool.submit(_simulate, options, args.seed, index, args.out) for index in missing]
            for job in as_completed(jobs):
                _report(job.result())
                write_manifest(args.out, parameters)
    logger.info("complete: %d patients in %s", args.patients, args.out)


def _check(args: argparse.Namespace) -> None:
    for name, low, high in (("patients", 1, 100_000), ("slices", 1, 512), ("matrix", 64, 1024), ("workers", 1, 256)):
        value = getattr(args, name)
        if not low <= value <= high:
            raise InputError(f"--{name} is {value}; it must lie between {low} and {high}.")
    for folder in args.objects:
        if not folder.exists():
            raise InputError(f"--objects {folder} does not exist; give a folder of DICOM series or volume files.")


def _start(volumes: list[RealVolume]) -> None:
    _volumes[:] = volumes


def _simulate(options: Options, seed: int, index: int, folder: Path) -> tuple[int, float, PairRecord]:
    began = time.monotonic()
    patient = simulate_patient(options, seed, index, _volumes)
    write_patient(patient_path(folder, index), patient)
    return index, time.monotonic() - began, patient.meta


def _report(done: tuple[int, float, PairRecord]) -> None:
    index, seconds, meta = done
    logger.info(
        "patient %d: %s, %s, EI %.1f %% (sharp %.1f %%), |sharp - smooth| %.1f HU, %.0f s",
        index,
        meta["object"],
        meta["sharp_kernel"]["name"],
        meta["true_ei"],
        meta["raw_ei"],
        meta["l1_raw"],
        seconds,
    )


if __name__ == "__main__":
    sys.exit(main())
