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
import platform
import resource
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
_CLONE_THREAD = 0x10000
_MOUNT_SETATTR, _LANDLOCK = 442, 444  # the same number on every architecture
_SET_PDEATHSIG, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _SET_SECCOMP = 1, 24, 38, 22

_EPERM, _ENOSYS = 1, 38
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x50000, 0x80000000

# Calls that are refused: name, number on x86_64, number on aarch64 (-: it has no such call).
_ARCH = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_REFUSED = """
socket 41 198, connect 42 203, bind 49 200, listen 50 201, fork 57 -, vfork 58 -, kill 62 129
tkill 200 130, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, ptrace 101 117
process_vm_readv 310 270, process_vm_writev 311 271, unshare 272 97, setns 308 268, mount 165 40
umount2 166 39, pivot_root 155 41, chroot 161 51, bpf 321 280, perf_event_open 298 241
userfaultfd 323 282, add_key 248 217, request_key 249 218, keyctl 250 219, chmod 90 -
fchmod 91 52, fchmodat 268 53, chown 92 -, fchown 93 55, lchown 94 -, fchownat 260 54
utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88, setxattr 188 5, lsetxattr 189 6
fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15, fremovexattr 199 16, truncate 76 45
shmget 29 194, semget 64 190, msgget 68 186, mq_open 240 180, memfd_create 319 279
setpriority 141 140, ioprio_set 251 30, sched_setparam 142 118, sched_setscheduler 144 119
sched_setaffinity 203 122, sched_setattr 314 274, migrate_pages 256 238, move_pages 279 239
open_by_handle_at 304 265, setpgid 109 154, setsid 112 157, pidfd_send_signal 424 424
io_uring_setup 425 425, open_tree 428 428, move_mount 429 429, fsopen 430 430, fsmount 432 432
pidfd_open 434 434, pidfd_getfd 438 438, process_madvise 440 440, mount_setattr 442 442
memfd_secret 447 447, fchmodat2 452 452, setxattrat 463 463, removexattrat 466 466
"""
_CLONE, _CLONE3, _TGKILL, _PRLIMIT = (56, 220), (435, 435), (234, 131), (302, 261)

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


def refuse_calls() -> None:
    """Load the seccomp filter.

    Raises:
        OSError: the kernel has none, or the architecture is another one.
    """
    machine = platform.machine()
    if machine not in _ARCH:
        raise OSError(f"no system call numbers for {machine}")
    architecture, column = _ARCH[machine]
    load, jump_eq, jump_ge, test_bits, give = 0x20, 0x15, 0x35, 0x45, 0x06
    code: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),
        (jump_eq, 1, 0, architecture),
        (give, 0, 0, _KILL),
        (load, 0, 0, 0),
    ]

    def refuse(number: int, error: int = _EPERM) -> None:
        code.extend([(jump_eq, 0, 1, number), (give, 0, 0, _ERRNO | error)])

    if machine == "x86_64":
        code.extend([(jump_ge, 0, 1, 0x40000000), (give, 0, 0, _ERRNO | _ENOSYS)])
    for entry in _REFUSED.replace("\n", ", ").strip(", ").split(", "):
        number = entry.split()[1 + column]
        if number != "-":
            refuse(int(number))
    refuse(_CLONE3[column], _ENOSYS)  # then the C library takes clone, which can be looked into
    for numbers, test, value in (
        (_CLONE, test_bits, _CLONE_THREAD),
        (_TGKILL, jump_eq, os.getpid()),
        (_PRLIMIT, jump_eq, 0),
    ):
        code.extend(
            [
                (jump_eq, 0, 4, numbers[column]),
                (load, 0, 0, 16),  # the low half of the first argument
                (test, 0, 1, value),
                (give, 0, 0, _ALLOW),
                (give, 0, 0, _ERRNO | _EPERM),
            ]
        )
    code.append((give, 0, 0, _ALLOW))
    packed = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(packed)
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    _call("prctl", _SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("prctl", _SET_SECCOMP, 2, program, 0, 0)


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
