"""The system calls that confined code may not make: a seccomp filter, loaded by ``jail``.

No sockets, no further processes, no signals to others, no changes of files' modes or owners. See
``seccomp(2)``. Imports the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any

_CLONE_THREAD = 0x10000
_SET_NO_NEW_PRIVS, _SET_SECCOMP = 38, 22

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
    _set(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _set(_SET_SECCOMP, 2, program, 0, 0)


def _set(*arguments: Any) -> None:
    if _libc.prctl(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
