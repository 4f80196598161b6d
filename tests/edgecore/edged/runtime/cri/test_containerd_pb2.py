"""The messages of containerd: those in the repository are made by the real compiler.

Make them anew as ``test_cri_pb2`` tells, from containerd.proto.
"""

from pathlib import Path

from tests.edgecore.edged.runtime.cri.protos import compiled, kept


def test_the_code_is_what_the_compiler_makes_of_the_proto(tmp_path: Path) -> None:
    assert compiled("containerd", tmp_path) == kept("containerd")
