"""Cures for tokenizers built on vector-quantize-pytorch: read in its source of version 1.32.0, its README and issues.

In the examples `latents` (B, N, D) are the encoder's output with D = 64, and `step` counts training steps.
"""

from kinetoken.diagnosis.cure_tables.entry import Cure, Cures
from kinetoken.diagnosis.cure_tables.pytorch import STUDY, WARM_UP

README = "README, lucidrains/vector-quantize-pytorch"
VQ = "vector_quantize_pytorch/vector_quantize_pytorch.py, lucidrains/vector-quantize-pytorch"
RVQ = "vector_quantize_pytorch/residual_vq.py, lucidrains/vector-quantize-pytorch"
FSQ = "vector_quantize_pytorch/finite_scalar_quantization.py, lucidrains/vector-quantize-pytorch"
LFQ = "vector_quantize_pytorch/lookup_free_quantization.py, lucidrains/vector-quantize-pytorch"

VECTOR_QUANTIZE: Cures = {
    "codebook collapse": Cure(
        "With `VectorQuantize` set `kmeans_init=True` and `threshold_ema_dead_code=2` (its default 0 restarts "
        "nothing); a small `codebook_dim=16` and `use_cosine_sim=True` also raise usage. Or use `FSQ`, whose codebook "
        "is fixed.",
        """\
from vector_quantize_pytorch import FSQ, VectorQuantize
quantizer = VectorQuantize(
    dim=64, codebook_size=1024, codebook_dim=16, kmeans_init=True, threshold_ema_dead_code=2, use_cosine_sim=True,
)
quantizer = FSQ(levels=[8, 5, 5, 5], dim=64)  # or this""",
        (README, "arXiv:2107.03312", "arXiv:2110.04627", "arXiv:2309.15505"),
    ),
    "dead codebooks": Cure(
        "With `ResidualVQ` set `kmeans_init=True` and `threshold_ema_dead_code=2`, which reach every level, and set "
        "`quantize_dropout=False` or raise `quantize_dropout_cutoff_index`, because it trains later levels less often. "
        "`implicit_neural_codebook=True` lets each level see the levels before it.",
        """\
from vector_quantize_pytorch import ResidualVQ
quantizer = ResidualVQ(
    dim=64, num_quantizers=4, codebook_size=256, kmeans_init=True, threshold_ema_dead_code=2, quantize_dropout=False,
)""",
        (README, RVQ, "arXiv:2107.03312", "arXiv:2401.14732"),
    ),
    "duplicate entries": Cure(
        "With `kmeans_init=True`, give the first batch at least `codebook_size` tokens: from fewer, duplicates are "
        "drawn. `orthogonal_reg_weight=10` pushes the codes of `VectorQuantize` apart, if the optimizer trains them "
        "(`learnable_codebook=True`, `ema_update=False`).",
        """\
from vector_quantize_pytorch import VectorQuantize
quantizer = VectorQuantize(
    dim=64, codebook_size=1024, kmeans_init=True, orthogonal_reg_weight=10, orthogonal_reg_max_codes=128,
    ema_update=False, learnable_codebook=True,
)""",
        (VQ, README, "arXiv:2112.00384"),
    ),
    "indices rounded by low precision": Cure(
        "Keep `force_quantization_f32=True` of `FSQ` and `LFQ` (the default; upgrade if your version has no such "
        "argument), and never cast the indices to the model's dtype. With it off and bfloat16 as torch's default "
        "dtype, all indices of 8·5·5·5 codes above 256 come out even.",
        """\
from vector_quantize_pytorch import FSQ
quantizer = FSQ(levels=[8, 5, 5, 5], dim=64, force_quantization_f32=True)
codes = quantizer(latents)[1].long()""",
        ("issue 114, lucidrains/vector-quantize-pytorch", FSQ),
    ),
    "codes of NaN": Cure(
        "Stop at the first latents that are not finite and clip the gradients. With `LFQ`, keep "
        "`force_quantization_f32=True` and bound its input with `soft_clamp_input_value=10`; half precision gave NaN "
        "in its entropy term.",
        """\
from vector_quantize_pytorch import LFQ
quantizer = LFQ(dim=64, codebook_size=1024, force_quantization_f32=True, soft_clamp_input_value=10.0)
assert torch.isfinite(latents).all()""",
        ("pull request 85, lucidrains/vector-quantize-pytorch", LFQ),
    ),
    "codes differ between runs": Cure(
        "Call `eval()` on the quantizer before extracting: in training mode `VectorQuantize` moves its codebook at "
        "each call, `ResidualVQ` with `quantize_dropout=True` leaves levels out (index −1), and "
        "`stochastic_sample_codes=True` draws codes at random.",
        """\
from vector_quantize_pytorch import VectorQuantize
quantizer = VectorQuantize(dim=64, codebook_size=256).eval()
first, second = (quantizer(latents)[1] for _ in range(2))
assert torch.equal(first, second)""",
        (VQ, RVQ),
    ),
    "usage fell during training": Cure(
        "With `LFQ`, set `entropy_loss_weight=0.1` and `commitment_loss_weight=0.25`, raise `diversity_gamma`, and "
        "normalize the latents before it (a GroupNorm with `affine=False`). With `VectorQuantize`, set "
        "`threshold_ema_dead_code=2`; with `SimVQ`, whose users report 4 and 7 %, use another quantizer.",
        """\
from vector_quantize_pytorch import LFQ
normalize = torch.nn.GroupNorm(1, 64, affine=False)
quantizer = LFQ(dim=64, codebook_size=1024, entropy_loss_weight=0.1, commitment_loss_weight=0.25, diversity_gamma=2.5)
quantized, codes, loss = quantizer(normalize(latents.mT).mT)""",
        (
            "issue 88, lucidrains/vector-quantize-pytorch", "pull request 89, lucidrains/vector-quantize-pytorch",
            "issue 154, lucidrains/vector-quantize-pytorch", "issue 170, lucidrains/vector-quantize-pytorch",
            "issue 212, lucidrains/vector-quantize-pytorch",
        ),
    ),
    "training counters differ": Cure(
        "Count the indices of the evaluation set in eval mode. The codebook's own `cluster_size` is a moving average "
        "over training batches.",
        """\
from vector_quantize_pytorch import VectorQuantize
quantizer = VectorQuantize(dim=64, codebook_size=256).eval()
used = torch.bincount(quantizer(latents)[1].flatten(), minlength=quantizer.codebook_size) > 0""",
        (VQ, "issue 2, yfChang-cv/FVQ"),
    ),
    "part of the vocabulary unused": Cure(
        "Nothing is broken: these clips do not need the rest. With `FSQ`, use fewer `levels`, or bring each channel to "
        "deviation 1 (a BatchNorm with `affine=False`), since its tanh crowds larger latents into the outer levels; "
        "`FSQ` of 0.8·z has iFSQ's activation, but its outer levels stay half as wide as the inner ones.",
        """\
from vector_quantize_pytorch import FSQ
normalize = torch.nn.BatchNorm1d(3, affine=False)
quantized, codes = FSQ(levels=[9, 9, 9])(normalize(latents[..., :3].mT).mT)  # .mT: channels second and back""",
        ("arXiv:2601.17124", FSQ),
    ),
    "quantizer bypassed": Cure(
        "Save the second value that the quantizer returns: the first are vectors, and `FSQ` has `return_indices=True`. "
        "Whoever has the vectors alone gets indices by `codes_to_indices` of `FSQ`.",
        """\
from vector_quantize_pytorch import FSQ
quantizer = FSQ(levels=[8, 5, 5, 5], dim=64)
quantized, codes = quantizer(latents)  # save `codes`""",
        (README, FSQ),
    ),
    "tokens out of place": Cure(
        "Hand all quantizers tokens as (B, N, D) and reshape the indices (B, N) yourself: inputs of four or more axes "
        "are taken as channels first by `FSQ` and `LFQ`, and by `VectorQuantize` only with `accept_image_fmap=True` or "
        "`accept_3d_fmap=True`.",
        """\
from vector_quantize_pytorch import FSQ
quantizer = FSQ(levels=[8, 5, 5, 5])
grid = torch.randn(2, 4, 3, 8, 8)  # (B, D, T, H, W)
tokens = grid.flatten(2).mT  # (B, T·H·W, D)
codes = quantizer(tokens)[1].reshape(2, 3, 8, 8)
assert torch.equal(codes, quantizer(grid)[1])""",
        (FSQ, VQ),
    ),
    "axes swapped": Cure(
        "`indices_to_codes` of `FSQ` and `LFQ` returns (B, D, …), channels first, for indices of three or more axes, "
        "and (B, N, D) for two. Flatten the indices to (B, N) first, or take the channels where they are.",
        """\
from vector_quantize_pytorch import FSQ
quantizer = FSQ(levels=[8, 5, 5, 5])
codes = torch.randint(1000, (2, 3, 8, 8))  # (B, T, H, W)
assert quantizer.indices_to_codes(codes).shape == (2, 4, 3, 8, 8)
assert quantizer.indices_to_codes(codes.flatten(1)).shape == (2, 192, 4)""",
        ("issue 82, lucidrains/vector-quantize-pytorch", FSQ, LFQ),
    ),
    "levels too few": Cure(
        "Raise `levels` of `FSQ` (the paper uses five or more in each coordinate), `codebook_size` of `LFQ` (a power "
        "of two) or `VectorQuantize`, or `num_quantizers` of `ResidualVQ`.",
        """\
from vector_quantize_pytorch import FSQ
quantizer = FSQ(levels=[8, 5, 5, 5], dim=64)  # 1,000 codes""",
        ("arXiv:2309.15505", README),
    ),
    "dimensional collapse": Cure(
        "Leave the quantizer out in the first part of training and construct it with `kmeans_init=True`: its codebook "
        "then starts from the trained latents at its first call. `rotation_trick=True` passes better gradients after "
        "that.",
        """\
from vector_quantize_pytorch import VectorQuantize
quantizer = VectorQuantize(dim=64, codebook_size=256, kmeans_init=True, rotation_trick=True)
quantized = latents if step < 1000 else quantizer(latents)[0]""",
        (*WARM_UP, "arXiv:2410.06424", VQ),
    ),
    "encoder and codebook drifted apart": Cure(
        "Raise `commitment_weight` of `VectorQuantize` (or `commitment_loss_weight` of `LFQ`, "
        "`input_to_quantize_commit_loss_weight` of `SimVQ`), and let the codebook follow faster with a lower `decay`.",
        """\
from vector_quantize_pytorch import VectorQuantize
quantizer = VectorQuantize(dim=64, codebook_size=256, commitment_weight=1.0, decay=0.8)
quantized, codes, commitment = quantizer(latents)  # add `commitment` to the loss""",
        ("arXiv:1711.00937", "arXiv:2606.11363", README, STUDY),
    ),
    "lost in quantizing": Cure(
        "Try more `levels` or a larger `codebook_size`, `ResidualVQ` with two or more `num_quantizers`, and a first "
        "part of training without the quantizer (then `kmeans_init=True`).",
        """\
from vector_quantize_pytorch import ResidualVQ
quantizer = ResidualVQ(dim=64, num_quantizers=2, codebook_size=1024, kmeans_init=True, threshold_ema_dead_code=2)""",
        (README, *WARM_UP),
    ),
    "probe too weak": Cure(
        "Give more labelled clips, or the codebook's vectors: `codebook` of `VectorQuantize`, `codebooks` of "
        "`ResidualVQ`, `implicit_codebook` of `FSQ`, `codebook` of `LFQ`.",
        """\
from vector_quantize_pytorch import FSQ
torch.save(FSQ(levels=[8, 5, 5, 5]).implicit_codebook, "codebook.pt")  # (1000, 4)""",
        ("arXiv:1909.03368", FSQ, VQ),
    ),
}
