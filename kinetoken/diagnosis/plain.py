"""Numbers and measures of a diagnosis in plain words: what each key means, with its unit, and in which order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kinetoken.charts.parts import NumberRow

SHARE, COUNT = "%", "count"  # units with a form of their own; any other is written after the number


@dataclass(frozen=True)
class Plain:
    """A number's name for a reader, and its unit: SHARE, COUNT, another one such as `dB`, or none."""

    words: str
    unit: str = ""

    def shown(self, value: float | None) -> str:
        """A value with its unit; empty for None."""
        if value is None:
            return ""
        if self.unit == SHARE:
            return f"{100 * value:.1f} %"
        if self.unit == COUNT:
            return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
        return f"{value:.4g} {self.unit}".rstrip()


@dataclass(frozen=True)
class PlainRow:
    """A row of the table of numbers, as text; what is not known is empty."""

    words: str
    value: str
    baseline: str
    bound: str
    interval: str


CHAIN = {
    "pixels": "pixels", "pixels_still": "the mean frame of each clip",
    "pixels_flow": "velocity and colour of what moves", "pixels_half": "pixels, half the training clips",
    "latents": "latents", "codes": "codes", "codes_pooled": "averaged codes",
}
FURTHER = ("pixels_still", "pixels_flow")  # readings of clips that codes have no like of
TITLES = {  # of groups of numbers, in the order of the page
    "use": "How the codes are used", "kept": "What can be read (probes, balanced accuracy)",
    "steps": "Latents and rounding", "pictures": "Reconstructions", "training": "Training",
    "table": "Codes against the tokenizer", "data": "Clips and labels",
}
NUMBERS: dict[str, dict[str, Plain]] = {  # by group; `#` stands for a whole number
    "use": {
        "usage_clips": Plain("clips counted", COUNT),
        "usage": Plain("entries that occur", SHARE),
        "dead_codes": Plain("entries that never occur", COUNT),
        "near_dead_codes": Plain("entries that occur less than 1 % as often as if all were equal", COUNT),
        "perplexity": Plain("perplexity, all tokens", "entries in effective use"),
        "perplexity_foreground": Plain("perplexity, tokens on what moves", "entries in effective use"),
        "top1_share": Plain("tokens with the most frequent entry", SHARE),
        "foreground.top1_share": Plain("the same, of the tokens on what moves", SHARE),
        "foreground.token_share": Plain("tokens on what moves", SHARE),
        "entropy_bits": Plain("entropy of a token", "bits"),
        "windows.usage.mean": Plain("entries that occur within 16,384 tokens in a row", SHARE),
        "windows.perplexity.mean": Plain("perplexity within 16,384 tokens in a row", "entries"),
        "codebooks.#.usage": Plain("codebook #: entries that occur", SHARE),
        "codebooks.#.perplexity": Plain("codebook #: perplexity", "entries"),
        "neighbours.time": Plain("tokens equal to the one before them in time", SHARE),
        "neighbours.rows": Plain("tokens equal to the one above them", SHARE),
        "neighbours.columns": Plain("tokens equal to the one to their left", SHARE),
        "drift.variation": Plain("first against last tenth of the file: tokens distributed otherwise", SHARE),
        "duplicates.usage_distinct": Plain("different vectors in use, of all entries", SHARE),
        "again.tokens_differing": Plain("tokens that differ in the second extraction", SHARE),
        "again.clips_differing": Plain("clips that differ in the second extraction", SHARE),
        "saturated_tokens.share": Plain("tokens with every level at an end", SHARE),
        "code_least": Plain("least code in the file", COUNT),
        "code_greatest": Plain("greatest code in the file", COUNT),
        "padding_share": Plain("places without a code (padding)", SHARE),
    },
    "kept": {
        **{f"probe.{point}": Plain(f"labels read from {name}", SHARE) for point, name in CHAIN.items()},
        "measures.kept_share": Plain("codes keep, of what the best point before them shows", SHARE),
        "probe.reconstructions": Plain("labels read from reconstructions, as from clips", SHARE),
        "probe.planted_gain": Plain("control: gain on what was planted in the codes", SHARE),
        "label_information_bits": Plain("information about the label in a clip's codes", "bits"),
        "label_information_bits_pooled": Plain("the same in averaged codes", "bits"),
        "code_information_bits": Plain("information about the label in one token, place unknown", "bits"),
        "code_information_p_value": Plain("chance of as much with shuffled labels (least possible: 0.005)"),
    },
    "steps": {
        "effective_rank_latents": Plain("directions that latents use", "directions"),
        "effective_rank_codes": Plain("directions that the codes' vectors use", "directions"),
        "quantization_error": Plain("rounding error over the latents' variance"),
        "quantization_error_foreground": Plain("the same on what moves"),
        "measures.latent_offset": Plain("latents' mean from the codebook's centre", "deviations"),
    },
    "pictures": {
        "reconstruction.psnr_db": Plain("PSNR, all pixels", "dB"),
        "reconstruction.foreground_psnr_db": Plain("PSNR, what moves", "dB"),
        "reconstruction.background_psnr_db": Plain("PSNR, the rest", "dB"),
    },
    "training": {
        "measures.loss_fall": Plain("fall of the validation loss, of its first value", SHARE),
        "late_fall": Plain("part of this fall in the last quarter of training", SHARE),
        "training.usage.peak": Plain("usage while training, at its peak", SHARE),
        "training.usage.end": Plain("usage while training, at the end", SHARE),
        "training.perplexity.peak": Plain("perplexity while training, at its peak", "entries"),
        "training.perplexity.end": Plain("perplexity while training, at the end", "entries"),
    },
    "table": {
        "code_mismatch": Plain("tokens that the tokenizer codes otherwise than the table", SHARE),
        "measures.found_elsewhere": Plain("miscoded clips whose right codes are in another row", SHARE),
        "measures.found_moved": Plain("miscoded clips whose right codes are at other places", SHARE),
    },
    "data": {
        "sampled_clips": Plain("clips that probes and plots use", COUNT),
        "measures.test_clips": Plain("test clips, as many even classes would be worth", COUNT),
        "measures.clips_a_class": Plain("training clips of the smallest class", COUNT),
        "measures.pair_pixels": Plain("the two classes that pixels distinguish worst", SHARE),
    },
}
MEASURES = {  # of `measures.Measures`, where these stand alone
    "floor": Plain("guessing (baseline)", SHARE),
    **{f"probe_{point}": NUMBERS["kept"][f"probe.{point}"] for point in CHAIN if point not in FURTHER},
    "probe_still": NUMBERS["kept"]["probe.pixels_still"],
    "kept_low": Plain("share that codes keep, lower end of the 95 % interval", SHARE),
    "kept_high": Plain("share that codes keep, upper end of the 95 % interval", SHARE),
    "planted": NUMBERS["kept"]["probe.planted_gain"],
    "probe_decoded": Plain("labels read from reconstructions of these codes", SHARE),
    "probe_reconstructions": Plain("labels read from reconstructions, perhaps of other codes", SHARE),
    "probe_pixels_alike": Plain("labels read from pixels by the probes that codes are read by", SHARE),
    "codebook_size": Plain("entries of the codebook", COUNT),
    "perplexity": NUMBERS["use"]["perplexity"],
    "perplexity_foreground": NUMBERS["use"]["perplexity_foreground"],
    "top1_share": NUMBERS["use"]["top1_share"],
    "top1_share_foreground": Plain("tokens on what moves with the most frequent entry", SHARE),
    "tokens_a_clip": Plain("tokens of a clip", COUNT),
    "effective_rank_latents": Plain("directions that latents use, on what moves", "directions"),
    "latent_channels": Plain("channels of the latents", COUNT),
    "quantization_error": Plain("rounding error over the latents' variance, on what moves"),
    "latent_offset": Plain("latents' mean from the codebook's centre, on what moves", "deviations"),
    "mismatch": NUMBERS["table"]["code_mismatch"],
    "found_elsewhere": NUMBERS["table"]["measures.found_elsewhere"],
    "found_moved": NUMBERS["table"]["measures.found_moved"],
    "foreground_gain_db": Plain("PSNR above the mean video's, what moves", "dB"),
    "background_gain_db": Plain("PSNR above the mean video's, the rest", "dB"),
    "picture_gain_db": Plain("PSNR above the mean video's, all pixels", "dB"),
    "loss_fall": NUMBERS["training"]["measures.loss_fall"],
    "late_fall": NUMBERS["training"]["late_fall"],
    "clips_a_class": NUMBERS["data"]["measures.clips_a_class"],
    "pair_pixels": NUMBERS["data"]["measures.pair_pixels"],
    "pair_pixels_high": Plain("the same, upper bound at 95 %", SHARE),
    "test_clips": NUMBERS["data"]["measures.test_clips"],
}


def measure_named(measure: str) -> Plain:
    """A measure's plain name; of one that has none, its key with spaces."""
    return MEASURES.get(measure, Plain(measure.replace("_", " ")))


def grouped(rows: Sequence[NumberRow]) -> list[tuple[str, list[PlainRow]]]:
    """Rows with a plain name, by the title of their group, in the order of the page; groups without rows left out."""
    known = {row.name: row for row in rows}
    found = []
    for group, names in NUMBERS.items():
        lines = [line for key, plain in names.items() for line in _lines(key, plain, known)]
        if lines:
            found.append((TITLES[group], lines))
    return found


def unnamed(rows: Iterable[NumberRow]) -> list[NumberRow]:
    """The rows that have no plain name."""
    keys = {key for names in NUMBERS.values() for key in names}
    return [row for row in rows if _pattern(row.name) not in keys]


def _pattern(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.)", "#", name)


def _lines(key: str, plain: Plain, known: Mapping[str, NumberRow]) -> Iterable[PlainRow]:
    if "#" not in key:
        return [_line(known[key], plain)] if key in known else []
    numbered = [(row, name.split(".")[1]) for name, row in known.items() if _pattern(name) == key]
    return [_line(row, Plain(plain.words.replace("#", place), plain.unit)) for row, place in numbered]


def _line(row: NumberRow, plain: Plain) -> PlainRow:
    low, high = plain.shown(row.low), plain.shown(row.high)
    interval = f"{_bare(low, plain.unit)} … {high}" if low and high else ""
    return PlainRow(plain.words, plain.shown(row.value), plain.shown(row.floor), plain.shown(row.ceiling), interval)


def _bare(text: str, unit: str) -> str:
    """Without its unit, which the interval's other end has."""
    return text.removesuffix(unit).rstrip() if unit != COUNT else text
