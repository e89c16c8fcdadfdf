"""Notebooks run from top to bottom on the embedded stack, and show what they say they show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

SHOWS = {  # what the outputs hold, in capitals
    "01_first_run": ["GROUP BY", "'SYNTHESIS'"],
    "02_add_a_role_and_a_tool": ["UNKNOWN KEY", "'COOK'", "→ COOK →", "EGGS: 6"],
    "03_routing": ["RIGHT WHERE THE ENCODER IS NOT SURE"],
    "04_compare_two_stacks": ["DONE 36 ANSWERS []", "SMOLLM2-135M", "VERDICT"],
    "05_resume_fork_replay": ["ROLECALL RESUME", "CODING → SYNTHESIS", "DECISIONS KEPT"],
    "06_telemetry": ["TTFT_MS", "CALCULATOR", "7006652"],
}
PLOTS = {
    "01_first_run": 1,
    "03_routing": 1,
    "04_compare_two_stacks": 1,
    "05_resume_fork_replay": 1,
    "06_telemetry": 3,
}
MOST_BYTES = 400_000
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture
def executed(request: pytest.FixtureRequest, live_home: Path, tmp_path: Path) -> Path:
    """The notebook of the test after a run, from another folder than the project's."""
    notebook: Path = request.param
    command = [str(Path(sys.executable).with_name("jupyter-execute")), str(notebook)]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    done = tmp_path / notebook.name
    run = subprocess.run(
        [*command, f"--output={done}"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return done


@pytest.mark.parametrize("executed", NOTEBOOKS, ids=lambda path: path.stem, indirect=True)
def test_a_notebook_runs_from_top_to_bottom(executed: Path) -> None:
    outputs = _outputs(executed)
    shown = json.dumps(outputs, ensure_ascii=False).upper()
    assert [words for words in SHOWS[executed.stem] if words not in shown] == []
    warned = [o["text"] for o in outputs if o.get("name") == "stderr"]
    assert [text for text in warned if "WARNING" in str(text).upper()] == []
    pictures = [o for o in outputs if {"image/png", "image/svg+xml"} & set(o.get("data", ()))]
    assert len(pictures) == PLOTS.get(executed.stem, 0)
    assert len(shown) < MOST_BYTES


def _outputs(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", ())]
