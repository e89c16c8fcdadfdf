"""Runs ``rolecall router train`` and shows what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rolecall import bridge
from rolecall.cli.output import out, styled, table
from rolecall.config.load import load_stack
from rolecall.config.schema import ModelRole
from rolecall.errors import ConfigError, UsageError
from rolecall.home import folder
from rolecall.models.client import LocalLLMClient
from rolecall.progress import Progress
from rolecall.routing.corrections import corrections
from rolecall.routing.encoder.artefact import (
    ENCODER,
    ENCODER_FILES,
    SHIPPED,
    TOKENIZER,
    WORDS,
    Artefact,
)
from rolecall.routing.encoder.model import Encoder
from rolecall.routing.encoder.versions import current_artefact, new_folder, use
from rolecall.routing.examples import shipped
from rolecall.routing.llm import LlmStrategy
from rolecall.routing.training.build import (
    Comparison,
    Fitted,
    compare,
    figures,
    fit,
    largest_difference,
    write,
)
from rolecall.routing.training.consult import Consultation, consult
from rolecall.routing.training.encoded import Sets
from rolecall.routing.training.words import write_words

_SAME = 0.002


@dataclass(frozen=True)
class TrainingResult:
    """What training came to.

    Attributes:
        compared: with the version in use; ``None`` when a whole new router was written elsewhere.
        used: whether the new version is now in use.
        same: whether it decides as the version in use does, to rounding.
    """

    version: str
    folder: Path | None
    compared: Comparison | None
    measured: dict[str, Any]
    used: bool
    same: bool
    consulted: Consultation | None

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        compared = self.compared
        return {
            "version": self.version,
            "folder": None if self.folder is None else str(self.folder),
            "used": self.used,
            "same": self.same,
            "reasons_against": compared.reasons if compared else [],
            "before": compared.before if compared else None,
            "after": self.measured,
            "corrections": compared.corrections if compared else 0,
            "corrected_before": compared.corrected_before if compared else None,
            "corrected_after": compared.corrected_after if compared else None,
            "router_model": None if self.consulted is None else vars(self.consulted),
        }

    def show(self) -> None:
        """Show it to people."""
        shown = table("", "before", "after")
        before = self.compared.before if self.compared else None
        for title, key in (
            ("accuracy on held-out styles", "accuracy"),
            ("calibration error", "ece"),
            ("confidence AUROC", "auroc"),
            ("cost of mistakes", "cost"),
        ):
            shown.add_row(title, _figure(before, key), _figure(self.measured, key))
        if self.compared and self.compared.corrections:
            shown.add_row(
                f"your corrections ({self.compared.corrections}), each left out in turn",
                f"{self.compared.corrected_before:.2f}",
                f"{self.compared.corrected_after:.2f}",
            )
        out.print(shown)
        if self.consulted is not None:
            out.print(self.consulted.line)
        if self.same:
            out.print("It decides as the version in use does; nothing was written.")
        elif self.used:
            out.print(styled(f"Router {self.version} is now in use.", "green"))
            out.print("Back to the one before: rolecall router rollback")
        elif self.compared is not None:
            reasons = "; ".join(self.compared.reasons)
            out.print(styled(f"Not put in use: {reasons}.", "yellow"))
            out.print(
                f"It is kept. To use it all the same: rolecall router rollback {self.version}"
            )
        else:
            out.print(f"Written to {self.folder}")


class TrainingRun:
    """One run of the command."""

    def __init__(self, progress: Progress, stack: str | None) -> None:
        self._progress = progress
        self._stack = stack

    def train(
        self,
        *,
        from_traces: bool,
        fine_tune: bool,
        weights: Path | None,
        measure_model: bool,
        force: bool,
        output: Path | None,
    ) -> TrainingResult:
        """Train, compare, and put in use what is not worse.

        Raises:
            UsageError: the options do not go together, there is nothing to learn from, or another
                training runs.
            ConfigError: PyTorch is needed and not installed.
        """
        try:
            with FileLock(folder("router") / "train.lock", timeout=0):
                return self._train(
                    from_traces, fine_tune, weights, measure_model, force=force, output=output
                )
        except Timeout as error:
            raise UsageError(
                "the router is being trained by another process; wait for it"
            ) from error

    def _train(
        self,
        from_traces: bool,
        fine_tune: bool,
        weights: Path | None,
        measure_model: bool,
        *,
        force: bool,
        output: Path | None,
    ) -> TrainingResult:
        corrected = corrections() if from_traces else []
        if from_traces and not corrected:
            raise UsageError(
                "there are no corrections yet. Make some: "
                "rolecall router feedback TRACE --should-be CODING"
            )
        if fine_tune:
            if output is None:
                raise UsageError("--encoder writes a whole router: say where with --output DIR")
            return self._with_encoder(weights, output, measure_model)
        old = current_artefact()
        sets = Sets(old.encoder, self._progress, corrected, old.encoder_sha256)
        with self._progress.step("Fitting head, calibration and bands"):
            new = fit(sets, old)
            compared = compare(sets, old, new)
        consulted = self._consult(sets, new) if measure_model else None
        return self._kept(old, sets, new, compared, consulted, force=force, output=output)

    def _kept(
        self,
        old: Artefact,
        sets: Sets,
        new: Fitted,
        compared: Comparison,
        consulted: Consultation | None,
        *,
        force: bool,
        output: Path | None,
    ) -> TrainingResult:
        target = output or new_folder()
        weights = dict(old.consult)
        if consulted is not None:
            weights[consulted.model] = consulted.weight
        nothing_new = sets.corrections is None and weights == old.consult and output is None
        same = nothing_new and largest_difference(old, new, sets) <= _SAME
        measured = {**compared.after, "corrections": compared.corrections}
        if same:
            return TrainingResult(
                old.version, None, compared, measured, used=False, same=True, consulted=None
            )
        write(
            target,
            target.name,
            sets,
            new,
            measured,
            encoder_folder=SHIPPED,
            consult=weights,
            recipe="As shipped.",
        )
        used = output is None and (compared.better or force)
        if used:
            use(target.name)
        return TrainingResult(
            target.name, target, compared, measured, used=used, same=False, consulted=consulted
        )

    def _consult(self, sets: Sets, new: Fitted) -> Consultation:
        stack = load_stack(self._stack)
        model = stack.models[ModelRole.ROUTER][0].id

        async def ask() -> Consultation:
            client = LocalLLMClient(stack, progress=self._progress)
            try:
                strategy = LlmStrategy(client, list(stack.roles.values()))
                return await consult(
                    strategy, model, sets, new, stack.settings.routing.max_error, self._progress
                )
            finally:
                await client.aclose()

        return bridge.run(ask())

    def _with_encoder(
        self, weights: Path | None, output: Path, measure_model: bool
    ) -> TrainingResult:
        try:
            from rolecall.routing.training.encoder import fine_tune
            from rolecall.routing.training.export import export
            from rolecall.routing.training.run import Recipe
        except ImportError as error:
            raise ConfigError(
                f'training the encoder needs PyTorch ({error.name}): pip install "rolecall[train]"'
            ) from error
        from rolecall.routing.training.base import base_encoder

        if output.exists():
            raise UsageError(f"{output} exists already; a whole router goes into a new folder")
        recipe = Recipe()
        with tempfile.TemporaryDirectory() as name:
            scratch = Path(name)
            base = base_encoder(weights, scratch, self._progress)
            with self._progress.step("Fine-tuning the encoder", total=1000, unit="‰") as advance:
                model = fine_tune(
                    shipped("train"),
                    base / "model.safetensors",
                    base / TOKENIZER,
                    recipe,
                    _Thousandths(advance),
                )
            made = scratch / "made"
            made.mkdir()
            export(model, made / ENCODER)
            (made / TOKENIZER).write_bytes((base / TOKENIZER).read_bytes())
            write_words(shipped("train"), made / WORDS)
            sets = Sets(Encoder(*(made / name for name in ENCODER_FILES)), self._progress)
            with self._progress.step("Fitting head, calibration and bands"):
                new = fit(sets)
            measured = figures(new.head, new.bands, sets.test)
            consulted = self._consult(sets, new) if measure_model else None
            written = write(
                output,
                output.name,
                sets,
                new,
                measured,
                encoder_folder=made,
                consult={} if consulted is None else {consulted.model: consulted.weight},
                recipe=recipe.line,
                own_encoder=True,
            )
        return TrainingResult(
            written.version, output, None, measured, used=False, same=False, consulted=consulted
        )


def _figure(figures: dict[str, Any] | None, key: str) -> str:
    value = figures[key] if figures else None
    return "–" if value is None else f"{value:.3f}"


class _Thousandths:
    """Turns steps of training into thousandths of a progress bar."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self._advance = advance
        self._done = 0

    def __call__(self, step: int, of: int, loss: float) -> None:
        now = 1000 * step // of
        self._advance(now - self._done)
        self._done = now
