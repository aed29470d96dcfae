"""Quantizers of vector-quantize-pytorch and of scikit-learn behind one interface, fitted on latents.

Those of vector-quantize-pytorch are its own modules with its own argument names; k-means is scikit-learn's.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studies.patients.bundle import Codes, Latents

BATCH = 256  # clips at once in a pass over latents


def nearest(latents: Latents, book: NDArray[np.float32]) -> NDArray[np.int64]:
    """The place (N, …) of the vector of the book (K, D) that is nearest to each of the latents (N, …, D)."""
    flat, norms = latents.reshape(-1, latents.shape[-1]), (book**2).sum(1)
    parts = [(norms - 2 * part @ book.T).argmin(1) for part in np.array_split(flat, max(len(flat) // 8192, 1))]
    return np.concatenate(parts).reshape(latents.shape[:-1]).astype(np.int64)


def library_quantizer(kind: str, dim: int, options: dict[str, Any]) -> Any:  # noqa: ANN401 - a torch module
    """A module of vector-quantize-pytorch by its class's name in lower case.

    start: how far from 0 every channel of a learned codebook begins, instead of near it.
    """
    import vector_quantize_pytorch as library

    options = dict(options)
    start = options.pop("start", 0.0)
    names = {"vq": "VectorQuantize", "fsq": "FSQ", "lfq": "LFQ", "simvq": "SimVQ", "rvq": "ResidualVQ",
             "rfsq": "ResidualFSQ", "grvq": "GroupedResidualVQ"}
    if kind == "fsq":
        module = library.FSQ(dim=dim, **options)
    else:
        module = getattr(library, names[kind])(dim=dim, **options)
    if start:
        with torch.no_grad():
            module._codebook.embed.add_(start)
            module._codebook.embed_avg.add_(start)
    return module


class LibraryQuantizer:
    """A module of vector-quantize-pytorch on latents (N, …, D)."""

    def __init__(self, kind: str, dim: int, seed: int, options: dict[str, Any]) -> None:
        torch.manual_seed(seed)
        self.kind, self.dim = kind, dim
        self.module = library_quantizer(kind, dim, options)

    def fit(self, latents: Latents, passes: int = 4, rate: float = 0.01) -> "LibraryQuantizer":
        """Learn the codebook on latents that stay as they are: by moving averages, or by gradients where it has some.

        FSQ and LFQ learn nothing.
        """
        if self.kind in ("fsq", "lfq", "rfsq"):
            self.module.eval()
            return self
        weights = [one for one in self.module.parameters() if one.requires_grad]
        optimizer = torch.optim.Adam(weights, rate) if weights else None
        flat = torch.from_numpy(latents.reshape(len(latents), -1, self.dim))
        self.module.train()
        for _ in range(passes):
            for part in flat[torch.randperm(len(flat))].split(BATCH // 4):
                loss = self.module(part)[2].sum()
                if optimizer is not None:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
        self.module.eval()
        return self

    @torch.no_grad()
    def quantize(self, latents: Latents) -> Codes:
        """Codes (N, …), of several codebooks (N, …, Q)."""
        places = latents.shape[1:-1]
        parts = torch.from_numpy(latents.reshape(len(latents), -1, self.dim)).split(BATCH)
        codes = torch.cat([self.module.eval()(part)[1] for part in parts]).numpy()
        return np.asarray(codes.reshape(len(latents), *places, *codes.shape[2:]).astype(np.int64))

    @torch.no_grad()
    def vectors(self, codes: Codes) -> Latents:
        """Quantized latents (N, …, D)."""
        indices = torch.from_numpy(codes)
        if self.kind in ("rvq", "rfsq"):
            places = indices.shape[1:-1]
            flat = self.module.get_output_from_indices(indices.reshape(len(codes), -1, indices.shape[-1]))
            return np.asarray(flat.reshape(len(codes), *places, self.dim).numpy())
        if self.kind in ("fsq", "lfq"):
            flat = self.module.indices_to_codes(indices.reshape(len(codes), -1))
            return np.asarray(flat.reshape(*indices.shape, self.dim).numpy())
        codebook = self.codebook
        assert codebook is not None
        return codebook[codes]

    @property
    def codebook(self) -> NDArray[np.float32] | None:
        """(K, D), of several codebooks (Q, K, D); None where the levels say it."""
        if self.kind in ("fsq", "lfq", "rfsq"):
            return None
        books = self.module.codebooks if self.kind == "rvq" else self.module.codebook
        return np.asarray(books.detach().numpy(), np.float32)

    @property
    def config(self) -> dict[str, Any]:
        """What its user would say of it."""
        if self.kind in ("fsq", "rfsq"):
            levels = self.module.levels if self.kind == "rfsq" else self.module._levels.tolist()
            name = "fsq" if self.kind == "fsq" else "residual fsq"
            return {"quantizer": name, "levels": [int(one) for one in levels]}
        return {"quantizer": self.kind, "codebook_size": self.size}

    @property
    def size(self) -> int:
        """Codes of one codebook."""
        size = self.module.codebook_size
        return int(size[0] if isinstance(size, tuple | list) else size)


class KMeansQuantizer:
    """scikit-learn's k-means on latents (N, …, D) as a codebook; `mini` for MiniBatchKMeans."""

    def __init__(self, size: int, seed: int, mini: bool) -> None:
        from sklearn.cluster import KMeans, MiniBatchKMeans

        self.seed = seed
        self.model = (MiniBatchKMeans if mini else KMeans)(size, n_init=1, max_iter=30, random_state=seed)

    def fit(self, latents: Latents) -> "KMeansQuantizer":
        """On at most 20,000 latents."""
        flat = latents.reshape(-1, latents.shape[-1])
        rng = np.random.default_rng(self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer distinct points than clusters, as of a still background
            self.model.fit(flat[rng.permutation(len(flat))[:20_000]].astype(np.float32))
        return self

    def quantize(self, latents: Latents) -> Codes:
        flat = np.ascontiguousarray(latents.reshape(-1, latents.shape[-1]), np.float32)
        return np.asarray(self.model.predict(flat).reshape(latents.shape[:-1]), np.int64)

    def vectors(self, codes: Codes) -> Latents:
        return self.codebook[codes]

    @property
    def codebook(self) -> NDArray[np.float32]:
        return np.asarray(self.model.cluster_centers_, np.float32)

    @property
    def config(self) -> dict[str, Any]:
        return {"quantizer": "k-means", "codebook_size": self.size}

    @property
    def size(self) -> int:
        return len(self.codebook)


Quantizer = LibraryQuantizer | KMeansQuantizer


def fitted_quantizer(kind: str, latents: Latents, seed: int, options: dict[str, Any]) -> Quantizer:
    """A quantizer of one of the kinds, fitted on latents (N, …, D)."""
    options = dict(options)
    if kind in ("kmeans", "minibatch"):
        return KMeansQuantizer(seed=seed, mini=kind == "minibatch", **options).fit(latents)
    fitting = {name: options.pop(name) for name in ("passes", "rate") if name in options}
    return LibraryQuantizer(kind, latents.shape[-1], seed, options).fit(latents, **fitting)


def through(quantizer: LibraryQuantizer, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Quantized latents (B, …, D) that gradients pass, and the quantizer's own loss; in training."""
    flat = latents.reshape(len(latents), -1, latents.shape[-1])
    found = quantizer.module(flat)
    loss = found[2].sum() if len(found) > 2 and isinstance(found[2], Tensor) else torch.zeros(())
    return found[0].reshape(latents.shape), loss
