"""How much of the class the codes hold, by readers of this study's own: the doctor does not say what a fault costs."""

import numpy as np
from einops import rearrange
from numpy.typing import NDArray

from studies.patients.bundle import Bundle, Codes

Features = NDArray[np.float32]
COMPONENTS = 64
TESTED = 0.35  # of the clips


def reading(bundle: Bundle, seed: int = 0) -> float:
    """Balanced accuracy, on clips held out, of the better of two scikit-learn readers of the codes' vectors."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    names, target = np.unique(bundle.labels, return_inverse=True)
    split = np.bincount(target).min() >= 2
    learned, judged = train_test_split(
        np.arange(len(target)), test_size=max(TESTED, len(names) / len(target)), random_state=seed,
        stratify=target if split else None,
    )
    features = features_of(bundle)
    scale = np.maximum(features[learned].std(0), 1e-6)
    features = (features - features[learned].mean(0)) / scale
    found = []
    for model in (LogisticRegression(C=0.1, max_iter=200), ExtraTreesClassifier(200, random_state=seed, n_jobs=1)):
        given = model.fit(features[learned], target[learned]).predict(features[judged])
        found.append(np.mean([(given[target[judged] == one] == one).mean() for one in np.unique(target[judged])]))
    return float(max(found))


def features_of(bundle: Bundle) -> Features:
    """(N, F): principal components of all vectors, and in each time slice each channel's mean and centres along x, y.

    Of averaged codes, where these are what is used, the mean alone.
    """
    from sklearn.decomposition import PCA

    tokens = vectors_of(bundle)  # (N, T', H', W', D)
    mean = rearrange(tokens.mean((2, 3)), "n t d -> n (t d)")
    if bundle.config.get("pooling") == "space":
        return np.asarray(mean)
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) if size > 1 else np.zeros(1, np.float32)
                     for size in tokens.shape[2:4])
    moments = [mean]
    for weight in (rows[:, None], columns[None, :], rows[:, None] ** 2, columns[None, :] ** 2):
        moments.append(rearrange((tokens * weight[None, None, :, :, None]).mean((2, 3)), "n t d -> n (t d)"))
    flat = tokens.reshape(len(tokens), -1)
    whole = PCA(min(COMPONENTS, *flat.shape), random_state=0).fit_transform(flat)
    return np.concatenate([whole, *moments], 1).astype(np.float32)


def vectors_of(bundle: Bundle) -> NDArray[np.float32]:
    """(N, T', H', W', D): the codes' own vectors; where there are none, random ones, the same for the same code."""
    codes = np.asarray(bundle.codes)
    if codes.dtype.kind == "f":
        tokens = codes
    elif (own := _own_vectors(bundle, codes)) is not None:
        tokens = own
    else:
        seen, place = np.unique(codes, return_inverse=True)
        tokens = np.random.default_rng(0).normal(size=(len(seen), 16))[place.reshape(codes.shape)]
        if bundle.config.get("several", 1) > 1:  # one after the other
            tokens = tokens.reshape(*codes.shape[:-1], -1)
    inner = tokens.shape[1:-1]
    grid = {1: (1, 1, *inner), 2: (1, *inner), 3: inner}[len(inner)]
    return np.asarray(tokens.reshape(len(codes), *grid, -1), np.float32)


def _own_vectors(bundle: Bundle, codes: Codes) -> NDArray[np.float32] | None:
    """The vectors of the tokenizer that made the codes, which may begin above 0; None if it has none for some."""
    quantizer = getattr(bundle.tokenizer, "quantizer", None)
    book = bundle.codebook if bundle.codebook is not None else getattr(bundle.tokenizer, "codebook", None)
    size = quantizer.size if quantizer is not None else len(book) if book is not None and book.ndim == 2 else 0
    if codes.min() >= size:
        codes = codes - codes.min()
    if codes.min() < 0 or codes.max() >= size:
        return None
    if quantizer is not None:
        return np.asarray(quantizer.vectors(codes))
    assert book is not None
    return np.asarray(book[codes])
