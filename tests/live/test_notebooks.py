"""Notebooks run from top to bottom on the embedded stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

SHOWS = {"01_first_run": "GROUP BY", "03_routing": "RIGHT WHERE THE ENCODER IS NOT SURE"}
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(
    notebook: Path, live_home: Path, tmp_path: Path
) -> None:
    command = [str(Path(sys.executable).with_name("jupyter-execute")), str(notebook)]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'done.ipynb'}"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert SHOWS[notebook.stem] in (tmp_path / "done.ipynb").read_text().upper()
