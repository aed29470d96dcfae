"""Something-Something's templates: a sentence with a slot for each thing, as in "Moving [something] clockwise"."""

SLOT = "[something]"


def class_name(template: str) -> str:
    """The key in labels.json: the template without brackets."""
    return template.replace("[", "").replace("]", "")


def slots(template: str) -> int:
    """How many things take part."""
    return template.lower().count(SLOT)


def fill(template: str, placeholders: list[str]) -> str:
    """The label: things' names in their slots, in lower case as Something-Something has it."""
    text = template.lower()
    for name in placeholders:
        text = text.replace(SLOT, name, 1)
    return text
