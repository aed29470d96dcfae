"""What a user sets for the cards: what no run can know."""

import re
from dataclasses import dataclass

LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
ORGANISATION = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")
ADDRESS = re.compile(r"https?://[^\s<>\"'`|\\()]+")
UNKNOWN = "unknown"  # the Hub's identifier where no licence was chosen


@dataclass(frozen=True)
class WriteCards:
    """Section write_cards."""

    licence: str  # an identifier of the Hub, such as apache-2.0 or cc-by-4.0; unknown: none was chosen
    authors: tuple[str, ...]
    organisation: str | None  # user or organisation on the Hub that the cards are published under
    repository: str | None  # address of the code that the models need

    def __post_init__(self) -> None:
        if not LICENCE.fullmatch(self.licence):
            raise ValueError(f"licence: must be an identifier such as apache-2.0 or unknown, is '{self.licence}'")
        if self.organisation is not None and not ORGANISATION.fullmatch(self.organisation):
            raise ValueError(f"organisation: must be a name on the Hugging Face Hub or null, is '{self.organisation}'")
        if self.repository is not None and not ADDRESS.fullmatch(self.repository):
            raise ValueError(f"repository: must be an address with https:// or null, is '{self.repository}'")
        for name in self.authors:
            if not name.strip() or not name.isprintable():
                raise ValueError(f"authors: must be names, one of them is {name!r}")

    def hub_name(self, what: str) -> str:
        """What a model or the dataset is called on the Hub."""
        name = f"kinetoken-{what.replace('_', '-')}"
        return name if self.organisation is None else f"{self.organisation}/{name}"

    @property
    def dataset(self) -> str:
        return self.hub_name("clips")
