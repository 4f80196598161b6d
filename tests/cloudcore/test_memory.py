"""Where large blocks of memory come from. Real: the C library, in a process of its own."""

import subprocess
import sys

_CHILD = """
from cloudcore.memory import LARGE_BYTES, give_large_blocks_own_pages

def mapped_areas():
    with open("/proc/self/maps") as maps:
        return sum(1 for _ in maps)

def fill_heap():
    return [bytes(LARGE_BYTES // 2) for _ in range(64)]

larger = bytearray(8 * LARGE_BYTES)
del larger  # by default, blocks up to that size come from the heap from now on
fill_heap()
is_taken = give_large_blocks_own_pages()
fill_heap()
before = mapped_areas()
blocks = [bytearray(2 * LARGE_BYTES) for _ in range(64)]
del blocks[::2]  # those that are left cannot lie in one area
print(is_taken, mapped_areas() - before)
"""


def test_each_large_block_has_pages_of_its_own_where_the_c_library_knows_how() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True
    )
    is_taken, areas = done.stdout.split()
    assert is_taken == "False" or int(areas) >= 30
