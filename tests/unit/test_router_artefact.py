"""A damaged router is told with its file and a remedy, and never stands in a turn's way."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rolecall.config.schema import Role
from rolecall.database import DatabaseFile
from rolecall.errors import ArtefactDamaged, UsageError
from rolecall.models.calls import OnCall
from rolecall.models.scripted import ScriptedReply, ScriptedRunner
from rolecall.routing.decision import Decision, Routed
from rolecall.routing.encoder.artefact import (
    ENCODER,
    ENCODER_FILES,
    EXAMPLES,
    ROUTER,
    SHIPPED,
    load_artefact,
    sha256,
)
from rolecall.routing.encoder.classifier import Classifier
from rolecall.routing.encoder.strategy import EncoderStrategy
from rolecall.routing.encoder.versions import (
    current_artefact,
    current_name,
    new_folder,
    previous,
    use,
    versions,
)
from rolecall.routing.hybrid import HybridStrategy
from rolecall.telemetry.schema import migrations
from rolecall.telemetry.traces import Traces

ROLES = [Role(name, "", "", ()) for name in ("router", "reasoning", "coding")]
CODE = "write a python function that sorts a list"

Damage = Callable[[Path], None]


def copied(target: Path) -> Path:
    """A version that holds all that the shipped one does."""
    target.mkdir(parents=True)
    for path in SHIPPED.iterdir():
        if path.name == ENCODER:
            (target / ENCODER).symlink_to(path)
        else:
            shutil.copy(path, target)
    return target


def trained(target: Path) -> Path:
    """A version as training leaves it: the encoder is the packaged one."""
    copied(target)
    for name in ENCODER_FILES:
        (target / name).unlink()
    return target


def missing(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def truncated(name: str) -> Damage:
    def damage(folder: Path) -> None:
        body = (folder / name).read_bytes()
        (folder / name).unlink()
        (folder / name).write_bytes(body[: len(body) // 2])

    return damage


def changed_byte(name: str) -> Damage:
    def damage(folder: Path) -> None:
        body = bytearray((folder / name).read_bytes())
        body[len(body) // 2] ^= 1
        (folder / name).unlink()
        (folder / name).write_bytes(body)

    return damage


def written(text: str | bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / ROUTER).write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


def edited(*keys: str, to: Any = None) -> Damage:
    """``router.json`` with another value at ``keys``; without it when ``to`` is left out."""

    def damage(folder: Path) -> None:
        body = json.loads((folder / ROUTER).read_text())
        inner = body
        for key in keys[:-1]:
            inner = inner[key]
        if to is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = to(inner[keys[-1]]) if callable(to) else to
        (folder / ROUTER).write_text(json.dumps(body))

    return damage


def with_first(value: float) -> Callable[[list[list[float]]], list[list[float]]]:
    return lambda rows: [[value, *rows[0][1:]], *rows[1:]]


ROUTER_DAMAGE = {
    "missing": missing(ROUTER),
    "truncated": truncated(ROUTER),
    "empty": written(""),
    "not-json": written("router"),
    "not-text": written(b"\xff\xfe\x00"),
    "a-list": written("[]"),
    "other-format": edited("format", to=1),
    "other-features": edited("surface", to=lambda names: [*names[:-1], "colour"]),
    "one-feature-less": edited("surface", to=lambda names: names[:-1]),
    **{
        f"no-{key}": edited(key)
        for key in (
            "format",
            "version",
            "surface",
            "head",
            "bands",
            "confidences",
            "role_fit",
            "consult",
            "measured",
            "data",
            "sha256",
        )
    },
    "no-checksum": edited("sha256", ENCODER),
    "no-weights": edited("head", "weights"),
    "head-a-list": edited("head", to=[1, 2]),
    "weights-of-another-encoder": edited("head", "weights", to=lambda rows: [r[:-1] for r in rows]),
    "ragged-weights": edited("head", "weights", to=lambda rows: [rows[0][:-1], *rows[1:]]),
    "a-label-more": edited("head", "labels", to=lambda labels: [*labels, "POETRY"]),
    "bias-too-short": edited("head", "bias", to=[0.0]),
    "nan-weight": edited("head", "weights", to=with_first(math.nan)),
    "infinite-weight": edited("head", "weights", to=with_first(math.inf)),
    "words-for-weights": edited("head", "bias", to=["a", "b", "c"]),
    "temperature-zero": edited("head", "temperature", to=0.0),
    "temperature-nan": edited("head", "temperature", to=math.nan),
    "temperature-infinite": edited("head", "temperature", to=10**400),
    "nan-in-a-band": edited("bands", to=[[0.5, 1.0, 0.0, math.nan]]),
    "short-band": edited("bands", to=[[0.5]]),
    "bands-a-number": edited("bands", to=3),
    "role-fit-of-words": edited("role_fit", to=dict.fromkeys(("nearest", "centre"), "x")),
    "role-fit-of-another-kind": edited("role_fit", to={"slope": 1.0, "offset": 0.0}),
    "consult-a-list": edited("consult", to=[1]),
}
OTHER_DAMAGE = {
    f"{what.__name__}-{name}": (name, what(name))
    for name in (*ENCODER_FILES, EXAMPLES)
    for what in (missing, truncated, changed_byte)
}
ALL_DAMAGE = {**OTHER_DAMAGE, **{key: (ROUTER, how) for key, how in ROUTER_DAMAGE.items()}}
IN_USE = {key: ALL_DAMAGE[key] for key in ALL_DAMAGE if not key.startswith("missing-")} | {
    f"missing-{EXAMPLES}": ALL_DAMAGE[f"missing-{EXAMPLES}"]
}


class Asked:
    """Stands in for the router model."""

    async def decide(
        self, question: str, context: Any = (), *, on_call: OnCall | None = None
    ) -> Routed:
        return Routed(Decision.for_role("coding", 0.5, "the router model chose CODING"), "llm")


def in_use(home: Path, name: str) -> None:
    (home / "router").mkdir(parents=True, exist_ok=True)
    (home / "router" / "current").write_text(f"{name}\n")


@pytest.fixture
def own(rolecall_home: Path) -> Callable[..., Path]:
    """``own("0001")`` makes a version of the user's."""

    def make(name: str, how: Callable[[Path], Path] = trained) -> Path:
        return how(rolecall_home / "router" / "versions" / name)

    return make


@pytest.fixture
def traces(rolecall_home: Path) -> Iterator[Traces]:
    file = DatabaseFile(rolecall_home / "telemetry.db", migrations)
    yield Traces(file)
    file.close()


# --- one version ------------------------------------------------------------------------------


def test_a_whole_copy_decides_as_the_shipped_one_does(tmp_path: Path) -> None:
    folder = copied(tmp_path / "v")
    again = load_artefact(folder, folder)
    ours, theirs = (Classifier(a, ROLES).classify(CODE) for a in (again, load_artefact(SHIPPED)))
    assert ours.probabilities == theirs.probabilities
    assert again.folder == folder
    ids, vectors = again.nearest_vectors()
    assert vectors.shape == (len(ids), 384)


@pytest.mark.parametrize("key", ALL_DAMAGE)
def test_damage_is_told_with_the_file_and_a_remedy(tmp_path: Path, key: str) -> None:
    name, damage = ALL_DAMAGE[key]
    folder = copied(tmp_path / "v")
    damage(folder)
    with pytest.raises(ArtefactDamaged) as caught:
        load_artefact(folder, folder)
    assert str(folder / name) in str(caught.value)
    assert "rolecall router rollback" in str(caught.value)
    assert "installing rolecall again" in str(caught.value)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArtefactDamaged, match=r"cannot read .*nowhere"):
        load_artefact(tmp_path / "nowhere")


def test_a_version_without_an_encoder_takes_the_packaged_one(tmp_path: Path) -> None:
    artefact = load_artefact(trained(tmp_path / "v"))
    assert Classifier(artefact, ROLES).classify(CODE).label == "CODING"


def test_an_encoder_that_was_checked_is_the_one_that_is_used(tmp_path: Path) -> None:
    folder = copied(tmp_path / "v")
    truncated(ENCODER)(folder)
    edited("sha256", ENCODER, to=sha256(folder / ENCODER))(folder)
    with pytest.raises(ArtefactDamaged, match="encoder cannot be loaded"):
        load_artefact(folder)


@pytest.mark.parametrize("damage", [missing(EXAMPLES), truncated(EXAMPLES)])
def test_examples_that_vanish_later_are_told(tmp_path: Path, damage: Damage) -> None:
    artefact = load_artefact(trained(tmp_path / "v"))
    damage(artefact.folder)
    with pytest.raises(ArtefactDamaged, match=r"examples\.npz.*rolecall router rollback"):
        Classifier(artefact, [*ROLES, Role("legal", "", "law", ("Is this legal?",))])
    assert Classifier(artefact, ROLES).classify(CODE).label == "CODING"


# --- a damaged version in use -----------------------------------------------------------------


@pytest.mark.parametrize("key", IN_USE)
async def test_the_router_model_decides_while_the_encoder_is_damaged(
    own: Callable[..., Path], rolecall_home: Path, key: str
) -> None:
    name, damage = IN_USE[key]
    folder = own("0001", copied)
    damage(folder)
    in_use(rolecall_home, "0001")
    strategy = HybridStrategy(EncoderStrategy(ROLES, 0.05), Asked(), "tiny")  # type: ignore[arg-type]
    routed = await strategy.decide("hello")
    assert (routed.strategy, routed.decision.label) == ("llm", "CODING")
    assert routed.decision.reason.startswith("the encoder cannot be used (")
    assert routed.decision.reason.endswith("; the router model chose CODING")
    assert len(routed.decision.reason.splitlines()) == 1
    assert routed.problem is not None
    assert str(folder / name) in str(routed.problem)
    assert routed.encoder_confidence is None


async def test_a_version_that_was_mended_is_used_again(
    own: Callable[..., Path], rolecall_home: Path
) -> None:
    folder = own("0001")
    body = (folder / ROUTER).read_bytes()
    written("{")(folder)
    in_use(rolecall_home, "0001")
    strategy = HybridStrategy(EncoderStrategy(ROLES, 0.5), Asked(), "tiny")  # type: ignore[arg-type]
    assert (await strategy.decide("hi there")).strategy == "llm"
    (folder / ROUTER).write_bytes(body)
    routed = await strategy.decide("hi there")
    assert (routed.strategy, routed.decision.label) == ("encoder", "HANDLE")


def test_a_whole_turn_is_answered_with_a_damaged_version_in_use(
    opened: Any, brain: Any, traces: Traces, own: Callable[..., Path], rolecall_home: Path
) -> None:
    truncated(EXAMPLES)(own("0001"))
    in_use(rolecall_home, "0001")
    brain.route = "CODING"
    brain.say("def f(): ...")
    with opened({"routing": {"strategy": "hybrid"}}) as assistant:
        reply = assistant.ask("Write a function")
        assistant.flush()
    assert (reply.text, reply.strategy) == ("def f(): ...", "llm")
    assert reply.path == ["init", "router", "coding", "synthesis"]
    assert reply.decision["reason"].startswith("the encoder cannot be used (")
    trace = traces.show(reply.trace_id)
    assert [error["type"] for error in trace["errors"]] == ["ArtefactDamaged"]
    assert EXAMPLES in trace["errors"][0]["message"]
    assert trace["decisions"][0]["encoder_confidence"] is None
    assert traces.encoder_confidences(10) == []


def test_a_turn_is_answered_though_encoder_and_router_model_are_gone(
    opened: Any, runner: ScriptedRunner, rolecall_home: Path
) -> None:
    in_use(rolecall_home, "0007")
    runner.default = lambda asked: (
        ScriptedReply(fault=400) if asked.model == "router-model" else "Answered."
    )
    with opened({"routing": {"strategy": "encoder"}}) as assistant:
        reply = assistant.ask("Why?")
    assert reply.text == "Answered."
    assert reply.decision["target_model"] == "REASONING"
    assert "0007" in reply.decision["reason"]
    assert "the router model could not be asked" in reply.decision["reason"]


def test_a_whole_turn_by_the_encoder_asks_no_router_model(
    opened: Any, brain: Any, traces: Traces
) -> None:
    brain.say("def f(): ...")
    with opened({"routing": {"strategy": "hybrid", "max_error": 0.5}}) as assistant:
        reply = assistant.ask(CODE)
        assistant.flush()
    assert (reply.strategy, reply.decision["target_model"]) == ("encoder", "CODING")
    assert brain.routed == 0
    assert [call["role"] for call in reply.calls] == ["coding"]
    (confidence,) = traces.encoder_confidences(10)
    assert confidence == pytest.approx(reply.decision["confidence"], abs=1e-4)
    assert traces.show(reply.trace_id)["errors"] == []


# --- versions ---------------------------------------------------------------------------------


def names() -> list[tuple[str, bool]]:
    return [(version.name, version.current) for version in versions()]


def test_at_first_there_is_the_shipped_one(rolecall_home: Path) -> None:
    assert names() == [("shipped", True)]
    assert versions()[0].folder == SHIPPED
    assert new_folder().name == "0001"
    with pytest.raises(UsageError, match="no version before it"):
        previous()


def test_versions_are_listed_oldest_first_and_used_by_name(own: Callable[..., Path]) -> None:
    own("0002")
    own("0001")
    assert names() == [("shipped", True), ("0001", False), ("0002", False)]
    used = use("0002")
    assert (used.name, used.current) == ("0002", True)
    assert names() == [("shipped", False), ("0001", False), ("0002", True)]
    assert current_artefact().folder == used.folder
    assert new_folder().name == "0003"


def test_a_rollback_takes_the_one_before(own: Callable[..., Path]) -> None:
    own("0001")
    own("0002")
    use("0002")
    assert [use(previous()).name for _ in range(2)] == ["0001", "shipped"]
    assert current_artefact().folder == SHIPPED
    with pytest.raises(UsageError):
        previous()


def test_an_unknown_version_is_refused(own: Callable[..., Path]) -> None:
    own("0001")
    with pytest.raises(UsageError, match="'0009'; there are: shipped, 0001"):
        use("0009")
    with pytest.raises(UsageError):
        use("../../../etc")
    assert current_name() == "shipped"


def test_a_damaged_version_is_not_put_in_use(own: Callable[..., Path]) -> None:
    own("0001")
    use("0001")
    edited("head", "bias", to=[0.0])(own("0002"))
    with pytest.raises(ArtefactDamaged, match="0002"):
        use("0002")
    assert current_name() == "0001"


def test_a_version_in_use_that_vanished_is_told_and_rolled_back(own: Callable[..., Path]) -> None:
    own("0001")
    own("0003")
    shutil.rmtree(use(own("0002").name).folder)
    assert not any(current for _, current in names())
    with pytest.raises(ArtefactDamaged, match=r"0002.*rolecall router rollback"):
        current_artefact()
    assert use(previous()).name == "0003"
    assert current_artefact().folder.name == "0003"


@pytest.mark.parametrize("junk", [b"\x00" * 8, b"x" * 5000, b"a\nb", b"a/../b"])
def test_junk_in_current_is_told(rolecall_home: Path, junk: bytes) -> None:
    in_use(rolecall_home, "0001")
    (rolecall_home / "router" / "current").write_bytes(junk)
    with pytest.raises(ArtefactDamaged, match="rolecall router rollback"):
        current_artefact()
    assert use(previous()).name == "shipped"


@pytest.mark.parametrize("junk", [b"", b" \n", b"\xff\xfe"])
def test_no_name_in_current_means_the_shipped_one(rolecall_home: Path, junk: bytes) -> None:
    in_use(rolecall_home, "0001")
    (rolecall_home / "router" / "current").write_bytes(junk)
    assert names() == [("shipped", True)]


def test_a_changed_version_is_loaded_anew(own: Callable[..., Path]) -> None:
    own("0001")
    use("0001")
    assert current_artefact() is current_artefact()
    before = current_artefact()
    edited("version", to="mine")(before.folder)
    assert current_artefact().version == "mine"
    assert before.version != "mine"
