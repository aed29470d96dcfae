"""Ways to write a key so that a plain search misses it, each as it may stand inside a JSON string, and how to find it.

`sightings` is a second implementation, by the standard library's decoders, of what `redaction` looks for.
"""

import base64
import codecs
import contextlib
import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

LEAST = 12  # consecutive letters and digits of a key that may stand nowhere
RUN = "[0-9A-Za-z+/=_-]{12,}"
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e\u034f\ufe0f"


def _each(form: str) -> Callable[[str], str]:
    """Every character by its code, as in `form`."""
    return lambda key: "".join(form.format(ord(character)) for character in key)


def _between(*marks: str) -> Callable[[str], str]:
    return lambda key: "".join(character + marks[place % len(marks)] for place, character in enumerate(key))


def _shifted(first: int) -> Callable[[str], str]:
    return lambda key: "".join(chr(first + ord(character)) for character in key)


def _one(form: str, place: int) -> Callable[[str], str]:
    """One character alone in disguise."""
    return lambda key: key[:place] + form.format(ord(key[place])) + key[place + 1 :]


def _bold(key: str) -> str:
    return "".join(chr(0x1D41A + ord(c) - 97) if "a" <= c <= "z" else c for c in key)


def _pairs(key: str) -> str:
    """Bold letters as JSON writes them without UTF-8: two surrogates each."""
    units = _bold(key).encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _base64(before: str = "", encode: Callable[[bytes], bytes] = base64.b64encode) -> Callable[[str], str]:
    return lambda key: encode((before + key).encode()).decode()


DISGUISES: dict[str, Callable[[str], str]] = {
    "none": str, "upper case": str.upper, "changed case": str.swapcase, "capital": str.capitalize,
    "escaped slash": lambda key: key.replace("/", r"\/"),
    "JSON escapes": _each(r"\u{:04x}"), "JSON escapes, upper case": _each(r"\u{:04X}"),
    "first escaped": _one(r"\u{:04x}", 0), "one escaped": _one(r"\u{:04x}", 9), "last escaped": _one(r"\u{:04x}", -1),
    "JSON within JSON": _each(r"\\u{:04x}"), "JSON thrice": _each(r"\\\\u{:04x}"),
    "one, JSON within": _one(r"\\u{:04x}", 8),
    "surrogate pairs": _pairs, "braces": _each(r"\\u{{{:x}}}"), "eight digits": _each(r"\\U{:08x}"),
    "hex escapes": _each(r"\\x{:02x}"), "octal escapes": _each(r"\\{:03o}"), "hex numbers": _each("0x{:02x}, "),
    "code points": _each("U+{:04X} "), "old URL escapes": _each("%u{:04x}"),
    "URL": lambda key: quote(key, safe=""), "all in URL escapes": _each("%{:02X}"),
    "one in URL escape": _one("%{:02x}", 7),
    "URL twice": _each("%25{:02x}"), "URL thrice": _each("%2525{:02x}"), "quoted-printable": _each("={:02X}"),
    "HTML": _each("&#{};"), "HTML without ends": _each("&#{}"), "HTML in hex": _each("&#x{:x};"),
    "HTML by name": lambda key: key.replace("/", "&sol;").replace("-", "&hyphen;").replace("+", "&plus;"),
    "HTML in URL": lambda key: quote(_each("&#{};")(key), safe=""),
    "zero width": _between(*ZERO_WIDTH), "one zero width": lambda key: key[:5] + "\u200b" + key[5:],
    "zero width, escaped": _between(r"\u200b"), "zero width in HTML": _between("&zwnj;", "&#8203;"),
    "directions": _between("\u202e", "\u2066", "\u200f"), "combining": _between("\u0301", "\u0336"),
    "no characters": _between(r"\u0000"), "controls": _between(r"\b", r"\u001b"), "spaces": _between(" "),
    "line ends": _between(r"\n", "\u2028"), "dashes": _between("-", "\u2011", "."), "asterisks": _between("**", "`"),
    "wide": _shifted(0xFEE0), "wide in URL": lambda key: quote(_shifted(0xFEE0)(key)), "bold": _bold,
    "tags": _shifted(0xE0000), "variation selectors": _shifted(0xE0100 - 16),
    "Cyrillic": lambda key: key.translate(str.maketrans("eackxop", "еаскхор")),
    "Arabic digits": lambda key: key.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
    "base64": _base64(), "base64 of a header": _base64("Bearer "), "base64 of a user": _base64("user:"),
    "base64 of one more": _base64("."), "base64 for URLs": _base64("", base64.urlsafe_b64encode),
    "base64 in lines": lambda key: r"\n".join(re.findall(".{1,10}", _base64("Bearer ")(key))),
    "base64, escaped": lambda key: _each(r"\u{:04x}")(_base64()(key)),
    "base32": _base64("", base64.b32encode), "base32 of a header": _base64("Bearer ", base64.b32encode),
    "hex": lambda key: key.encode().hex(), "hex, upper case": lambda key: key.encode().hex().upper(),
    "hex with colons": lambda key: key.encode().hex(":"),
    "decimal codes": _each("{} "), "backwards": lambda key: key[::-1],
    "rot13": lambda key: codecs.encode(key, "rot13"), "first part": lambda key: key[:18],
    "last part": lambda key: key[-14:],
}


def sightings(data: bytes, key: str) -> list[str]:
    """The decodings of what was written in which LEAST letters and digits of the key stand together."""
    pieces = {_plain(key)[at : at + LEAST] for at in range(len(_plain(key)) - LEAST + 1)}
    return [text for text in set(_decodings(data.decode("utf-8", "replace")))
            if any(piece in form for form in (_plain(text), _plain(text)[::-1]) for piece in pieces)]


def written(folder: Path) -> dict[Path, bytes]:
    """All files below the folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _plain(text: str) -> str:
    return re.sub("[^0-9a-z]", "", unicodedata.normalize("NFKD", text.translate(LOOKS)).casefold())


LOOKS = str.maketrans("еаскхор٠١٢٣٤٥٦٧٨٩", "eackxop0123456789") | {
    first + code: code for first in (0xE0000, 0xE0100 - 16) for code in range(0x20, 0x7F)
}


def _decodings(text: str) -> Iterator[str]:
    """Four times over: each decoder's word, and then that of the three commonest together."""
    for _ in range(4):
        yield text
        yield from (decode(text) for decode in DECODERS)
        joined = (re.sub(within, "", text) for within in ("$", r"\\n|\s", "(?<=[0-9a-f]{2}):(?=[0-9a-f]{2})"))
        for run in {run for each in joined for run in re.findall(RUN, each)}:
            yield from _recoded(run)
        text = html.unescape(unquote(_json(text)))


def _recoded(run: str) -> Iterator[str]:
    yield codecs.encode(run, "rot13")
    for skip in range(8):
        part = run[skip:].rstrip("=")
        for decode, size in ((base64.b64decode, 4), (base64.urlsafe_b64decode, 4), (base64.b32decode, 8)):
            with contextlib.suppress(ValueError):
                yield decode(part[: len(part) - len(part) % size]).decode("latin-1")
        if digits := re.match("(?:[0-9a-fA-F]{2})+", part):
            yield bytes.fromhex(digits[0]).decode("latin-1")


def _json(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        return chr(int(found[1], 16)) if found[1] else " " if found[2] in "bfnrt" else found[2]

    units = re.sub(r"\\u([0-9a-fA-F]{4})|\\(.)", plain, text)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _by_code(pattern: str, base: int) -> Callable[[str], str]:
    return lambda text: re.sub(pattern, lambda found: chr(min(int(found[1], base), 0x10FFFF)), text)


DECODERS: tuple[Callable[[str], str], ...] = (
    _json, unquote, html.unescape, _by_code(r"\\u\{([0-9a-f]+)\}", 16), _by_code(r"\\U([0-9a-f]{8})", 16),
    _by_code(r"\\x([0-9a-f]{2})", 16), _by_code(r"\\([0-7]{3})", 8), _by_code(r"0x([0-9a-f]{2})", 16),
    _by_code(r"U\+([0-9A-F]{4})", 16), _by_code(r"%u([0-9a-f]{4})", 16), _by_code(r"=([0-9A-F]{2})", 16),
    _by_code(r"\b(\d{2,3}) ", 10),
)
