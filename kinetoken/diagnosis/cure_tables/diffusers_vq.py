"""Cures for `VQModel` of diffusers, used frame by frame: read in its source (vq_model.py, vae.py) and documentation.

In the examples `vae` is the model, `frames` (N, 3, H, W) are images in −1…1 and `codes` the indices of them.
"""

from kinetoken.diagnosis.cure_tables.entry import Cure, Cures
from kinetoken.diagnosis.cure_tables.pytorch import WARM_UP

MODEL = "src/diffusers/models/autoencoders/vq_model.py, huggingface/diffusers"
VAE = "src/diffusers/models/autoencoders/vae.py, huggingface/diffusers"
PROCESSOR = "VAE Image Processor, Diffusers documentation"

DIFFUSERS: Cures = {
    "codebook collapse": Cure(
        "`VQModel` has neither a k-means start nor restarts, and its codebook starts within ±1/`num_vq_embeddings`: "
        "write latents of many images into `vae.quantize.embedding` before training, and unused codes again later. A "
        "small `vq_embed_dim` also raises usage.",
        """\
with torch.no_grad():
    latents = vae.encode(frames).latents  # (N, D, h, w)
    tokens = latents.movedim(1, -1).flatten(0, -2)
    codebook = vae.quantize.embedding.weight
    codebook.copy_(tokens[torch.randint(len(tokens), (len(codebook),))])""",
        (VAE, "arXiv:2107.03312", "arXiv:2110.04627"),
    ),
    "duplicate entries": Cure(
        "Write as many different latents into `vae.quantize.embedding` as it has vectors, or move the copies onto "
        "other latents, and train on. Codes that were never chosen stay where they started, within "
        "±1/`num_vq_embeddings`.",
        """\
codebook = vae.quantize.embedding.weight
print(len(torch.unique((codebook / codebook.std()).round(decimals=2), dim=0)), "different of", len(codebook))""",
        (VAE,),
    ),
    "indices rounded by low precision": Cure(
        "Keep the indices as int64, as `vae.quantize` returns them, and do not cast them to float16 or bfloat16 when "
        "they are stored.",
        """\
latents = vae.encode(frames).latents
codes = vae.quantize(latents)[2][2].long()""",
        (VAE, "issue 114, lucidrains/vector-quantize-pytorch"),
    ),
    "codes differ between runs": Cure(
        "Call `vae.eval()` and extract in float32 with one batch size. `VQModel` has no batch norm and draws nothing "
        "at random, so what differs by more than a few tokens comes from other weights or other images.",
        """\
vae.eval().float()
with torch.inference_mode():
    codes = vae.quantize(vae.encode(frames).latents)[2][2]""",
        (VAE, "Numerical accuracy, PyTorch documentation"),
    ),
    "quantizer bypassed": Cure(
        "`vae.encode(frames).latents` is the encoder's output before quantizing: `VQModel` quantizes in `decode`. Save "
        "the indices that `vae.quantize` returns.",
        """\
latents = vae.encode(frames).latents
codes = vae.quantize(latents)[2][2].reshape(len(latents), *latents.shape[2:])  # (N, h, w)""",
        (MODEL, VAE),
    ),
    "tokens out of place": Cure(
        "`vae.quantize` returns the indices of all images in one row, in the order images, rows, columns. Reshape them "
        "to (N, h, w); to decode, give `get_codebook_entry` the shape (N, h, w, D).",
        """\
latents = vae.encode(frames).latents
count, depth, rows, columns = latents.shape
codes = vae.quantize(latents)[2][2].reshape(count, rows, columns)
vectors = vae.quantize.get_codebook_entry(codes.flatten(), (count, rows, columns, depth))""",
        (VAE,),
    ),
    "levels too few": Cure(
        "Raise `num_vq_embeddings` (256 by default), or use one down block less, which gives a finer grid of tokens.",
        """\
from diffusers import VQModel
vae = VQModel(num_vq_embeddings=1024, latent_channels=64, vq_embed_dim=8)""",
        (MODEL,),
    ),
    "dimensional collapse": Cure(
        "Train as an autoencoder first: `decode` with `force_not_quantize=True` leaves the quantizer out. Then write "
        "latents into `vae.quantize.embedding` and train on with quantizing.",
        """\
latents = vae.encode(frames).latents
decoded = vae.decode(latents, force_not_quantize=True).sample
loss = torch.nn.functional.mse_loss(decoded, frames)""",
        (*WARM_UP, MODEL),
    ),
    "encoder and codebook drifted apart": Cure(
        "Add the quantizer's loss, which `decode` returns as `commit_loss`, to the training loss, and set "
        "`vae.quantize.legacy = False`, which weights its two terms as the paper does: as it stands the codebook's "
        "term has the small weight `beta`.",
        """\
vae.quantize.legacy = False
output = vae(frames)
loss = torch.nn.functional.mse_loss(output.sample, frames) + output.commit_loss.mean()""",
        (VAE, MODEL, "arXiv:1711.00937"),
    ),
    "encoder starved": Cure(
        "Raise `block_out_channels`, `layers_per_block` or `latent_channels` (64, 1 and 3 by default, which is tiny), "
        "or use one down block less.",
        """\
from diffusers import VQModel
vae = VQModel(
    block_out_channels=(128, 256), layers_per_block=2, latent_channels=64, vq_embed_dim=8, num_vq_embeddings=1024,
    down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
)""",
        (MODEL,),
    ),
    "inputs on another scale": Cure(
        "Give images in −1…1, as `VaeImageProcessor` with `do_normalize=True` makes them, and bring the decoded ones "
        "back with its `postprocess`.",
        """\
from diffusers.image_processor import VaeImageProcessor
frames = VaeImageProcessor(vae_scale_factor=4, do_normalize=True).preprocess(images)
assert frames.min() >= -1 and frames.max() <= 1""",
        (PROCESSOR,),
    ),
    "axes swapped": Cure(
        "Give images as (N, C, H, W): fold the frames of a video into N with `permute` and `flatten`, and unfold the "
        "codes in the same order.",
        """\
video = torch.rand(2, 3, 16, 64, 64)  # (B, C, T, H, W)
frames = video.permute(0, 2, 1, 3, 4).flatten(0, 1)  # (B·T, C, H, W)
codes = vae.quantize(vae.encode(frames).latents)[2][2].reshape(2, 16, -1)  # (B, T, h·w)""",
        (MODEL, "torch.permute, PyTorch documentation"),
    ),
    "first frames not reconstructed": Cure(
        "`VQModel` codes each frame by itself, so no number of frames is wrong for it. Check that reconstructions are "
        "not shifted against the clips by a frame, and that no frame was left out.",
        sources=(MODEL,),
    ),
    "lost in quantizing": Cure(
        "Try a larger `num_vq_embeddings` or one down block less, and a first part of training with "
        "`force_not_quantize=True`. If usage is low, treat it as a codebook collapse.",
        """\
decoded = vae.decode(vae.encode(frames).latents, force_not_quantize=True).sample""",
        (MODEL, *WARM_UP),
    ),
    "probe too weak": Cure(
        "Give more labelled clips, or the codebook's vectors, which are `vae.quantize.embedding.weight`.",
        'torch.save(vae.quantize.embedding.weight.detach(), "codebook.pt")',
        (VAE, "arXiv:1909.03368"),
    ),
}
