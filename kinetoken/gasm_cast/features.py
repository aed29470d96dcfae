"""What the head reads, flattened to two dimensions in two ways, for plots."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from kinetoken.actions.dataset import ActionClips
from kinetoken.gasm_cast.batches import gathered, scoring_batches
from kinetoken.gasm_cast.system import GasmCastSystem
from kinetoken.training.precision import Inference

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 2000  # clips at most
PERPLEXITY = 30.0  # of t-SNE; less for few clips


@torch.no_grad()
def head_features(system: GasmCastSystem, clips: ActionClips, inference: Inference) -> NDArray[np.float32]:
    """What the last layer is given of each clip's first view: (N, features)."""
    system.eval().to(inference.device)
    readers = system.fusion.head.readers
    found = torch.zeros(len(clips), system.fusion.head.classes.in_features, device=inference.device)
    for batch in scoring_batches(clips, system.params).epoch():
        with inference.precision():
            fused = system.fusion.fuse(*system.tokens(batch["pixels"][:, 0].to(inference.device)))
            read = torch.cat([reader(fused[name]) for name, reader in readers.items()], -1)  # type: ignore[index]
        found[batch["index"].to(inference.device)] = read.float()
    return gathered(found).cpu().numpy()


def flat_table(features: NDArray[np.float32], names: NDArray[np.str_], seed: int) -> "pd.DataFrame":
    """`class`, `pca_1`, `pca_2`, `tsne_1`, `tsne_2`; a row a clip, evenly chosen if there are more than SHOWN.

    Features are standardised. t-SNE: van der Maaten and Hinton (2008); only near neighbours mean something there.
    """
    import pandas as pd
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = np.unique(np.linspace(0, len(features) - 1, min(SHOWN, len(features))).astype(int))
    x = features[rows].astype(np.float64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    pca = PCA(2, random_state=seed).fit_transform(x)
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed).fit_transform(x)
    return pd.DataFrame({
        "class": names[rows], "pca_1": pca[:, 0], "pca_2": pca[:, 1], "tsne_1": tsne[:, 0], "tsne_2": tsne[:, 1],
    })
