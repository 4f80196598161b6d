"""Write the reference of all options from the code: ``make reference``.

A test holds docs/reference/configuration.md to what this makes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cloudcore.config import ENV_PREFIX as CLOUD_PREFIX
from cloudcore.config import CloudCoreSettings
from common.commandline import shown
from common.judging import expected
from common.settings import Option, Settings, flag_name
from edgecore.config import ENV_PREFIX as EDGE_PREFIX
from edgecore.config import EdgeCoreSettings, HollowSettings
from edgesite.config import ENV_PREFIX as SITE_PREFIX
from edgesite.config import EdgeSiteSettings

FILE: Final = Path(__file__).parents[1] / "docs" / "reference" / "configuration.md"

_HEAD: Final = """\
# Configuration

Made from the code by `make reference`: change it there.

Each option can be told in three places. A flag wins over the environment, which wins over the file.

| place | the option `websocket_port` of edgecore |
|---|---|
| command line | `--websocket-port 10000` or `--websocket-port=10000` |
| environment | `EDGECORE_WEBSOCKET_PORT=10000`; an empty variable tells nothing |
| file, by `--config FILE` | `websocket_port: 10000` or `websocket-port: 10000`, as YAML |

On the command line, what is true or false is `--plain-tokens` or `--no-plain-tokens`. Where a list
is given as one text, its parts have commas between them. A name that is no option is a fault, with
the closest one that is. A file of KubeEdge (one with an `apiVersion`) is read too: see
[Migrate from KubeEdge](../how-to/migrate-from-kubeedge.md).

What a daemon would run with, and where each value was told, is shown by `cloudcore config show` and
`edgecore config show`; `config validate FILE` judges a file before anybody runs with it; `config
schema` prints its JSON Schema, for editors. Secrets are shown nowhere.
"""


def document() -> str:
    """Return the whole reference, in Markdown."""
    edge, hollow = EdgeCoreSettings.options(), HollowSettings.options()
    only_hollow = {name: one for name, one in hollow.items() if name not in edge}
    own = [one for name, one in EdgeSiteSettings.options().items() if edge.get(name) != one]
    return "\n".join(
        [
            _HEAD,
            *_section("cloudcore run", CloudCoreSettings, CLOUD_PREFIX),
            *_section("edgecore run", EdgeCoreSettings, EDGE_PREFIX),
            "## edgecore hollow",
            "",
            "For tests of the cloud's scale. What `edgecore run` is told of the cloud, and:",
            "",
            *_table(only_hollow.values()),
            "",
            "## cloudcore edgesite",
            "",
            f"Variables begin with `{SITE_PREFIX}`. What `edgecore run` is told of its node, and:",
            "",
            *_table(own),
            "",
        ]
    )


def _section(command: str, model: type[Settings], prefix: str) -> list[str]:
    options: Mapping[str, Option] = model.options()
    return [
        f"## {command}",
        "",
        f"Variables begin with `{prefix}`.",
        "",
        *_table(options.values()),
        "",
    ]


def _table(options: Iterable[Option]) -> list[str]:
    rows = ["| option | expected | default | |", "|---|---|---|---|"]
    for one in options:
        cells = (f"`{flag_name(one.name)}`", expected(one), _default(one), one.help)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return rows


def _default(one: Option) -> str:
    if one.is_required:
        return "must be given"
    if one.default in (None, "", (), {}):
        return "none"
    if one.is_worked_out:
        return "worked out"
    value = shown(one.default)
    return f"`{value.lower() if isinstance(one.default, bool) else value}`"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
