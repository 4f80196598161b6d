"""What enrolment is told. Everything is real; there is nothing to fake."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from edgecore.edgehub.enrollconfig import EnrollConfig, Job, Task


def test_a_task_can_be_handed_to_another_process() -> None:
    config = EnrollConfig("n1", "cloud", 10002, "/data/pki")
    task = Task(Job.ENROLL, config, "token", datetime(2026, 1, 1, tzinfo=UTC))
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task


def test_the_certificate_is_named_by_the_node() -> None:
    config = EnrollConfig("n1", "cloud", 10002, "/data/pki")
    assert config.node_file == Path("/data/pki/n1.pem")
    assert config.authority_file == Path("/data/pki/ca.crt")
