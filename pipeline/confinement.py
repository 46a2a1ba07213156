"""Takes the network and most files from a process, for good, without the privileges that containers need.

Landlock, https://docs.kernel.org/userspace-api/landlock.html, restricts files; a seccomp filter,
https://docs.kernel.org/userspace-api/seccomp_filter.html, the system calls that lead elsewhere. GitHub's runners have
both, while they refuse the namespaces of `unshare` and bubblewrap to users:
https://github.com/actions/runner-images/issues/10443
"""

import ctypes
import os
import platform
import struct
from collections.abc import Iterable, Iterator, Mapping

from pipeline import environment

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # above `pipeline`

# Rights of Landlock by the version that knows them; all of them are denied where no rule allows them.
READ, WRITE = 1 << 0 | 1 << 2 | 1 << 3, 1 << 1  # execute, read file, read folder; write file
FILES = (1 << 13) - 1  # version 1
LATER_FILES = {2: 1 << 13, 3: 1 << 14, 5: 1 << 15}  # refer, truncate, ioctl
OF_A_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # those that a rule for a single file can have
TCP, SCOPES = (1 << 2) - 1, (1 << 2) - 1  # versions 4 and 6: connections; sockets and signals of other processes
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on all processors
VERSION, PATH_BENEATH = 1, 1

# System calls that the filter denies, by processor: socket; io_uring_setup, which makes sockets too; those that read or
# change other processes: ptrace, process_vm_readv, process_vm_writev, pidfd_getfd. And the processor as audit names it.
DENIED = {
    "x86_64": (0xC000003E, (41, 425, 101, 310, 311, 438)),
    "aarch64": (0xC00000B7, (198, 425, 117, 270, 271, 438)),
}
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | 13  # EACCES
X32 = 0x40000000  # other numbers of the same system calls
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2

# What Python, TensorFlow and drivers read, and devices that they use.
SYSTEM = """
    /usr /lib /lib64 /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/localtime /proc/self /proc/cpuinfo
    /proc/meminfo /proc/stat /proc/sys/vm /proc/driver /sys/devices /sys/fs/cgroup /sys/bus/pci /sys/module
    """.split()
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


def confine(readable: Iterable[str], writable: Iterable[str]) -> list[str]:
    """Denies this process, and all that it starts, the network and all files but these and the system's.

    It has to have one thread. Returns what this system cannot deny, [] on most.
    """
    if platform.system() != "Linux":
        return ["the network", "the files of this user"]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return ["the network", "the files of this user"]
    files = _deny_files(libc, [*readable, *SYSTEM], [*writable, *DEVICES, *_graphics()])
    network = _deny_calls(libc)
    return ["the network"] * (not network) + ["the files of this user"] * (not files)


def _graphics() -> list[str]:
    return [entry.path for entry in os.scandir("/dev") if entry.name.startswith(("nvidia", "dri"))]


def _deny_files(libc: ctypes.CDLL, readable: Iterable[str], writable: Iterable[str]) -> bool:
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    if version < 1:
        return False
    handled = FILES | sum(right for since, right in LATER_FILES.items() if version >= since)
    attributes = struct.pack("QQQ", handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    rules = libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        for paths, rights in ((readable, READ), (writable, handled)):
            for path in filter(os.path.exists, paths):
                descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
                try:
                    allowed = rights & handled & (-1 if os.path.isdir(path) else OF_A_FILE)
                    rule = struct.pack("=Qi", allowed, descriptor)
                    if libc.syscall(ADD_RULE, rules, PATH_BENEATH, rule, 0):
                        return False
                finally:
                    os.close(descriptor)
        return libc.syscall(RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _deny_calls(libc: ctypes.CDLL) -> bool:
    if platform.machine() not in DENIED:
        return False
    program = b"".join(_filter(*DENIED[platform.machine()]))
    buffer = ctypes.create_string_buffer(program, len(program))
    pointer = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    return libc.prctl(SECCOMP, FILTER, pointer, 0, 0) == 0


def _filter(processor: int, denied: tuple[int, ...]) -> Iterator[bytes]:
    """Yields a program of the Berkeley Packet Filter, which looks at the processor and the number of a system call."""
    checks = [(AT_LEAST, X32), *((EQUAL, call) for call in denied)]
    yield _instruction(LOAD, 4)
    yield _instruction(EQUAL, processor, otherwise=len(checks) + 2)
    yield _instruction(LOAD, 0)
    for left, (test, number) in zip(range(len(checks), 0, -1), checks, strict=True):
        yield _instruction(test, number, then=left)
    yield _instruction(RETURN, ALLOW)
    yield _instruction(RETURN, REFUSE)


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)


def variables(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Returns the environment of a model's process, which keeps its files in `folder` and imports this repository."""
    own = {"HOME": folder, "TMPDIR": folder, "PYTHONPATH": ROOT, "PYTHONSAFEPATH": "1"}
    return environment.allowed(environ) | own


def last_message(path: str, code: int) -> str:
    """Returns the last line of what an ended process wrote to its stderr, kept at `path`, or else its exit code."""
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.read().split("\n")
    return next(filter(None, map(str.strip, reversed(lines))), f"its process ended with {code}")
