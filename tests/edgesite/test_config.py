"""What an EdgeSite is told. Pure: nothing is read but what the test hands in."""

from pathlib import Path

import pytest

from common.config import Sources, load
from common.errors import ConfigError
from edgecore.config import EdgeCoreSettings, RuntimeName
from edgesite.config import ENV_PREFIX, EdgeSiteSettings


def loaded(environ: dict[str, str], **flags: str) -> EdgeSiteSettings:
    return load(EdgeSiteSettings, Sources(ENV_PREFIX, None, environ, flags)).settings


def test_flags_win_over_the_environment() -> None:
    environ = {"EDGESITE_KUBECONFIG": "/etc/kube", "EDGESITE_RUNTIME": "hollow"}
    told = loaded(environ, runtime="process", node_name="site-1")
    assert told.kubeconfig == Path("/etc/kube")
    assert (told.runtime, told.node_name) == (RuntimeName.PROCESS, "site-1")
    assert told.adoption() is None


def test_it_must_be_told_how_to_reach_the_api_server() -> None:
    with pytest.raises(ConfigError, match="--kubeconfig: must be given"):
        loaded({})


def test_what_belongs_together_is_judged_as_at_an_edge() -> None:
    with pytest.raises(ConfigError, match="parsecs"):
        loaded({}, kubeconfig="/k", eviction_hard="memory.available<5parsecs")


def test_it_knows_all_options_of_a_node_and_none_of_a_link() -> None:
    own, edge = set(EdgeSiteSettings.options()), set(EdgeCoreSettings.options())
    assert edge - own == {
        "cloud",
        "websocket_port",
        "https_port",
        "token",
        "token_file",
        "heartbeat_s",
        "kubeedge_certificate",
        "kubeedge_key",
        "kubeedge_authority",
    }
    assert own - edge == {"kubeconfig"}
