"""``ctkernel reader-study``: example, prepare, run, report."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

from KernelNormalizationLib.core.errors import RESEARCH_USE, InputError
from KernelNormalizationLib.core.methods.protocol import DEFAULT_METHOD, METHODS

from ..console import cancellable, print_json, print_lines

DESCRIPTION = """Can readers tell normalized images from original ones? The visual assessment of the paper, for any two folders
of volumes: one image per case is chosen at random, and blinded readers score it from 0 (certainly synthetic) to 5 (certainly
original)."""


def add_reader_study(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add ``reader-study`` to the commands of ``ctkernel``."""
    parser = commands.add_parser(
        "reader-study", help="blinded study: can readers tell normalized images from originals?", description=DESCRIPTION
    )
    steps = parser.add_subparsers(title="steps", required=True, metavar="STEP")
    _add_prepare(steps, common)
    _add_run(steps, common)
    _add_report(steps, common)
    _add_example(steps, common)


def _add_prepare(steps: Any, common: argparse.ArgumentParser) -> None:
    parser = steps.add_parser(
        "prepare",
        parents=[common],
        help="choose one image per case at random and seal the labels",
        description="Choose one image per case at random, store it so that only the image shows its kind, and seal the labels.",
    )
    parser.add_argument("originals", type=Path, help="folder of soft-kernel volumes: one file or DICOM folder per case")
    parser.add_argument("normalized", type=Path, help="folder of the normalized sharp scans of the same cases, same names")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the study")
    parser.add_argument("--reader", action="append", metavar="NAME", help="code name of a reader, once for each (default: two)")
    parser.add_argument("--seed", type=int, help="seed of the random choice (default: random); it is sealed with the labels")
    parser.add_argument("--seal", type=Path, help="new file for the labels, outside the study (default: OUT.seal.json)")
    parser.set_defaults(command=prepare)


def _add_run(steps: Any, common: argparse.ArgumentParser) -> None:
    parser = steps.add_parser(
        "run",
        parents=[common],
        help="open the reading page on this computer",
        description="Serve the reading page on this computer until Ctrl+C. Every reader has an address of its own. "
        "After closing the browser, or stopping this command, a reader continues at the first case without a score.",
    )
    parser.add_argument("study", type=Path, help="folder that prepare made")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.set_defaults(command=run)


def _add_report(steps: Any, common: argparse.ArgumentParser) -> None:
    parser = steps.add_parser(
        "report",
        parents=[common],
        help="open the labels, which ends the study, and write the report",
        description="Open the sealed labels and write the report (HTML, figure, CSV, JSON). No scores can be given afterwards.",
    )
    parser.add_argument("study", type=Path, help="folder that prepare made")
    parser.add_argument("--seal", type=Path, help="file of the labels (default: STUDY.seal.json)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument("--unfinished", action="store_true", help="end the study although images have no score yet")
    parser.set_defaults(command=report)


def _add_example(steps: Any, common: argparse.ArgumentParser) -> None:
    from .example import DEFAULT_CASES

    parser = steps.add_parser(
        "example",
        parents=[common],
        help="make two folders of simulated chests to try it with",
        description="Simulate chests with a soft and a sharp reconstruction, normalize the sharp ones, and write both folders. "
        "Each chest takes some ten seconds of one processor core.",
    )
    parser.add_argument("--out", type=Path, required=True, help="new folder")
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help=f"how many chests (default {DEFAULT_CASES})")
    parser.add_argument(
        "--method", choices=METHODS, default=DEFAULT_METHOD, help=f"method that normalizes (default {DEFAULT_METHOD})"
    )
    parser.set_defaults(command=example)


def prepare(options: argparse.Namespace) -> None:
    """``ctkernel reader-study prepare``."""
    from .prepare import DEFAULT_READERS, StudyPlan, prepare_study

    plan = StudyPlan(options.out, options.seal, options.reader or DEFAULT_READERS, options.seed)
    with cancellable(options.json) as progress:
        study = prepare_study(options.originals, options.normalized, plan, progress)
    facts = {
        "study": str(study.folder),
        "seal": str(plan.seal_path),
        "cases": len(study.cases),
        "readers": list(study.readers),
        "commitment": study.commitment,
        "use": RESEARCH_USE,
    }
    if options.json:
        print_json(facts)
        return
    print_lines(
        [
            f"Prepared {len(study.cases)} images for {', '.join(study.readers)} in {study.folder}",
            f"Labels: {plan.seal_path}; keep this file, and the two folders, away from the readers",
            f"Commitment to the labels: {study.commitment}",
            f"Next: ctkernel reader-study run {study.folder}",
            RESEARCH_USE,
        ]
    )


def run(options: argparse.Namespace) -> None:
    """``ctkernel reader-study run``."""
    try:
        from ..web.access import Access
        from .server import addresses, build_app, reader_keys, serve
    except ImportError as error:
        raise InputError(
            'The reading page needs aiohttp; install it with: pip install "ctkernelnormalization[study]"'
        ) from error
    from .audit import open_audit
    from .sittings import ReadingRoom
    from .study import open_study, require_unchanged_images

    study = open_study(options.study)
    with open_audit(study) as audit:
        room = ReadingRoom(study, audit)
        with cancellable(options.json) as progress:
            require_unchanged_images(study, progress)
        access, keys = Access(), reader_keys(study.readers)

        def ready(port: int) -> None:
            links = addresses(keys, access, port)
            if options.json:
                print_json({"addresses": links, "use": RESEARCH_USE})
            else:
                print_lines([*(f"{reader}: {link}" for reader, link in links.items()), "Ready. Ctrl+C ends.", RESEARCH_USE])
            sys.stdout.flush()

        asyncio.run(serve(build_app(room, keys, access), options.port, ready))
        if not options.json:
            states = [room.state(reader) for reader in study.readers]
            print_lines([f"{state['reader']}: {state['scored']} of {state['total']} images scored" for state in states])


def report(options: argparse.Namespace) -> None:
    """``ctkernel reader-study report``."""
    from .prepare import SEAL_SUFFIX
    from .report import HTML, report_study, statistics_record
    from .report_page import headline

    seal = options.seal or options.study.with_name(options.study.name + SEAL_SUFFIX)
    found = report_study(options.study, seal, options.out, options.unfinished)
    if options.json:
        print_json(statistics_record(found))
    else:
        print_lines([*headline(found.summary), f"Report: {options.out / HTML}", RESEARCH_USE])


def example(options: argparse.Namespace) -> None:
    """``ctkernel reader-study example``."""
    from .example import make_example

    with cancellable(options.json) as progress:
        originals, normalized = make_example(options.out, options.cases, options.method, progress)
    if options.json:
        print_json({"originals": str(originals), "normalized": str(normalized), "cases": options.cases, "use": RESEARCH_USE})
    else:
        study = options.out / "study"
        print_lines(
            [
                f"Wrote {options.cases} simulated chests to {originals} and {normalized}",
                f"Next: ctkernel reader-study prepare {originals} {normalized} --out {study}",
                RESEARCH_USE,
            ]
        )
