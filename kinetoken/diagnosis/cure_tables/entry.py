"""One row of a table of cures."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cure:
    """What to do about a finding, in the words of one library.

    text: one or two sentences, with that library's own argument names in backticks.
    example: a few lines of Python, or shell commands that begin with `dvc`; empty where the text says it all.
    sources: where it is said: `arXiv:` and a number; an issue or pull request of a repository; a page of a project's
    documentation; a file of a repository.
    """

    text: str
    example: str = ""
    sources: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """Of the example: `sh`, `python`, or empty where there is none."""
        if not self.example:
            return ""
        return "sh" if self.example.startswith("dvc ") else "python"


Cures = dict[str, Cure]  # by the finding's name
