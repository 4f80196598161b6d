"""The messages of CRI: those in the repository are made from cri.proto by the real compiler.

Make them anew, from the root of the repository, with::

    python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. edgecore/edged/runtime/cri/cri.proto
"""

from pathlib import Path

from tests.edgecore.edged.runtime.cri.protos import compiled, kept


def test_the_code_is_what_the_compiler_makes_of_the_proto(tmp_path: Path) -> None:
    assert compiled("cri", tmp_path) == kept("cri")
