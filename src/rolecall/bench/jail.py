"""Confines this process and then becomes another Python: a script, run by ``sandbox``.

It imports the standard library only, because it runs before anything else does. Linux; two ways:

``namespaces``
    a mount, network and IPC namespace of its own (as root, or through a user namespace), whose
    root is an empty tmpfs with the system's libraries and the interpreter in it, read-only.
``landlock``
    Landlock rules (kernel 5.13) that allow reading the same folders and nothing else.

Both add a seccomp filter: no sockets, no further processes, no signals to others, no changes of
files' modes or owners; and resource limits. See ``landlock(7)``, ``seccomp(2)``,
``user_namespaces(7)``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import runpy
import struct
import sys
from typing import Any

WORK = "/work"
_SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/nix/store")
_FILES = ("/etc/ld.so.cache", "/etc/localtime", "/dev/null", "/dev/urandom")
_WORK_BYTES = 16 << 20
_WORK_FILES = 256

_NEWNS, _NEWIPC, _NEWUSER, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x40000000
_NOSUID, _NODEV, _BIND, _REC, _PRIVATE = 2, 4, 4096, 16384, 1 << 18
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _RECURSIVE = 1, 2, 4, 0x8000
_MOUNT_SETATTR, _LANDLOCK = 442, 444  # the same number on every architecture
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS = 1, 24, 38

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> int:
    found = int(getattr(_libc, name)(*arguments))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return found


def _mount(what: bytes, where: str, kind: bytes, flags: int, data: bytes = b"") -> None:
    _call("mount", what, os.fsencode(where), kind, ctypes.c_ulong(flags), data)


def _read_only(where: str, *, below: bool) -> None:
    attributes = struct.pack("QQQQ", _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    flags = _RECURSIVE if below else 0
    _call("syscall", _MOUNT_SETATTR, -100, os.fsencode(where), flags, attributes, len(attributes))


def _enter_namespaces() -> None:
    """As root without a user namespace: where that is not allowed, as everyone else."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            _call("unshare", _NEWNS | _NEWNET | _NEWIPC)
            return
        except PermissionError:
            pass
    _call("unshare", _NEWUSER | _NEWNS | _NEWNET | _NEWIPC)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"1000 {uid} 1"),
        ("gid_map", f"1000 {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def namespaces(root: str, readable: list[str]) -> None:
    """Move into a root of our own: ``readable`` read-only, and an empty folder to work in."""
    _enter_namespaces()
    _mount(b"none", "/", b"", _REC | _PRIVATE)
    _mount(b"tmpfs", root, b"tmpfs", _NOSUID | _NODEV, b"size=1m,mode=755")
    for path in readable:
        inside = root + path
        if os.path.islink(path):
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            os.symlink(os.readlink(path), inside)
            continue
        if os.path.isdir(path):
            os.makedirs(inside, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(inside), exist_ok=True)
            open(inside, "w").close()
        _mount(os.fsencode(path), inside, b"", _BIND | _REC)
        if not path.startswith("/dev/"):
            _read_only(inside, below=True)
    os.mkdir(root + WORK)
    _read_only(root, below=False)
    size = f"size={_WORK_BYTES},nr_inodes={_WORK_FILES},mode=777"
    _mount(b"tmpfs", root + WORK, b"tmpfs", _NOSUID | _NODEV, size.encode())
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", 2)  # the old root, which now lies under the new one
    os.chdir(WORK)
    if os.geteuid() == 0:
        nobody = 200_000 + os.getpid() % 50_000
        os.setgroups([])
        try:
            os.setresgid(nobody, nobody, nobody)
            os.setresuid(nobody, nobody, nobody)
        except OSError:
            os.setresgid(65534, 65534, 65534)
            os.setresuid(65534, 65534, 65534)


def landlock(root: str, readable: list[str]) -> None:
    """Allow reading and running what lies in ``readable``; nothing may be written anywhere."""
    version = _call("syscall", _LANDLOCK, None, ctypes.c_size_t(0), 1)
    rights = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    every = (1 << rights) - 1
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    asked = struct.pack("QQQ", every, network, scoped)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _call("syscall", _LANDLOCK, asked, ctypes.c_size_t(size), 0)
    execute, read_file, read_dir, write_file = 1, 4, 8, 2
    for path in readable:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = execute | read_file | (read_dir if os.path.isdir(path) else 0)
        if path == "/dev/null":
            allowed |= write_file
        rule = struct.pack("<Qi", allowed, handle)
        _call("syscall", _LANDLOCK + 1, rules, 1, rule, 0)
        os.close(handle)
    os.chdir(root)
    _call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("syscall", _LANDLOCK + 2, rules, 0)
    os.close(rules)


def _drop_capabilities() -> None:
    for capability in range(64):
        if _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break


def limit(limits: dict[str, int]) -> None:
    """Bound memory, processor time, files and their size; no core dumps."""
    for name, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, limits["seconds"] + 1),
        (resource.RLIMIT_FSIZE, _WORK_BYTES),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))


def readable_paths(interpreter: str, prefix: str) -> list[str]:
    """What a Python needs to see: the system's libraries and its own installation."""
    wanted = [*_SYSTEM, *_FILES, prefix]
    if not interpreter.startswith(prefix + "/"):
        wanted.append(interpreter)
    inside = ("/usr/", "/nix/store/")
    return [
        path
        for number, path in enumerate(wanted)
        if os.path.exists(path)
        and not (number >= len(_SYSTEM) and path.startswith(inside))
        and path not in wanted[:number]
    ]


def main() -> None:
    """``jail.py WAY JSON``: be confined, then run ``python -c`` what the JSON says."""
    way, given = sys.argv[1], json.loads(sys.argv[2])
    # this interpreter sees no packages; what it needs is read before it is confined
    filter_file = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seccomp.py")
    refuse_calls = runpy.run_path(filter_file)["refuse_calls"]
    readable = readable_paths(given["interpreter"], given["prefix"])
    {"namespaces": namespaces, "landlock": landlock}[way](given["root"], readable)
    _drop_capabilities()
    limit(given)
    _call("prctl", _SET_PDEATHSIG, 9, 0, 0, 0)
    refuse_calls()
    folder = WORK if way == "namespaces" else given["root"]
    environment = {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    os.execve(  # noqa: S606 - that is the purpose
        given["interpreter"],
        [given["interpreter"], "-I", "-S", "-B", "-c", given["program"]],
        environment,
    )


if __name__ == "__main__":
    main()
