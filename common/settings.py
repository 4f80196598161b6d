"""What a daemon can be told: dataclasses, which cost a running daemon next to nothing.

A class made by ``configuration`` is the single place where an option is named, typed, bounded,
defaulted and described. From it come the command line's flags (``--websocket-port``), the
environment's names (``CLOUDCORE_WEBSOCKET_PORT``), the keys of the YAML file (``websocket_port`` or
``websocket-port``) and the reference. ``common.config`` fills it and judges what it is filled with.
Pure.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Final,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

from common.capabilities import ALL, Capability, choose
from common.logs import LogFormat, levels_of

if TYPE_CHECKING:
    from common.kubeedgeconfig import Translated

MAX_PORT: Final = 65535

_ABOUT: Final = "option"

ClassT = TypeVar("ClassT")


@dataclass(frozen=True, slots=True)
class Between:
    """In ``Annotated``: the smallest and the largest value of a number, or length of the others."""

    least: float
    most: float | None = None


@dataclass(frozen=True, slots=True)
class FromText:
    """In ``Annotated``: how an option is read where it is one text, as flags and variables are."""

    read: Callable[[str], object]
    """Raises ValueError, with words for whoever wrote the text."""


@dataclass(frozen=True, slots=True)
class Check:
    """In ``Annotated``: what a value must pass beside being of its type and within its bounds."""

    judge: Callable[[Any], object]
    """Raises ValueError, with words for whoever chose the value."""


@dataclass(frozen=True, slots=True)
class Option:
    """What is known of one option."""

    name: str
    type: Any
    """As annotated: bounds, ``FromText`` and ``Check`` are in it."""
    help: str
    is_secret: bool
    is_required: bool
    default: object
    """None where there is none."""
    is_worked_out: bool = False
    """Whether the default is another one elsewhere."""


def option(
    *,
    help: str,  # noqa: A002 - what it is
    default: Any = MISSING,
    default_factory: Any = MISSING,
    is_secret: bool = False,
) -> Any:
    """Return a field of a ``configuration`` that can be told; it must be, if it has no default.

    Args:
        help: what it is for, to whoever reads ``--help``.
        default: its value unless told.
        default_factory: makes that value each time.
        is_secret: whether its value is shown nowhere.
    """
    made: Field[Any] = field(
        default=default,
        default_factory=default_factory,
        repr=not is_secret,
        metadata={_ABOUT: (help, is_secret)},
    )
    return made


@dataclass_transform(
    frozen_default=True, kw_only_default=True, field_specifiers=(option, field, Field)
)
def configuration(made: type[ClassT]) -> type[ClassT]:
    """Make of a class a frozen dataclass whose fields are given by name.

    What its fields must be together, its ``__post_init__`` judges, by ValueError.
    """
    return dataclass(frozen=True, kw_only=True)(made)


Port = Annotated[int, Between(1, MAX_PORT)]


@configuration
class Settings:
    """Base of a configuration."""

    notes: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """What whoever wrote the configuration should know, though it can be used."""

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return what can be told, by name, in the order in which it is written down."""
        types = get_type_hints(cls, include_extras=True)
        return {
            one.name: _option(one, types[one.name]) for one in fields(cls) if _ABOUT in one.metadata
        }

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> "Translated":
        """Return what a file of KubeEdge says, as options of this configuration."""
        # Not at the top: few have such a file.
        from common.kubeedgeconfig import Translated  # noqa: PLC0415

        fault = f"apiVersion: this command reads no file of {document['apiVersion']}"
        return Translated({}, {}, (), (fault,))


def _option(one: Field[Any], annotated: Any) -> Option:
    about, is_secret = one.metadata[_ABOUT]
    default = one.default if one.default_factory is MISSING else one.default_factory()
    is_required = default is MISSING
    return Option(
        one.name,
        annotated,
        about,
        is_secret,
        is_required,
        None if is_required else default,
        is_worked_out=one.default_factory is not MISSING,
    )


def flag_name(name: str) -> str:
    """Return the command line's name of an option."""
    return f"--{name.replace('_', '-')}"


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"expected HOST:PORT, for example 127.0.0.1:9091, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def with_commas(text: str) -> tuple[str, ...]:
    """Return what stands between the commas of ``text``, without what is empty."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


Texts = Annotated[tuple[str, ...], FromText(with_commas)]

AddressOrNone = Annotated[str, Check(lambda value: value and split_address(value))]


@configuration
class DaemonSettings(Settings):
    """What both daemons can be told."""

    log_level: Annotated[str, Check(levels_of)] = option(
        default="info",
        help="Log what is at least this important: debug, info, warning or error; of one logger"
        " another: info,cloudcore.cloudhub=debug.",
    )
    log_format: LogFormat = option(default=LogFormat.TEXT, help="How log lines look: text or json.")
    grace_s: Annotated[float, Between(0, 600)] = option(
        default=10.0,
        help="Seconds that a stop may take to finish what was accepted; the rest is cut.",
    )
    monitor_address: AddressOrNone = option(
        default="",
        help="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    capabilities: Annotated[frozenset[Capability], FromText(choose)] = option(
        default=ALL,
        help="Words of the protocol to agree on with the other side, with commas between, or none;"
        " for troubleshooting, and for tests of different versions.",
    )

    def monitor_endpoint(self) -> tuple[str, int] | None:
        """Return where the daemon tells how it does; None for nowhere."""
        return split_address(self.monitor_address) if self.monitor_address else None
