"""What each finding's name means, by the question that it answers."""

from kinetoken.diagnosis.finding import DATA, KEPT, USE, Question

MEANINGS: dict[Question, dict[str, str]] = {
    USE: {
        "codebook collapse": "One or a few codes carry nearly all tokens.",
        "dead codebooks": "Of several codebooks (residual levels, factorized vocabularies), some hold one code only.",
        "duplicate entries": "The codebook has vectors that are nearly equal, so usage counts one thing several times.",
        "indices rounded by low precision": "All indices above 256 (bfloat16) or 2048 (float16) are multiples of 2, 4, "
                                            "8 and so on.",
        "codes of NaN": "The latents hold NaN, or from some row on every token is code 0.",
        "codes differ between runs": "A second extraction of the same clips gives other codes.",
        "codes depend on the batch": "Codes of a second extraction differ, and how depends on a row's place in its "
                                     "batch.",
        "usage fell during training": "The training history has a usage or perplexity that rose to a peak and fell.",
        "training counters differ": "The training history ends with a usage that these clips do not show.",
        "drift over the file": "The codes of the last rows are distributed otherwise than those of the first.",
        "part of the vocabulary unused": "A range of the codebook is never used on these clips. It costs nothing.",
        "perplexity depends on the count": "The count of tokens is too small for perplexity to have settled. It costs "
                                           "nothing.",
        "encoded in chunks": "The clips were cut into pieces, encoded one by one and joined. It costs nothing by "
                             "itself.",
    },
    KEPT: {
        "quantizer bypassed": "The table holds the encoder's output, which nothing rounded.",
        "codes of other clips": "The codes are right, and stand in the rows of other clips.",
        "tokens out of place": "The codes of a clip are right, and stand at other places of its grid.",
        "codes of another tokenizer": "The tokenizer gives other codes for these clips than the table has.",
        "levels too few": "A token can take too few values.",
        "dimensional collapse": "The latents use few of their directions.",
        "encoder and codebook drifted apart": "The latents lie far from the codebook that should round them.",
        "loss dominated by background": "The background is reconstructed and what moves is not.",
        "encoder starved": "The latents lost what pixels show, and training longer would change nothing.",
        "undertrained": "Training ended before the loss had settled.",
        "pooling drops position": "The codes hold the class, their average over space does not.",
        "inputs on another scale": "The encoder got clips in another range than it was trained on.",
        "axes swapped": "Reconstructions or codes match the clips better with two axes exchanged.",
        "first frames not reconstructed": "The first frames are worse than the others: a causal tokenizer wants 4k + 1 "
                                          "frames.",
        "lost in quantizing": "The latents hold the class and the codes do not. The cause is not known.",
        "lost in the encoder": "The pixels show the class and the latents do not hold it. The cause is not known.",
        "lost between pixels and codes": "The pixels show the class and the codes do not hold it. Without latents, it "
                                         "is not known where it was lost.",
        "probe too weak": "These probes miss what was planted in the codes, or what reconstructions show, so nothing "
                          "can be said of a loss.",
    },
    DATA: {
        "too little data": "The labelled clips are too few to say whether the codes lost anything.",
        "labels not separable in pixels": "The classes cannot be distinguished in the clips themselves.",
        "class shows in still frames": "A single frame is enough to recognize the class. It costs nothing.",
    },
}
