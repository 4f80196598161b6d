"""What a doctor found, as people and programs read it. Nothing is faked: it is pure."""

import json

from common.checks import Finding, Verdict, as_json, as_text, exit_code, worst

FINE = Finding("disk", Verdict.OK, "3 GiB are free")
ODD = Finding("proxy", Verdict.WARN, "HTTPS_PROXY is set", "unset it")
BROKEN = Finding("clock", Verdict.FAIL, "an hour late", "start a time service")


def test_only_a_failure_makes_the_process_fail() -> None:
    assert exit_code([]) == exit_code([FINE]) == exit_code([FINE, ODD]) == 0
    assert exit_code([BROKEN, FINE]) == 3


def test_the_worst_verdict_is_that_of_all() -> None:
    assert worst([]) is Verdict.OK
    assert worst([FINE, ODD]) is Verdict.WARN
    assert worst([BROKEN, ODD, FINE]) is Verdict.FAIL


def test_people_read_a_line_for_each_finding_its_fix_below_it_and_the_sum() -> None:
    assert as_text([FINE, ODD, BROKEN], has_colours=False).splitlines() == [
        "OK    disk: 3 GiB are free",
        "WARN  proxy: HTTPS_PROXY is set",
        "      fix: unset it",
        "FAIL  clock: an hour late",
        "      fix: start a time service",
        "1 OK, 1 WARN, 1 FAIL",
    ]


def test_a_terminal_shows_verdicts_in_colours() -> None:
    text = as_text([FINE, BROKEN], has_colours=True)
    assert "\x1b[32mOK" in text
    assert "\x1b[31mFAIL" in text


def test_what_others_wrote_cannot_command_the_terminal() -> None:
    text = as_text([Finding("a", Verdict.OK, "\x1b[2J\nOK    b: c")], has_colours=False)
    assert text.splitlines() == ["OK    a: ?[2J?OK    b: c", "1 OK, 0 WARN, 0 FAIL"]


def test_programs_read_the_same_and_the_worst_verdict() -> None:
    assert json.loads(as_json([FINE, BROKEN])) == {
        "verdict": "FAIL",
        "findings": [
            {"name": "disk", "verdict": "OK", "found": "3 GiB are free", "fix": ""},
            {
                "name": "clock",
                "verdict": "FAIL",
                "found": "an hour late",
                "fix": "start a time service",
            },
        ],
    }
