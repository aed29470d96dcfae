"""Cures for magvit2-pytorch's `VideoTokenizer`: read in its source of commit 3125800, its README and issues.

In the examples `layers` are those of the user's tokenizer, `tokenizer` is it, and `video` (B, C, T, H, W) one batch.
"""

from kinetoken.diagnosis.cure_tables.entry import Cure, Cures
from kinetoken.diagnosis.cure_tables.pytorch import WARM_UP

SOURCE = "magvit2_pytorch/magvit2_pytorch.py, lucidrains/magvit2-pytorch"
README = "README, lucidrains/magvit2-pytorch"
DATA = "magvit2_pytorch/data.py, lucidrains/magvit2-pytorch"
ENTROPY = (
    "issue 88, lucidrains/vector-quantize-pytorch", "issue 4, lucidrains/magvit2-pytorch", "arXiv:2310.05737",
)

MAGVIT2: Cures = {
    "codebook collapse": Cure(
        "Raise `lfq_entropy_loss_weight` (0.1 by default) and `lfq_diversity_gamma`, which reward an even use of the "
        "codes. Or use `use_fsq=True` with `fsq_levels` instead of `codebook_size`, with which some users had better "
        "results.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer(image_size=128, layers=layers, use_fsq=True, fsq_levels=[8, 5, 5, 5])""",
        (SOURCE, "issue 17, lucidrains/magvit2-pytorch", *ENTROPY),
    ),
    "dead codebooks": Cure(
        "Use fewer `num_codebooks`, or raise `lfq_entropy_loss_weight`: each codebook has an entropy term of its own.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer(image_size=128, layers=layers, codebook_size=1024, num_codebooks=1)""",
        (SOURCE,),
    ),
    "indices rounded by low precision": Cure(
        "Keep the indices that `tokenize` returns as int32 or int64, and never cast them to the model's dtype. Upgrade "
        "vector-quantize-pytorch, whose FSQ and LFQ compute in float32 since `force_quantization_f32=True` is their "
        "default.",
        "codes = tokenizer.tokenize(video).long()",
        ("issue 114, lucidrains/vector-quantize-pytorch",),
    ),
    "codes of NaN": Cure(
        "Go back to a checkpoint from before and train with a lower learning rate and clipped gradients. Keep "
        "`lfq_soft_clamp_input_value=10.` (the default), which bounds what enters LFQ.",
        """\
latents = tokenizer.encode(video)
assert torch.isfinite(latents).all()""",
        (SOURCE, "pull request 85, lucidrains/vector-quantize-pytorch"),
    ),
    "codes differ between runs": Cure(
        "Extract with `tokenize`, which puts the tokenizer into eval mode, and always from the same of the two sets of "
        "weights: `trainer.ema_tokenizer`, or the tokenizer that was trained.",
        "codes = trainer.ema_tokenizer.tokenize(video)",
        (SOURCE, README),
    ),
    "usage fell during training": Cure(
        "Take the checkpoint from before the fall and train on with a larger `lfq_entropy_loss_weight` or "
        "`lfq_diversity_gamma` (0.1 and 2.5 by default), or with `use_fsq=True`, which has no such term. The authors "
        "of LFQ anneal the entropy weight where the vocabulary is large.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer(
    image_size=128, layers=layers, codebook_size=1024, lfq_entropy_loss_weight=0.2, lfq_diversity_gamma=2.5,
)""",
        (SOURCE, "issue 154, lucidrains/vector-quantize-pytorch", *ENTROPY),
    ),
    "quantizer bypassed": Cure(
        "`encode(video)` returns latents before the quantizer, because its `quantize=False` is the default. Save what "
        "`tokenize(video)` returns.",
        "codes = tokenizer.tokenize(video)  # (B, T', H', W')",
        (SOURCE, README),
    ),
    "tokens out of place": Cure(
        "`decode_from_code_indices` takes flattened codes in the order frames, rows, columns. Flatten the grid that "
        "`tokenize` returns in this order.",
        """\
codes = tokenizer.tokenize(video)  # (B, T', H', W')
decoded = tokenizer.decode_from_code_indices(codes.flatten(1))""",
        (SOURCE,),
    ),
    "codes of another tokenizer": Cure(
        "Encode and decode with the same weights: `trainer.ema_tokenizer` is not the tokenizer that was trained. Load "
        "with `VideoTokenizer.init_and_load_from`, which also restores the settings.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer.init_and_load_from("tokenizer.pt")
codes = tokenizer.tokenize(video)""",
        (SOURCE, README),
    ),
    "levels too few": Cure(
        "Raise `codebook_size` (a power of two), or with `use_fsq=True` the `fsq_levels`, or use more `num_codebooks`.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer(image_size=128, layers=layers, codebook_size=2**14)""",
        (SOURCE, "arXiv:2310.05737"),
    ),
    "dimensional collapse": Cure(
        "Train as an autoencoder first: `decode(encode(video))` leaves the quantizer out. Switch to the tokenizer's "
        "own loss when the latents use many directions.",
        """\
latents = tokenizer.encode(video)  # not quantized
loss = torch.nn.functional.mse_loss(tokenizer.decode(latents), video)""",
        (*WARM_UP, SOURCE),
    ),
    "encoder and codebook drifted apart": Cure(
        "Raise `lfq_commitment_loss_weight` (1 by default) or `quantizer_aux_loss_weight`, and train encoder and "
        "quantizer together again.",
        """\
from magvit2_pytorch import VideoTokenizer
tokenizer = VideoTokenizer(image_size=128, layers=layers, codebook_size=1024, lfq_commitment_loss_weight=2.0)""",
        (SOURCE,),
    ),
    "encoder starved": Cure(
        "Raise `init_dim` or `max_dim`, add `('consecutive_residual', 2)` to `layers`, or take out a "
        "`'compress_space'` or `'compress_time'`, which gives a finer grid of tokens.",
        """\
from magvit2_pytorch import VideoTokenizer
layers = ("residual", "compress_space", ("consecutive_residual", 2), "compress_space", "compress_time", "attend_time")
tokenizer = VideoTokenizer(image_size=128, layers=layers, codebook_size=1024, init_dim=64, max_dim=512)""",
        (SOURCE, README),
    ),
    "undertrained": Cure(
        "Raise `num_train_steps` of `VideoTokenizerTrainer`: its README trains for 1,000,000 steps, and a few hundred "
        "are far too few.",
        """\
from magvit2_pytorch import VideoTokenizerTrainer
trainer = VideoTokenizerTrainer(
    tokenizer, dataset_folder="videos", dataset_type="videos", batch_size=4, grad_accum_every=8,
    num_train_steps=100_000,
)""",
        (README, "issue 7, lucidrains/magvit2-pytorch"),
    ),
    "inputs on another scale": Cure(
        "Give clips of one range in training and in extraction, such as 0…1, and check it on a batch. The library's "
        "reader of mp4 files returned 0…255 in early versions and divides by 255 since.",
        "assert 0 <= video.min() and video.max() <= 1",
        (DATA, "issue 7, lucidrains/magvit2-pytorch"),
    ),
    "first frames not reconstructed": Cure(
        "Give 1 + k·s frames, where s is `time_downsample_factor` (times two for each `'compress_time'`): s − 1 empty "
        "frames are put before the first. `separate_first_frame_encoding=True` gives the first frame weights of its "
        "own.",
        """\
stride = tokenizer.time_downsample_factor
kept = 1 + (video.shape[2] - 1) // stride * stride
codes = tokenizer.tokenize(video[:, :, :kept])""",
        (SOURCE, "issue 30, lucidrains/magvit2-pytorch", "arXiv:2310.05737"),
    ),
    "axes swapped": Cure(
        "Give (B, C, T, H, W): the README's `torch.randn(1, 3, 17, 32, 32)`. Image files and most readers have "
        "channels last; bring them forward with `permute`.",
        "video = torch.rand(1, 17, 32, 32, 3).permute(0, 4, 1, 2, 3)  # (B, T, H, W, C) to (B, C, T, H, W)",
        (README,),
    ),
    "encoded in chunks": Cure(
        "Encode the clip in one call. If it must be cut, pass `video_contains_first_frame=False` for all pieces but "
        "the first: otherwise each begins with padding and a frame coded alone.",
        "codes = tokenizer(video, return_codes=True, video_contains_first_frame=False)",
        (SOURCE,),
    ),
}
