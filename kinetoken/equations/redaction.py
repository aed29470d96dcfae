"""Secrets struck out of texts that come from outside, however they are written there.

A server may repeat the key that it was sent: as it is, escaped for JSON, URLs or HTML, with letters that look alike or
take up no room, or recoded. Every text of a server passes `Redaction` before anything reads it, from the network and
from the ledger, so that nothing that is stored, shown or written holds a secret, or LEAST consecutive letters and
digits of one. What a server enciphers, or hands out in shorter pieces, cannot be found.
"""

import base64
import codecs
import functools
import html
import json
import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

STRUCK_OUT = "[key]"
WITHHELD = "withheld: it held the key in a disguise that could not be taken out"
WITHHELD_BODY = json.dumps({"error": {"message": WITHHELD}}).encode()
SECRET_LENGTH = 8  # characters; a shorter key ("none", for a server that wants none) is no secret
LEAST = 12  # letters and digits of a secret that are struck out if they stand together, or all if it has fewer
FEW = 6  # letters and digits; where a secret has fewer, its other characters count too
DEPTH = 6  # escapes within escapes that are looked through
LONGEST_TRACED = 100_000  # characters; a longer text that holds a secret is withheld as a whole
SECRET_NAMES = ("key", "token", "secret", "sig", "pass", "auth", "code")  # in names of an address's query

Span = tuple[int, int]


# ---- what a secret looks like in other codes


def _inside(encode: Callable[[bytes], bytes], bits: int) -> Callable[[str], list[str]]:
    """Those characters, of `bits` each, that a secret gives wherever it begins within the text that is encoded."""
    def forms(secret: str) -> list[str]:
        plain, found = secret.encode(), []
        for before in range(bits if bits < 6 else 3):
            code = encode(b"\0" * before + plain).decode()
            found.append(code[-(-8 * before // bits) : 8 * (before + len(plain)) // bits])
        return found

    return forms


CODES: dict[str, tuple[Callable[[str], list[str]], int]] = {  # and how many characters of each LEAST letters take
    "as it is": (lambda secret: [secret], LEAST),
    "backwards": (lambda secret: [secret[::-1]], LEAST),
    "rot13": (lambda secret: [codecs.encode(secret, "rot13")], LEAST),
    "base64": (_inside(base64.b64encode, 6), 4 * LEAST // 3),
    "base32": (_inside(base64.b32encode, 5), 8 * LEAST // 5),
    "hexadecimal": (lambda secret: [secret.encode().hex()], 2 * LEAST),
    "decimal": (lambda secret: ["".join(str(byte) for byte in secret.encode())], 2 * LEAST),
}


# ---- escapes

def _bytes(run: str) -> str:
    return bytes.fromhex("".join(re.findall(r"(?:%|=|\\x|0x)(..)", run))).decode("utf-8", "replace")


def _units(run: str) -> str:
    """Units of UTF-16, for JSON writes what lies beyond 16 bits as two."""
    units = bytes.fromhex("".join(re.findall(r"(?:\\u|%u|U\+)(....)", run)))
    return units.decode("utf-16-be", "surrogatepass")


def _point(escape: str) -> str:
    code = int(escape.strip("\\uU{}"), 16)
    return chr(code) if code <= 0x10FFFF else ""


TWO, FOUR = "[0-9A-Fa-f]{2}", "[0-9A-Fa-f]{4}"
ESCAPES: dict[str, tuple[str, str, Callable[[str], str]]] = {  # first character, the others, what that stands for
    "percent": ("%", f"{TWO}(?:%{TWO})*", _bytes), "equals": ("=", f"{TWO}(?:={TWO})*", _bytes),
    "byte": ("\\", rf"x{TWO}(?:\\x{TWO})*", _bytes), "number": ("0", f"x{TWO}", _bytes),
    "unit": ("\\", rf"u{FOUR}(?:\\u{FOUR})*", _units), "percent_unit": ("%", f"u{FOUR}(?:%u{FOUR})*", _units),
    "code": ("U", rf"\+{FOUR}", _units), "braces": ("\\", r"u\{[0-9A-Fa-f]{1,6}\}", _point),
    "eight": ("\\", f"U{FOUR}{FOUR}", _point), "octal": ("\\", "[0-7]{1,3}", lambda found: chr(int(found[1:], 8))),
    "entity": ("&", "(?:#[0-9]{1,7};?|#[xX][0-9A-Fa-f]{1,6};?|[A-Za-z][0-9A-Za-z]{1,31};)", html.unescape),
    "other": ("\\", r"[\s\S]", lambda found: " " if found[1] in "bfnrt" else found[1]),
}
ESCAPE = re.compile("|".join(  # the first character outside of the group, by which re finds candidates far sooner
    f"{re.escape(first)}(?P<{name}>{others})" for name, (first, others, _) in ESCAPES.items()
))


def _unescaped(found: re.Match[str]) -> str:
    return ESCAPES[found.lastgroup or ""][2](found[0])


def _layers(text: str) -> Iterator[str]:
    """The text, and what is under its escapes, and under theirs."""
    for _ in range(DEPTH):
        yield text
        text, before = ESCAPE.sub(_unescaped, text), text
        if text == before:
            return


def _traced_layers(text: str) -> Iterator[tuple[str, list[Span]]]:
    """The same, with the place in the first text that each character comes from."""
    spans = [(place, place + 1) for place in range(len(text))]
    for layer in _layers(text):
        yield layer, spans
        traced: list[Span] = []
        end = 0
        for found in ESCAPE.finditer(layer):
            whole = (spans[found.start()][0], spans[found.end() - 1][1])
            traced += spans[end : found.start()] + [whole] * len(_unescaped(found))
            end = found.end()
        spans = traced + spans[end:]


# ---- letters, whatever they are drawn as

NO_LETTERS = bytes(range(256)).translate(None, (string.ascii_lowercase + string.digits).encode())
UNSEEN = bytes(range(33)) + b"\x7f"
ALIKE = dict(zip(
    "аеорсухіјѕһԁԛԝкмтвнАВЕКМНОРСТХІЈЅοαρνικυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧɡı",
    "aeopcyxijshdqwkmtbhABEKMHOPCTXIJSoapvikuxABEZHIKMNOPTYXgi", strict=True,
))


@functools.cache
def _plain_characters() -> dict[int, str]:
    """Code points that stand for ASCII and that Unicode's compatibility does not know as such."""
    plain = {ord(character): letter for character, letter in ALIKE.items()}
    for code in range(0x20, 0x7F):  # not shown at all: tags and variation selectors
        plain[0xE0000 + code] = plain[0xE0100 - 16 + code] = chr(code)
    digits = ((code, unicodedata.decimal(chr(code), None)) for code in range(0x80, 0x20000))
    return plain | {code: str(digit) for code, digit in digits if digit is not None}


def _letters(text: str, dropped: bytes = NO_LETTERS) -> bytes:
    """What is left of a text in ASCII, in lower case, without the characters `dropped`."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_plain_characters()))
    return text.casefold().encode("ascii", "ignore").translate(None, dropped)


# ---- finding them


class _Pieces:
    """Pieces of secrets, to be found in longer strings of letters; `forms`: letters, and how many make a piece."""

    def __init__(self, dropped: bytes, forms: Sequence[tuple[bytes, int]]) -> None:
        self.dropped = dropped  # characters that are no letters here
        self._of_length: dict[int, set[bytes]] = {}
        for letters, length in forms:
            self._of_length.setdefault(length, set()).update(_parts(letters, length))
        shortest = min(self._of_length)
        self._block = shortest // 2
        self._step = shortest - self._block + 1  # any piece holds a whole block that begins at a multiple of it
        self._blocks = {block for letters, _ in forms for block in _parts(letters, self._block)}

    def spans(self, letters: bytes) -> Iterator[Span]:
        """Where pieces are, one after another and overlapping."""
        starts, size = range(0, len(letters) - self._block + 1, self._step), self._block
        if self._blocks.isdisjoint([letters[at : at + size] for at in starts]):  # nearly always, and soon known
            return
        for length, pieces in self._of_length.items():
            for start in range(len(letters) - length + 1):
                if letters[start : start + length] in pieces:
                    yield start, start + length


def _parts(letters: bytes, length: int) -> Iterator[bytes]:
    return (letters[at : at + length] for at in range(len(letters) - length + 1))


class Redaction:
    """Strikes these secrets out of texts. One shorter than SECRET_LENGTH is none; without any it does nothing."""

    def __init__(self, *secrets: str) -> None:
        forms: dict[bytes, list[tuple[bytes, int]]] = {}
        for secret in secrets:
            if len(secret) >= SECRET_LENGTH:
                dropped = NO_LETTERS if len(_letters(secret)) >= FEW else UNSEEN
                forms.setdefault(dropped, []).extend(_forms(secret, dropped))
        self._kinds = [_Pieces(dropped, each) for dropped, each in forms.items()]

    def text(self, text: str) -> str:
        """The text with STRUCK_OUT for each secret; WITHHELD if that would not do, or would break its JSON."""
        if not self._holds(text):
            return text
        if len(text) > LONGEST_TRACED:
            return WITHHELD
        struck = _replaced(text, self._spans(text))
        return WITHHELD if self._holds(struck) or (_is_json(text) and not _is_json(struck)) else struck

    def body(self, raw: bytes) -> bytes:
        """The same of a reply's body; WITHHELD_BODY for what is withheld."""
        text = raw.decode("utf-8", "surrogateescape")
        struck = self.text(text)
        if struck == text:
            return raw
        return WITHHELD_BODY if struck == WITHHELD else struck.encode("utf-8", "surrogateescape")

    def address(self, address: str) -> str:
        """Scheme, host and path of a URL, to be stored and shown; parts of the path that look like a key struck out."""
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        shown = self.text(f"{host}{parts.path}")
        first, *path = shown.split("/")
        return "/".join((f"{parts.scheme}:", "", first, *(STRUCK_OUT if _like_a_key(part) else part for part in path)))

    def _holds(self, text: str) -> bool:
        layers = _layers(text) if self._kinds else iter(())
        return any(
            True for layer in layers for kind in self._kinds for _ in kind.spans(_letters(layer, kind.dropped))
        )

    def _spans(self, text: str) -> Iterator[Span]:
        """The parts of the text that a piece of a secret comes from; they may overlap."""
        for layer, origins in _traced_layers(text):
            for kind in self._kinds:
                each = [_letters(character, kind.dropped) for character in layer]
                origin = [span for letters, span in zip(each, origins, strict=True) for _ in letters]
                for start, end in kind.spans(b"".join(each)):
                    yield origin[start][0], origin[end - 1][1]


def _forms(secret: str, dropped: bytes) -> Iterator[tuple[bytes, int]]:
    """What the secret is in each code, and how many letters of that are to be found together."""
    for forms, least in CODES.values():
        for letters in (_letters(form, dropped) for form in forms(secret)):
            yield letters, min(least, len(letters))


def _replaced(text: str, spans: Iterable[Span]) -> str:
    kept, end = [], -1
    for start, stop in sorted(spans):
        if start > end:
            kept += [text[max(end, 0) : start], STRUCK_OUT]
        end = max(end, stop)
    return "".join((*kept, text[max(end, 0) :]))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# ---- addresses

KEY_SHAPE = re.compile(
    r"^(?:sk|pk|key|token)[-_](?=.*[0-9]).{8}"
    r"|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    r"|(?<![0-9a-z])(?=[a-z]*[0-9])(?=[0-9]*[a-z])[0-9a-z]{16,}", re.IGNORECASE,
)


def _like_a_key(word: str) -> bool:
    """Whether it begins like one, or has a UUID or 16 letters and digits in a row."""
    return KEY_SHAPE.search(unquote(word)) is not None


def may_be_shown(text: str) -> bool:
    """Whether a text that should be a URL and is none can hold no user, no query and no key."""
    return not set(text) & set("@?") and not _like_a_key(text)


def secrets_within(address: str) -> list[str]:
    """What of a URL may be secret: its password, its user and parts of its path that look like keys, such queries."""
    parts = urlsplit(address)
    query = parse_qsl(parts.query)
    named = [value for name, value in query if any(part in name.lower() for part in SECRET_NAMES)]
    words = [parts.username or "", *(value for _, value in query), *parts.path.split("/")]
    found = [unquote(parts.password or ""), *named, *(unquote(word) for word in words if _like_a_key(word))]
    return list(dict.fromkeys(word for word in found if len(word) >= SECRET_LENGTH))
