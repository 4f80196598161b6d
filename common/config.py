"""Configuration of the daemons: one model each, filled from a file, the environment and flags.

A model derived from ``Settings`` is the single place where an option is named, typed, bounded,
defaulted and described. From it come the command line's flags (``--websocket-port``), the
environment's names (``CLOUDCORE_WEBSOCKET_PORT``) and the keys of the YAML file (``websocket_port``
or ``websocket-port``). A file with an ``apiVersion`` is one of KubeEdge's, and is translated.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import typer
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from common.capabilities import ALL, Capability, choose
from common.errors import ConfigError
from common.kubeedgeconfig import Translated
from common.logs import LogFormat

MAX_FILE_BYTES: Final = 1024 * 1024
"""A configuration file larger than this is not one."""

MAX_PORT: Final = 65535

_WHAT_TAGS_RAISE: Final = (ValueError, AttributeError, LookupError, TypeError, OverflowError)
"""The library believes ``!!timestamp x`` and ``2026-99-99``, and then it fails."""

ModelT = TypeVar("ModelT", bound="Settings")

_Source = tuple[Mapping[str, object], Callable[[str], str]]
"""Values by option, and what says where one of them stands."""


class Settings(BaseModel):
    """Base of a daemon's configuration. Every field has a description, which is its help text."""

    # A validator is built when it is first needed: of the models of all commands, one is.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    _notes: tuple[str, ...] = PrivateAttr(default=())

    def model_post_init(self, context: Any, /) -> None:
        """Keep what ``load`` has to say of the file."""
        self._notes = tuple(context or ())

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever wrote the configuration should know, though it can be used."""
        return self._notes

    @classmethod
    def translate(cls, document: Mapping[str, object]) -> Translated:
        """Return what a file of KubeEdge says, as options of this model."""
        fault = f"apiVersion: this command reads no file of {document['apiVersion']}"
        return Translated({}, {}, (), (fault,))


class DaemonSettings(Settings):
    """What both daemons can be told."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Log what is at least this important: debug, info, warning or error."
    )
    log_format: LogFormat = Field(LogFormat.TEXT, description="How log lines look: text or json.")
    grace_s: float = Field(
        10.0,
        ge=0,
        le=600,
        description="Seconds that a stop may take to finish what was accepted; the rest is cut.",
    )
    monitor_address: str = Field(
        "",
        description="HOST:PORT of /livez, /readyz and /metrics over HTTP; empty for none.",
    )
    capabilities: frozenset[Capability] = Field(
        ALL,
        description="Words of the protocol to agree on with the other side, with commas between, or"
        " none; for troubleshooting, and for tests of different versions.",
    )

    def monitor_endpoint(self) -> tuple[str, int] | None:
        """Return where the daemon tells how it does; None for nowhere."""
        return split_address(self.monitor_address) if self.monitor_address else None

    @field_validator("capabilities", mode="before")
    @classmethod
    def _to_capabilities(cls, value: object) -> object:
        return choose(value) if isinstance(value, str) else value

    @field_validator("monitor_address")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value:
            split_address(value)
        return value


def split_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 address stands in brackets.

    Raises:
        ValueError: it is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > MAX_PORT:
        raise ValueError(f"expected HOST:PORT, for example 127.0.0.1:9091, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def load(
    model: type[ModelT],
    *,
    env_prefix: str,
    file: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
) -> ModelT:
    """Return the configuration; a flag wins over the environment, which wins over the file.

    Args:
        model: what to fill.
        env_prefix: ``CLOUDCORE_`` or ``EDGECORE_``.
        file: YAML file, or None.
        environ: the environment; names with the prefix that are no option are faults, as in the
            file.
        flags: by field name; None where the flag was not given.

    Raises:
        ConfigError: all that is wrong, one fault a line, each with where it stands and, for an
            unknown name, the closest known one.
    """
    origin: dict[str, str] = {}
    values: dict[str, object] = {}
    faults: list[str] = []
    notes: list[str] = []
    origins: Mapping[str, str] = {}
    document = read_document(file) if file else {}
    if "apiVersion" in document:
        translated = model.translate(document)
        document, origins = translated.options, translated.origins
        faults += [f"{file}: {fault}" for fault in translated.faults]
        if not translated.options:  # another kind of file
            raise ConfigError(faults)
        notes += _unused(file, translated)
    sources: tuple[_Source, ...] = (
        (document, lambda name: f"{file}: {origins.get(name, name)}"),
        (
            _from_environ(environ, env_prefix),
            lambda name: f"environment: {env_prefix}{name.upper()}",
        ),
        ({name: value for name, value in flags.items() if value is not None}, flag_name),
    )
    for source, describe in sources:
        for name, value in source.items():
            if name not in model.model_fields:
                faults.append(f"{describe(name)}: unknown option{_suggestion(name, model)}")
                continue
            values[name] = value
            origin[name] = describe(name)
    try:
        settings = model.model_validate(values, context=notes)
    except ValidationError as error:
        faults += [_fault(item, origin, model) for item in error.errors(include_url=False)]
        raise ConfigError(faults) from error
    if faults:
        raise ConfigError(faults)
    return settings


def flag_name(field: str) -> str:
    """Return the command line's name of a field."""
    return f"--{field.replace('_', '-')}"


def as_command(
    model: type[Settings], run: Callable[..., None], *, env_prefix: str
) -> Callable[..., None]:
    """Return ``run`` as a typer command that has a flag for each field of ``model``.

    ``run`` is called with the loaded configuration. Flags have no defaults of their own, so that
    what was not given is known; the help shows the model's.

    Args:
        model: the configuration.
        run: what the command does.
        env_prefix: see ``load``.
    """

    def read_once(read: Callable[[], Settings]) -> None:
        run(read())

    read_once.__doc__ = run.__doc__
    return as_rereading_command(model, read_once, env_prefix=env_prefix)


def as_rereading_command(
    model: type[ModelT], run: Callable[[Callable[[], ModelT]], None], *, env_prefix: str
) -> Callable[..., None]:
    """Return ``run`` as ``as_command`` does, for a command that reads its configuration again.

    ``run`` is called with what reads the configuration, and does so each time it is called: file
    and environment as they are then, and the flags of this command, which still win over both.
    """

    def command(config: Path | None = None, **flags: object) -> None:
        def read() -> ModelT:
            return load(model, env_prefix=env_prefix, file=config, environ=os.environ, flags=flags)

        run(read)

    parameters = [
        inspect.Parameter(
            "config",
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    help="YAML file with the same options, or KubeEdge's; environment and flags win"
                    " over it."
                ),
            ],
        ),
        *(_parameter(name, field, env_prefix) for name, field in model.model_fields.items()),
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # what typer reads
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = run.__doc__
    return command


def _parameter(name: str, field: FieldInfo, env_prefix: str) -> inspect.Parameter:
    default = (
        ""
        if field.is_required()
        else f" (default: {_shown(field.get_default(call_default_factory=True))})"
    )
    help_text = f"{field.description}{default} (env: {env_prefix}{name.upper()})"
    # Text is passed on as it is: the model is the one that judges values, wherever they come from.
    kind: Any = bool | None if field.annotation is bool else str | None
    option = typer.Option(help=help_text, show_default=False)
    if field.annotation is not bool:
        option.metavar = _metavar(field)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
    )


def _shown(value: object) -> str:
    if isinstance(value, frozenset):
        value = sorted(value)
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _metavar(field: FieldInfo) -> str:
    annotation = field.annotation
    return annotation.__name__.upper() if isinstance(annotation, type) else "VALUE"


def _unused(file: Path | None, translated: Translated) -> list[str]:
    if not translated.unused:
        return []
    return [f"{file}: these settings of KubeEdge have no effect: {', '.join(translated.unused)}"]


def read_document(path: Path) -> Mapping[str, object]:
    """Return what the YAML file ``path`` says, by the names of options.

    Raises:
        ConfigError: it cannot be read, or is no mapping.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError([f"{path}: larger than {MAX_FILE_BYTES} bytes"])
    # Not at the top: a daemon without such a file does without this MiB.
    import yaml  # noqa: PLC0415

    try:
        document = yaml.safe_load(text)
    except RecursionError as error:
        raise ConfigError([f"{path}: not YAML: nested too deep"]) from error
    except (yaml.YAMLError, *_WHAT_TAGS_RAISE) as error:
        raise ConfigError([f"{path}: not YAML: {error}"]) from error
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise ConfigError([f"{path}: expected a mapping of options"])
    return {key.replace("-", "_"): value for key, value in document.items()}


def _from_environ(environ: Mapping[str, str], prefix: str) -> dict[str, object]:
    return {
        name.removeprefix(prefix).lower(): value
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }


def _suggestion(name: str, model: type[Settings]) -> str:
    import difflib  # noqa: PLC0415 - for those who mistyped only

    close = difflib.get_close_matches(name, model.model_fields, n=1)
    return f"; did you mean {close[0].replace('_', '-')}?" if close else ""


def _fault(item: ErrorDetails, origin: Mapping[str, str], model: type[Settings]) -> str:
    name = str(item["loc"][0]) if item["loc"] else ""
    if item["type"] == "missing":
        return f"{flag_name(name)}: must be given: {model.model_fields[name].description}"
    what = item["msg"].removeprefix("Value error, ")  # said by a validator, in its own words
    return f"{origin.get(name, name) or 'configuration'}: {what}"
