"""Keeps the memory of thousands of TLS connections from being spread over the heap."""

import ctypes
import sys
from typing import Final

LARGE_BYTES: Final = 128 * 1024
"""Blocks from this size on get pages of their own."""

_M_MMAP_THRESHOLD: Final = -3
_M_TRIM_THRESHOLD: Final = -1


def give_large_blocks_own_pages() -> bool:
    """Have every large block of memory mapped for itself, for as long as this process lives.

    uvloop has a buffer of 256 KiB for each TLS connection and touches 4 to 8 of them. The C library
    by default soon takes such blocks out of its heap, where they come to lie on pages that
    handshakes before have used and left: then a connection takes 118 KiB instead of 50.

    Returns:
        Whether the C library has taken it; another one than glibc has no such setting.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, whose dynamic adjustment this ends.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    # The free end of the heap is given back before it is as large as such a block. What was freed
    # so far may have changed that, and the blocks would come from there.
    return bool(mallopt(_M_TRIM_THRESHOLD, LARGE_BYTES) and mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES))
