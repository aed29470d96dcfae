"""The body of a reply, from a server that nobody vouches for, read within limits.

Secrets are struck out of it before (`redaction`). Nothing from a reply is run, shown or written before it passed
`clean_text`.
"""

import dataclasses
import json
import math
import re
import unicodedata
from typing import Any, NoReturn

from kinetoken.llm.outcomes import Outcome
from kinetoken.llm.redaction import WITHHELD, WITHHELD_BODY

MAX_BYTES = 1_000_000  # of a body; an answer of 10,000 tokens takes 50,000
MAX_CONTENT = 20_000  # characters of what the model wrote
MAX_DETAIL = 300  # characters of a refusal or a server's complaint that are kept for people
MAX_NAME = 100  # characters of a model's name
MAX_TOKENS = 10**9  # a larger count is no count
TEXT_PARTS = ("text", "output_text")  # of content in parts; others hold thoughts, pictures or sound
CUT_MARK = " […]"


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back for one row; `content` is what the model wrote, as it wrote it, if it did."""

    outcome: Outcome
    content: str = ""
    detail: str = ""  # for people: the refusal, or what is wrong; clean
    model: str | None = None  # that answered, by its own word
    tokens: tuple[int, int] | None = None  # of prompt and completion, by the server's word


def read_reply(raw: bytes) -> Reply:
    """Sort the body of a reply that came with status 200; never raises."""
    if len(raw) > MAX_BYTES:
        return Reply(Outcome.TOO_LONG, detail=f"more than {MAX_BYTES} bytes")
    if raw == WITHHELD_BODY:
        return Reply(Outcome.WITHHELD, detail=WITHHELD)
    try:
        body = parse_json(raw.decode("utf-8"))
    except ValueError as error:
        return Reply(Outcome.NOT_JSON, detail=f"the body is no JSON: {clean_text(str(error), MAX_DETAIL)}")
    if not isinstance(body, dict):
        return Reply(Outcome.NO_CHOICES, detail=f"the body is a {type(body).__name__}")
    named = body.get("model")
    model = clean_text(named, MAX_NAME) or None if isinstance(named, str) else None
    return dataclasses.replace(_read_choice(body), model=model, tokens=_tokens(body.get("usage")))


def parse_json(text: str) -> Any:  # noqa: ANN401 - JSON holds anything
    """JSON without NaN or infinity; ValueError for anything else, nesting too deep for the parser included."""
    try:
        return json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deep") from None


def clean_text(text: str, limit: int) -> str:
    """One line without control, bidirectional, invisible or unpaired characters, of at most `limit` characters."""
    kept = "".join(_plain(character) for character in text[: 4 * limit])
    line = " ".join(kept.split())
    if len(line) <= limit and len(text) <= 4 * limit:
        return line
    return line[: limit - len(CUT_MARK)].rstrip() + CUT_MARK


def _plain(character: str) -> str:
    kind = unicodedata.category(character)
    if kind.startswith("Z") or character in "\t\n\r":
        return " "
    return "" if kind.startswith("C") else character


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _finite(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise ValueError(f"{clean_text(written, MAX_NAME)} is too large")
    return value


def _read_choice(body: dict[str, Any]) -> Reply:
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        return Reply(Outcome.NO_CHOICES, detail=complaint(body) or "no choices in the body")
    refusal, content, reason = message.get("refusal"), message.get("content"), choice.get("finish_reason")
    if isinstance(refusal, str) and refusal:
        return Reply(Outcome.REFUSED, detail=clean_text(refusal, MAX_DETAIL))
    if reason == "content_filter":
        return Reply(Outcome.FILTERED, detail="held back by the server's content filter")
    if reason == "length":
        return Reply(Outcome.TRUNCATED, detail="max_tokens was reached before the answer ended")
    content = _written(content)
    if not content:
        return Reply(Outcome.MALFORMED, detail="an empty answer")
    if len(content) > MAX_CONTENT:
        return Reply(Outcome.TOO_LONG, detail=f"{len(content)} characters")
    return Reply(Outcome.ANSWERED, content)


THOUGHTS = re.compile(r"\s*<(think|thinking|thought|reasoning)>.*?</\1>\s*", re.DOTALL)
END_OF_THOUGHTS = re.compile(r"[^{]*?</(?:think|thinking|thought|reasoning)>\s*")  # where their begin was the prompt's
FENCE = "```"


def _written(content: object) -> str:
    """What the model wrote, of text or of a list of parts, without the thoughts before it."""
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict) and part.get("type") in TEXT_PARTS]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        return ""
    thoughts = THOUGHTS.match(content) or END_OF_THOUGHTS.match(content)
    return content[thoughts.end() :] if thoughts else content


def parse_answer(content: str) -> Any:  # noqa: ANN401 - JSON holds anything
    """The JSON that a model wrote, in a fence of Markdown or not. ValueError as `parse_json`."""
    return parse_json(_unfenced(content))


def _unfenced(text: str) -> str:
    """What stands in a fence, if all of the text does; else the text."""
    inner = text.strip()
    if len(inner) <= 2 * len(FENCE) or not (inner.startswith(FENCE) and inner.endswith(FENCE)):
        return text
    language, end, rest = inner.removeprefix(FENCE).removesuffix(FENCE).partition("\n")
    return rest if end and FENCE not in rest and "{" not in language else text


def complaint(body: object) -> str:
    """The message in an error's body, clean; empty if there is none."""
    error = body.get("error", body) if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return clean_text(message, MAX_DETAIL) if isinstance(message, str) else ""


def _tokens(usage: object) -> tuple[int, int] | None:
    """Both counts, or None where they cannot be counts."""
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    good = [c for c in counts if isinstance(c, int) and not isinstance(c, bool) and 0 <= c <= MAX_TOKENS]
    return (good[0], good[1]) if len(good) == 2 else None
