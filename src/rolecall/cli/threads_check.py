"""``rolecall threads check``: are the databases sound, and what can be mended."""

from __future__ import annotations

from typing import Annotated

import typer

from rolecall.cli.options import JsonOption

_STYLES = {"ok": "green", "weak": "yellow", "unfit": "red"}


def check(
    thread: Annotated[str | None, typer.Argument(help="Only this thread.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Mend what can be; a copy is kept first.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 5 unless all is well.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the databases, or one thread: ok, weak or unfit."""
    from rolecall import bridge
    from rolecall.cli.output import out, print_json, styled
    from rolecall.home import folder
    from rolecall.telemetry.schema import migrations as of_telemetry
    from rolecall.threads.check import check_home
    from rolecall.threads.schema import migrations as of_threads

    files = {"threads.db": of_threads, "telemetry.db": of_telemetry}
    report = bridge.run(check_home(folder(), files, thread, repair=repair))
    if as_json:
        print_json(
            {
                "verdict": report.verdict,
                "findings": [finding.as_json() for finding in report.findings],
                "repaired": report.repaired,
                "kept": report.kept,
            }
        )
    else:
        for line in report.repaired:
            out.print(styled(line, "green"))
        for path in report.kept:
            out.print(f"As it was before: {path}")
        for finding in report.findings:
            about = f"thread {finding.thread}: " if finding.thread else ""
            out.print(
                styled(finding.verdict, _STYLES[finding.verdict])
                + styled(f"  {finding.check}: {about}{finding.problem}", "")
            )
            if finding.mendable and not repair:
                out.print("      mend it with: rolecall threads check --repair")
            elif finding.remedy:
                out.print(styled(f"      {finding.remedy}", ""))
        out.print(styled(report.verdict, _STYLES[report.verdict]))
    if strict and report.verdict != "ok":
        raise typer.Exit(5)
