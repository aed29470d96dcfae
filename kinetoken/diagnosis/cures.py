"""stub"""
import dataclasses

DEFAULT_LIBRARY = "pytorch"
@dataclasses.dataclass(frozen=True)
class Cure:
    text: str
    example: str = ""
    sources: tuple[str, ...] = ()
def cure(name: str, library: str = DEFAULT_LIBRARY) -> Cure:
    return Cure(f"Mend {name} in {library}.")
def require_library(name: str) -> None: ...
