"""The runner without a model: records, locks, memory, threads, metrics."""

import os
import signal
import stat
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rolecall.errors import ConfigError, NotEnoughMemory, RunnerFailed
from rolecall.models.embedded import child, gguf, machine, records, runner
from rolecall.models.embedded.activity import Activity, parse_metrics
from rolecall.models.embedded.child import check_memory, idle_seconds
from rolecall.models.embedded.records import Record
from rolecall.models.embedded.runner import EmbeddedRunner
from rolecall.progress import SilentProgress


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROLECALL_HOME", str(tmp_path))
    return tmp_path


def record_of(pid: int, **changes: object) -> Record:
    created = psutil.Process(pid).create_time()
    base = Record("smollm2-135m", pid, created, 1234, "secret", 8192, time.time())
    return replace(base, **changes)  # type: ignore[arg-type]


def test_a_record_is_private_and_comes_back_as_it_was() -> None:
    record = record_of(os.getpid())
    records.write_record(record)
    path = records.file_of("smollm2-135m", "json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert records.read_record(path) == record
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_api_key_is_not_in_any_repr() -> None:
    record = record_of(os.getpid())
    assert "secret" not in repr(record)
    assert "secret" not in repr(runner._running(record))


def test_a_pid_that_belongs_to_a_later_process_is_not_our_server() -> None:
    mine = record_of(os.getpid())
    assert mine.alive()
    assert not replace(mine, process_created=mine.process_created - 60).alive()


def test_a_zombie_is_not_alive() -> None:
    spawned = subprocess.Popen([sys.executable, "-c", "pass"])
    record = record_of(spawned.pid)
    process = psutil.Process(spawned.pid)
    deadline = time.monotonic() + 10
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.status() == psutil.STATUS_ZOMBIE
    assert not record.alive()
    spawned.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": "x"}'])
def test_a_damaged_record_counts_as_none(home: Path, text: str) -> None:
    path = home / "run" / "x.json"
    path.parent.mkdir()
    path.write_text(text)
    assert records.read_record(path) is None
    assert EmbeddedRunner().running() == []


def test_only_loaded_and_living_servers_are_running() -> None:
    records.write_record(record_of(os.getpid(), model="a"))
    records.write_record(record_of(os.getpid(), model="b", port=0))
    records.write_record(record_of(os.getpid(), model="c", process_created=1.0))
    assert [server.model for server in EmbeddedRunner().running()] == ["a"]


def test_one_process_holds_the_lock_of_a_model_and_its_death_frees_it() -> None:
    code = (
        "from rolecall.models.embedded.records import hold_lock; import sys, time\n"
        "lock = hold_lock('m'); print(lock is not None, flush=True); time.sleep(60)"
    )
    spawned = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert spawned.stdout is not None
    with spawned.stdout:
        assert spawned.stdout.readline() == "True\n"
        assert not records.lock_is_free("m")
        spawned.send_signal(signal.SIGKILL)
        spawned.wait()
    assert records.lock_is_free("m")


def test_stop_ends_even_a_process_that_ignores_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_TERMINATE_S", 0.3)
    code = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"
    spawned = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert spawned.stdout is not None
    with spawned.stdout:
        spawned.stdout.readline()
        records.write_record(record_of(spawned.pid))
        stopped = EmbeddedRunner().stop("smollm2-135m")
    assert [server.pid for server in stopped] == [spawned.pid]
    assert spawned.wait() == -signal.SIGKILL or spawned.returncode == 0
    assert not psutil.pid_exists(spawned.pid)
    assert records.all_records() == []


def test_stop_clears_a_stale_record_and_claims_nothing() -> None:
    records.write_record(record_of(os.getpid(), process_created=1.0))
    assert EmbeddedRunner().stop() == []
    assert records.all_records() == []


def test_stop_leaves_other_models_alone() -> None:
    records.write_record(record_of(os.getpid(), model="other"))
    assert EmbeddedRunner().stop("smollm2-135m") == []
    assert [record.model for record in records.all_records()] == ["other"]


def test_without_the_extra_the_message_names_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "find_spec", lambda name: None)
    with pytest.raises(RunnerFailed, match=r'pip install "rolecall\[embedded\]"'):
        EmbeddedRunner().ensure("smollm2-135m")


def test_importing_the_runner_imports_neither_llama_nor_httpx() -> None:
    code = (
        "import sys, rolecall.models.embedded.runner\n"
        "print(sorted({'xllamacpp', 'httpx', 'rich'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_child_that_dies_early_is_reported_with_its_log(home: Path) -> None:
    path = home / "bad.gguf"
    path.write_bytes(b"this is not a model")
    with pytest.raises(RunnerFailed, match=r"bad did not start \((exit code|signal).*\n  .+"):
        child.start("bad", path, 64, 1, SilentProgress())
    assert records.all_records() == []
    assert records.lock_is_free("bad")


@pytest.mark.parametrize("text", ["soon", "-1", "0", "inf", "nan"])
def test_a_wrong_idle_time_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ROLECALL_IDLE_S", text)
    with pytest.raises(ConfigError, match="ROLECALL_IDLE_S"):
        idle_seconds()


def test_the_idle_time_is_900_s_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROLECALL_IDLE_S", raising=False)
    assert idle_seconds() == 900.0
    monkeypatch.setenv("ROLECALL_IDLE_S", "2.5")
    assert idle_seconds() == 2.5


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def small_gguf(path: Path, *pairs: bytes) -> Path:
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    return path


LLAMA = (
    text("general.architecture") + struct.pack("<I", 8) + text("llama"),
    number("llama.block_count", 24),
    number("llama.embedding_length", 896),
    number("llama.attention.head_count", 14),
    number("llama.attention.head_count_kv", 2),
)


def test_the_cache_size_comes_from_the_files_metadata(tmp_path: Path) -> None:
    path = small_gguf(tmp_path / "m.gguf", *LLAMA)
    assert gguf.read_shape(path) == gguf.Shape(24, 2, 64, 64)
    assert gguf.kv_cache_bytes(path, 8192) == 8192 * 24 * 2 * 128 * 2


def test_heads_that_differ_by_layer_count_as_the_most(tmp_path: Path) -> None:
    per_layer = text("llama.attention.head_count_kv") + struct.pack("<IIQ3I", 9, 4, 3, 0, 4, 2)
    path = small_gguf(tmp_path / "m.gguf", *LLAMA[:-1], per_layer)
    assert gguf.read_shape(path).kv_heads == 4


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + b"\xff" * 64, b"text"])
def test_an_unreadable_file_gets_the_stated_estimate(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    assert gguf.kv_cache_bytes(path, 1000) == 1000 * 128 * 1024


def test_too_little_memory_gives_numbers_and_a_smaller_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_gguf(tmp_path / "m.gguf", *LLAMA)
    monkeypatch.setattr(child, "available_memory", lambda: 200_000_000)
    with pytest.raises(NotEnoughMemory, match=r"200 MB are free.*--stack embedded-small"):
        check_memory("m", path, 8192)
    monkeypatch.setattr(child, "available_memory", lambda: 2_000_000_000)
    check_memory("m", path, 8192)


def test_a_memory_limit_of_the_group_counts_without_file_pages(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\n")
    assert machine._cgroup_memory_left(tmp_path) == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert machine._cgroup_memory_left(tmp_path) is None


def test_a_cpu_quota_limits_the_threads(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine._cpu_quota(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine._cpu_quota(tmp_path) is None


def test_two_threads_of_one_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_affinity", lambda: [0, 1, 2, 3])
    monkeypatch.setattr(machine, "_siblings", lambda cpu: f"{cpu // 2}")
    monkeypatch.setattr(machine, "_cpu_quota", lambda root: None)
    assert machine.usable_cores() == 2


def test_cores_follow_the_affinity_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_affinity", lambda: [5])
    monkeypatch.setattr(machine, "_cpu_quota", lambda root: None)
    assert machine.usable_cores() == 1


def test_metrics_tell_running_requests_and_work_done() -> None:
    reading = parse_metrics(
        "# HELP llamacpp:requests_processing x\n"
        "llamacpp:requests_processing 1\n"
        "llamacpp:requests_deferred 2\n"
        "llamacpp:prompt_tokens_total 10\n"
        "llamacpp:tokens_predicted_total 5\n"
        "llamacpp:prompt_tokens_seconds 50.3205\n"
    )
    assert reading == Activity(requests=3, work_done=15)
    assert reading.busy
    assert not Activity(requests=0, work_done=15).busy
