"""Fill a configuration from a file, the environment and flags, and judge what stands there.

What there is to tell stands in ``common.settings`` and the classes made of it. A file with an
``apiVersion`` is one of KubeEdge's, and is translated.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from msgspec import Struct

from common.errors import ConfigError
from common.judging import judge
from common.settings import Option, Settings, flag_name

if TYPE_CHECKING:
    from common.kubeedgeconfig import Translated

MAX_FILE_BYTES: Final = 1024 * 1024
"""A configuration file larger than this is not one."""

_WHAT_TAGS_RAISE: Final = (ValueError, AttributeError, LookupError, TypeError, OverflowError)
"""The library believes ``!!timestamp x`` and ``2026-99-99``, and then it fails."""

SettingsT = TypeVar("SettingsT", bound=Settings)


class Sources(Struct, frozen=True):
    """Where a configuration is read."""

    env_prefix: str
    """``CLOUDCORE_`` or ``EDGECORE_``."""
    file: Path | None
    """YAML file, or None."""
    environ: Mapping[str, str]
    """The environment; names with the prefix that are no option are faults, as in the file."""
    flags: Mapping[str, object]
    """By name of the option; None where the flag was not given."""


class Loaded(Struct, Generic[SettingsT], frozen=True):
    """A configuration, and where it comes from."""

    settings: SettingsT
    origins: Mapping[str, str]
    """For each option that was told, where; what is not in it has its default."""


class _Reading:
    """Values by option, each with where it stands, and what is wrong with them."""

    def __init__(self, options: Mapping[str, Option]) -> None:
        self.values: dict[str, object] = {}
        self.origins: dict[str, str] = {}
        self.faults: list[str] = []
        self._options = options

    def take(self, source: Mapping[str, object], describe: Callable[[str], str]) -> None:
        """Take what ``source`` has, over what was taken before."""
        for name, value in source.items():
            if name not in self._options:
                closest = _suggestion(name, self._options)
                self.faults.append(f"{describe(name)}: unknown option{closest}")
                continue
            self.values[name] = value
            self.origins[name] = describe(name)


def load(model: type[SettingsT], sources: Sources) -> Loaded[SettingsT]:
    """Return the configuration; a flag wins over the environment, which wins over the file.

    Raises:
        ConfigError: all that is wrong, one fault a line, each with where it stands and, for an
            unknown name, the closest known one.
    """
    options = model.options()
    reading = _Reading(options)
    file, prefix = sources.file, sources.env_prefix
    notes: list[str] = []
    origins: Mapping[str, str] = {}
    document = read_document(file) if file else {}
    if "apiVersion" in document:
        translated = model.translate(document)
        document, origins = translated.options, translated.origins
        reading.faults += [f"{file}: {fault}" for fault in translated.faults]
        if not translated.options:  # another kind of file
            raise ConfigError(reading.faults)
        notes += _unused(file, translated)
    reading.take(document, lambda name: f"{file}: {origins.get(name, name)}")
    reading.take(
        _from_environ(sources.environ, prefix),
        lambda name: f"environment: {prefix}{name.upper()}",
    )
    told = {name: value for name, value in sources.flags.items() if value is not None}
    reading.take(told, flag_name)
    values = _judged(options, reading)
    try:
        settings = model(**values, notes=tuple(notes))
    except ValueError as error:  # what they must be together
        raise ConfigError([f"configuration: {error}"]) from error
    return Loaded(settings, reading.origins)


def _judged(options: Mapping[str, Option], reading: _Reading) -> dict[str, Any]:
    judged: dict[str, Any] = {}
    for name, one in options.items():
        if name not in reading.values:
            if one.is_required:
                reading.faults.append(f"{flag_name(name)}: must be given: {one.help}")
            continue
        try:
            judged[name] = judge(one, reading.values[name])
        except ValueError as error:
            reading.faults.append(f"{reading.origins[name]}: {error}")
    if reading.faults:
        raise ConfigError(reading.faults)
    return judged


def _unused(file: Path | None, translated: "Translated") -> list[str]:
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
    # Not at the top: many commands have no such file, and it takes 20 ms.
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


def _suggestion(name: str, options: Mapping[str, Option]) -> str:
    import difflib  # noqa: PLC0415 - for those who mistyped only

    close = difflib.get_close_matches(name, options, n=1)
    return f"; did you mean {close[0].replace('_', '-')}?" if close else ""
