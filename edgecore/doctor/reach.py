"""Judge the way to the cloud: names, ports, certificates, large packets, clocks. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct, field

from common.checks import Finding, Verdict
from common.errors import CertificateError
from edgecore.edgehub.certificates import fault_of_cloud, how_far_off, validity

_CLOSE: Final = timedelta(minutes=1)
_MTU: Final = (
    "make the MTU of the outgoing interface smaller (ip link set dev IFACE mtu 1400, or less inside"
    " a tunnel), or have the router clamp TCP's MSS to the path's MTU"
)
_FIREWALL: Final = "see that cloudcore runs and listens there, and that no firewall is in between"


class Port(Struct, frozen=True):
    """One port of the cloud."""

    option: str
    """Which option names it."""
    number: int
    error: str = ""
    """Why no TCP connection could be made; "" where one was."""


class Shown(Struct, frozen=True):
    """What the cloud shows of itself by TLS."""

    error: str = ""
    """Why there was no handshake."""
    hosts: tuple[str, ...] = ()
    """For whom its certificate is."""
    is_named: bool = False
    """Whether the address that is used is among them."""
    is_trusted: bool | None = None
    """Whether an authority that is trusted here has signed it; None where none is trusted yet."""
    der: bytes = b""
    """The certificate."""


class Exchanges(Struct, frozen=True):
    """What came of asking the enrolment endpoint twice, shortly and at length."""

    small: str = ""
    """Why no answer came to a small request; "" where one did."""
    large: str = ""
    """The same, to one of more than one packet."""
    date: datetime | None = None
    """What the cloud says the time is."""


class Reach(Struct, frozen=True):
    """All of it."""

    cloud: str
    """The address that is used."""
    now: datetime
    """This machine's time."""
    known: datetime | None
    """The last time that the cloud has told before."""
    addresses: tuple[str, ...] = ()
    name_error: str = ""
    ports: tuple[Port, ...] = ()
    shown: Shown | None = None
    exchanges: Exchanges | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)
    """Variables of the environment that name proxies, without passwords."""


def judge(reach: Reach) -> Iterator[Finding]:
    """Yield what is to be said of the way to the cloud, nearest first."""
    yield _name(reach)
    yield from (_port(reach, port) for port in reach.ports)
    if reach.shown is not None:
        yield from _shown(reach, reach.shown)
    if reach.exchanges is not None:
        yield _packets(reach.exchanges)
    yield from _clock(reach)
    if reach.proxies:
        yield _proxies(reach)


def _name(reach: Reach) -> Finding:
    if reach.name_error:
        return Finding(
            "name of the cloud",
            Verdict.FAIL,
            f"{reach.cloud} is not resolved: {reach.name_error}",
            "mend --cloud, or the name servers in /etc/resolv.conf; an entry in /etc/hosts will do",
        )
    found = f"{reach.cloud} is {', '.join(reach.addresses)}"
    return Finding("name of the cloud", Verdict.OK, found)


def _port(reach: Reach, port: Port) -> Finding:
    name = f"port {port.number}"
    if not port.error:
        return Finding(name, Verdict.OK, f"{reach.cloud} accepts connections")
    found = f"no connection to {reach.cloud}: {port.error}"
    return Finding(name, Verdict.FAIL, found, f"{_FIREWALL}; {port.option} names the port")


def _shown(reach: Reach, shown: Shown) -> Iterator[Finding]:
    if shown.error:
        fix = (
            "see that the port is cloudcore's, and that nothing in between ends TLS. Where there is"
            f" no answer, large packets may get lost: {_MTU}"
        )
        yield Finding("TLS", Verdict.FAIL, shown.error, fix)
        return
    if shown.is_named:
        found = f"the cloud's certificate is valid for {reach.cloud}"
        yield Finding("name in the certificate", Verdict.OK, found)
    else:
        hosts = ", ".join(shown.hosts) or "nobody"
        yield Finding(
            "name in the certificate",
            Verdict.FAIL,
            f"the cloud's certificate is not valid for {reach.cloud}, but for {hosts}",
            f"start cloudcore with --advertise-address {reach.cloud} as well, or reach it by one of"
            " the names above (--cloud)",
        )
    if shown.is_trusted is False:
        yield Finding(
            "authority of the cloud",
            Verdict.FAIL,
            "the cloud's certificate is by an authority that is not trusted here: another cluster,"
            " an authority that was replaced while this edge was away, or somebody in between",
            "if the cloud is the right one, join anew: cloudcore token create --node-name …",
        )
    elif shown.is_trusted:
        found = "an authority that is trusted here has signed the cloud's certificate"
        yield Finding("authority of the cloud", Verdict.OK, found)
    yield _dates(reach, shown.der)


def _dates(reach: Reach, der: bytes) -> Finding:
    name = "dates of the cloud's certificate"
    try:
        fault = fault_of_cloud(der, reach.known, reach.now)
        until = f"{validity(der).not_after:%Y-%m-%d}"
    except CertificateError as error:
        return Finding(name, Verdict.FAIL, str(error), _FIREWALL)
    if fault:
        return Finding(name, Verdict.FAIL, fault, "see why cloudcore has not renewed it: its log")
    return Finding(name, Verdict.OK, f"good until {until}")


def _packets(exchanges: Exchanges) -> Finding:
    name = "large packets"
    if exchanges.small:
        found = f"the enrolment endpoint does not answer: {exchanges.small}"
        return Finding("enrolment endpoint", Verdict.FAIL, found, _FIREWALL)
    if exchanges.large:
        return Finding(
            name,
            Verdict.WARN,
            "a small request is answered, one of several packets is not"
            f" ({exchanges.large}): something on the way swallows large packets",
            _MTU,
        )
    return Finding(name, Verdict.OK, "a request of several packets is answered")


def _clock(reach: Reach) -> Iterator[Finding]:
    fix = "edgecore goes by the cloud's time; pods do not: start a time service (timedatectl)"
    date = reach.exchanges.date if reach.exchanges else None
    if date is not None:
        off = how_far_off(reach.now, date)
        if off:
            yield Finding("clock", Verdict.WARN, f"{off}, by the cloud's", fix)
            return
        seconds = abs(reach.now - date).total_seconds()
        about = "less than a minute" if seconds < _CLOSE.total_seconds() else f"{seconds:.0f} s"
        yield Finding("clock", Verdict.OK, f"{about} from the cloud's")
    elif reach.known is not None and reach.now < reach.known:
        off = how_far_off(reach.now, reach.known)
        if off:
            yield Finding(
                "clock", Verdict.WARN, f"{off}, by the time that the cloud has told last", fix
            )


def _proxies(reach: Reach) -> Finding:
    names = ", ".join(f"{name}={value}" for name, value in sorted(reach.proxies.items()))
    is_cut = any(port.error for port in reach.ports)
    return Finding(
        "proxies",
        Verdict.WARN if is_cut else Verdict.OK,
        f"{names}: edgecore does not use them; it connects to the cloud itself",
        "allow direct connections to the cloud's two ports" if is_cut else "",
    )
