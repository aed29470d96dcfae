"""What can become of one question to a language model: a word each, and what follows from it."""

import enum


class Outcome(enum.StrEnum):
    """The recorded outcome of an attempt, and of a row."""

    ANSWERED = "answered"

    # the model spoke, and that is that: paid for, recorded, never asked again
    REFUSED = "refused"
    TRUNCATED = "truncated"
    FILTERED = "filtered"
    MALFORMED = "malformed JSON"
    SCHEMA = "schema violated"
    EQUATION = "no equation"
    TOO_LONG = "too long"
    WITHHELD = "withheld"

    # nobody spoke: asked again up to the bound, then the row's outcome
    RATE_LIMITED = "rate limited"
    SERVER_ERROR = "server error"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    CUT = "cut off"
    NOT_JSON = "no JSON"
    NO_CHOICES = "no choices"

    # every further row would end the same way: the run stops
    WRONG_KEY = "wrong key"
    NOT_PERMITTED = "not permitted"
    UNKNOWN_MODEL = "unknown model"
    QUOTA = "quota exhausted"
    REJECTED = "request rejected"
    SPEND_CAP = "spend cap"

    @property
    def asks_again(self) -> bool:
        return self in ASKED_AGAIN

    @property
    def unfit(self) -> bool:
        """Whether the model spoke in another form than it was asked for, as where a server knows no such request."""
        return self in (Outcome.MALFORMED, Outcome.SCHEMA)

    @property
    def stops(self) -> bool:
        return self in STOPPING


ASKED_AGAIN = frozenset({
    Outcome.RATE_LIMITED, Outcome.SERVER_ERROR, Outcome.TIMED_OUT, Outcome.UNREACHABLE, Outcome.CUT, Outcome.NOT_JSON,
    Outcome.NO_CHOICES,
})
STOPPING = frozenset({
    Outcome.WRONG_KEY, Outcome.NOT_PERMITTED, Outcome.UNKNOWN_MODEL, Outcome.QUOTA, Outcome.REJECTED,
    Outcome.SPEND_CAP,
})
