"""Everything that synchro raises on purpose. Messages name the object and the way out."""


class SynchroError(Exception):
    """Base of all errors of synchro: catching it catches every one of them."""

    def __init__(self, reason: str = "", advice: str = "") -> None:
        """``reason``: what is wrong, with what. ``advice``: what holds now, and the way out."""
        super().__init__(f"{reason} {advice}".strip())
        self.reason = reason


class NaturalKeyError(SynchroError):
    """A natural key is declared wrongly, cannot be written as JSON, or finds several rows."""


class NodeError(SynchroError):
    """The two databases cannot be told apart, or one was restored, copied or half migrated."""


class CheckpointError(SynchroError, ValueError):
    """The stored checkpoint cannot be read, or lies in the future."""


class LockError(SynchroError):
    """Another run between the same two databases is going on."""


class PlanError(SynchroError):
    """A change cannot be planned: an unreadable log row, a dangling link, a forbidden model."""


class ReplayError(SynchroError):
    """REMOTE refused a change. REMOTE and the checkpoint are as they were before the run."""


class TriggerError(SynchroError):
    """Changes cannot be captured, or be left uncaptured, by triggers as asked for."""


class CancelledError(SynchroError):
    """Somebody has asked for the run to be given up. REMOTE is as it was before."""
