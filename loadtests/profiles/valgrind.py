"""Words of a program to the callgrind it runs under: begin to count, set to zero, write down.

Valgrind's client requests (manual, 3.1 and 6.5) are a sequence of instructions that does nothing on a processor and
that valgrind takes for a call. The sequence is made by hand, so that no C compiler is needed: x86-64 alone.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

MACHINE = "x86_64"
DUMP, ZERO, START, STOP = (0x43540000 + number for number in (0, 1, 4, 5))
CODE = bytes.fromhex(
    "4889f8"  # mov rax, rdi: where the arguments are
    "31d2"  # xor edx, edx: the answer outside valgrind
    "48c1c703 48c1c70d 48c1c73d 48c1c733"  # rol rdi, 3, 13, 61, 51: rdi as before
    "4887db"  # xchg rbx, rbx
    "4889d0 c3"  # mov rax, rdx; ret
)


class Callgrind:
    """Requests to the callgrind around this process; without one they do nothing. Raises OSError on other
    processors."""

    def __init__(self) -> None:
        if platform.machine() != MACHINE:
            raise OSError(f"instructions are counted on {MACHINE} alone")
        self._code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._code.write(CODE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._call = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)(address)
        self._words = ctypes.c_size_t * 6

    def start(self) -> None:
        """Count from now on."""
        self._ask(START)

    def stop(self) -> None:
        self._ask(STOP)

    def zero(self) -> None:
        self._ask(ZERO)

    def dump(self) -> None:
        """Write what was counted since the last ``zero`` or ``dump`` to the next numbered file."""
        self._ask(DUMP)

    def _ask(self, request: int) -> None:
        words = self._words(request, 0, 0, 0, 0, 0)
        self._call(ctypes.addressof(words))
