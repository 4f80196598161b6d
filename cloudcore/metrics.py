"""Counters of cloudcore: those of messages, and those of its nodes."""

from typing import Final

from common.metrics import (
    About,
    Level,
    LevelByLabel,
    MessageMetrics,
    Reading,
    Registry,
    Spread,
    Tally,
    TallyByLabel,
)

LEASE_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

ACK_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class CloudMetrics(MessageMetrics):
    """One instance a daemon.

    Promise P8 as a law: what was offered is acknowledged, superseded, dropped with the reason
    ``disconnected``, or still held.
    """

    def __init__(self, registry: Registry) -> None:
        """Show the metrics in ``registry``."""
        super().__init__(registry, "cloudcore")
        self.offered = Tally(
            "cloudcore_messages_offered",
            "States of objects that were put into the outbox of a connected node.",
            registry,
        )
        self.resent = Tally(
            "cloudcore_messages_resent",
            "States of objects that were sent again, for want of an acknowledgement.",
            registry,
        )
        self.ack_seconds = Spread(
            "cloudcore_ack_seconds",
            "Time from sending the state of an object until the node has made it durable.",
            ACK_BUCKETS_S,
            registry,
        )
        self.connects = TallyByLabel(
            "cloudcore_connects",
            "Connections of nodes that were accepted, by protocol.",
            "protocol",
            registry,
        )
        self.disconnects = TallyByLabel(
            "cloudcore_disconnects",
            "Connections of nodes that ended, by why: lost where nobody has closed it.",
            "reason",
            registry,
        )
        self.resyncs = TallyByLabel(
            "cloudcore_resyncs",
            "Nodes that were compared or sent everything, by what was done.",
            "kind",
            registry,
        )
        self.resync_deletions = Tally(
            "cloudcore_resync_deletions",
            "Objects that a comparison has taken from a node, since the API server has them no"
            " more.",
            registry,
        )
        self.certificate_expiry = Reading(
            About(
                "cloudcore_certificate_expiry_timestamp_seconds",
                "Until when a certificate of cloudcore is good, since the epoch: its server's and"
                " that of the authority that signs.",
                "gauge",
                ("certificate",),
            ),
            registry,
        )
        self.mailboxes = Reading(
            About(
                "cloudcore_mailbox_messages",
                "Messages that wait for a module to take them.",
                "gauge",
                ("module",),
            ),
            registry,
        )
        self.node_day_bytes = LevelByLabel(
            "cloudcore_node_day_bytes",
            "Bytes that a node and cloudcore exchange in a day, at the pace of the last whole hour,"
            " by quantile over the nodes; what TLS and TCP add is not counted.",
            "quantile",
            registry,
        )
        self.lease_writes = TallyByLabel(
            "cloudcore_lease_writes",
            "Attempts to write the lease of a connected node, by outcome.",
            "outcome",
            registry,
        )
        self.lease_seconds = Spread(
            "cloudcore_lease_seconds",
            "Time from a node's beat until its lease was renewed.",
            LEASE_BUCKETS_S,
            registry,
        )
        self.autonomy_writes = TallyByLabel(
            "cloudcore_autonomy_writes",
            "Attempts to have a pod stay on its node as long as an annotation says, by outcome.",
            "outcome",
            registry,
        )
        self.autonomy_faults = Level(
            "cloudcore_autonomy_faults",
            "Nodes and pods whose annotation cloudedge.io/autonomy cannot be used.",
            registry,
        )
        self.divergence = Tally(
            "cloudcore_divergence",
            "Nodes in step by all that is known, whose digest said otherwise.",
            registry,
        )
        self.held_resyncs = Level(
            "cloudcore_resyncs_held",
            "Nodes on which a comparison would delete so much that it waits to be released.",
            registry,
        )
        self.certificates_issued = TallyByLabel(
            "cloudcore_certificates_issued",
            "Certificates that nodes got, by what they have shown for them: a token, a certificate"
            " in TLS, or a proof of one that may have expired.",
            "by",
            registry,
        )
        self.revoked_nodes = Level(
            "cloudcore_revoked_nodes",
            "Nodes whose certificates were revoked and that have got no other since.",
            registry,
        )
        self.plain_token_enrolments = Tally(
            "cloudcore_plain_token_enrolments",
            "Enrolments by a token without a record, which can be neither revoked nor counted.",
            registry,
        )
