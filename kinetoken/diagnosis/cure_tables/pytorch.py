"""Cures in plain words and plain PyTorch: for a tokenizer of any origin, and where a library has no knob of its own.

In the examples `encoder`, `decoder` and `quantizer` are the user's own modules, `clips` (B, C, T, H, W) one batch,
`latents` (B, N, D) the encoder's output of it, `codebook` (K, D) a learned codebook and `codes` (B, T, H, W) indices.
"""

from kinetoken.diagnosis.cure_tables.entry import Cure, Cures

NUMERICS = "Numerical accuracy, PyTorch documentation"
REPRODUCIBILITY = "Reproducibility, PyTorch documentation"
EVAL = "torch.nn.Module, PyTorch documentation"
STUDY = "docs/notes/0006-ward.md, Kinetoken"
WARM_UP = ("arXiv:2605.06870", "arXiv:2603.22304")

PYTORCH: Cures = {
    "healthy": Cure("None needed."),
    # ---- how the codes are used
    "codebook collapse": Cure(
        "Start the codebook from k-means over the latents of many clips, and move codes that nothing chose onto random "
        "latents of the batch. Or use a quantizer whose codebook is fixed, such as FSQ.",
        """\
used = torch.bincount(codes.flatten(), minlength=len(codebook)) > 0
tokens = latents.flatten(0, 1)
with torch.no_grad():
    codebook[~used] = tokens[torch.randint(len(tokens), (int((~used).sum()),))]""",
        ("arXiv:2107.03312", "arXiv:2002.08111", "arXiv:2309.15505", STUDY),
    ),
    "dead codebooks": Cure(
        "Start each level's codebook from k-means over what the levels before it left over, and restart its unused "
        "codes. If what is left over is nearly 0, the later levels have nothing to code: use fewer of them.",
        sources=("arXiv:2107.03312", "arXiv:2401.14732"),
    ),
    "duplicate entries": Cure(
        "Start the codebook from at least as many different latents as it has codes, and move all but one of each "
        "group of equal codes onto other latents. Then count usage again: equal codes count as one.",
        """\
distinct = torch.unique((codebook / codebook.std()).round(decimals=2), dim=0)
print(f"{len(distinct)} different vectors among {len(codebook)} codes")""",
        ("arXiv:2112.00384",),
    ),
    "indices rounded by low precision": Cure(
        "Compute and keep indices as int32 or int64, and run the quantizer in float32. bfloat16 holds every whole "
        "number only up to 256, float16 up to 2048.",
        """\
with torch.autocast(device_type="cuda", enabled=False):
    quantized, indices = quantizer(latents.float())
codes = indices.long()""",
        ("issue 114, lucidrains/vector-quantize-pytorch",),
    ),
    "codes of NaN": Cure(
        "Find the first batch whose latents are not finite: a network that diverged gives NaN, and the nearest code to "
        "NaN is code 0. Go back to a checkpoint from before, clip the gradients, lower the learning rate and keep the "
        "quantizer in float32.",
        """\
if not torch.isfinite(latents).all():
    raise FloatingPointError("latents are not finite")
torch.nn.utils.clip_grad_norm_(encoder.parameters(), max_norm=1.0)""",
        (
            "torch.nn.utils.clip_grad_norm_, PyTorch documentation",
            "pull request 85, lucidrains/vector-quantize-pytorch",
        ),
    ),
    "codes differ between runs": Cure(
        "Put every module into eval mode before extracting codes: in training mode batch norm and dropout change with "
        "the batch, and a codebook of moving averages changes with each call. If a few tokens still differ, extract in "
        "float32 with deterministic algorithms.",
        """\
encoder.eval()
quantizer.eval()
torch.use_deterministic_algorithms(True)
with torch.inference_mode():
    quantized, indices = quantizer(encoder(clips))""",
        (EVAL, REPRODUCIBILITY),
    ),
    "codes depend on the batch": Cure(
        "Put every module into eval mode, so that batch norm uses its stored statistics, and check that nothing "
        "attends or normalizes across the clips of a batch. What is left is rounding: extract in float32, always with "
        "the same batch size.",
        """\
encoder.eval()
with torch.inference_mode():
    together, alone = encoder(clips), encoder(clips[:1])
print((together[:1] - alone).abs().max())  # more than rounding: the batch leaks in""",
        (EVAL, NUMERICS),
    ),
    "usage fell during training": Cure(
        "Take the checkpoint from before the fall, and train on with a lower learning rate, a stronger term for even "
        "use of the codes, or restarts of unused codes. With LFQ, weight the entropy term more and normalize the "
        "latents; with SimVQ, try a plain codebook or FSQ.",
        sources=(
            "issue 88, lucidrains/vector-quantize-pytorch", "pull request 89, lucidrains/vector-quantize-pytorch",
            "issue 212, lucidrains/vector-quantize-pytorch",
        ),
    ),
    "training counters differ": Cure(
        "Report usage as counted on the evaluation set, over all of its tokens. Counters kept during training see "
        "augmented clips, codes that have since moved, and one batch or a buffer at a time.",
        """\
used = torch.bincount(codes.flatten(), minlength=len(codebook)) > 0
print(f"{used.float().mean():.1%} of the codebook in {codes.numel()} tokens")""",
        ("issue 2, yfChang-cv/FVQ",),
    ),
    "drift over the file": Cure(
        "Extract all codes again with one checkpoint, in eval mode. If the clips themselves are sorted (by class, "
        "source or date), shuffle them, and draw the splits at random.",
        sources=(EVAL,),
    ),
    "part of the vocabulary unused": Cure(
        "Nothing is broken: these clips do not need the rest. If you train the tokenizer yourself, use a smaller "
        "codebook; with FSQ, iFSQ's activation 2·sigmoid(1.6·z) − 1 in place of tanh(z), with levels of equal width, "
        "makes the levels of normal latents about equally likely.",
        """\
levels = 5
bounded = 2 * torch.sigmoid(1.6 * latents) - 1
indices = ((bounded + 1) / 2 * levels).floor().clamp(max=levels - 1)
quantized = bounded + ((2 * indices + 1) / levels - 1 - bounded).detach()  # straight through""",
        ("arXiv:2601.17124",),
    ),
    "perplexity depends on the count": Cure(
        "State over how many tokens perplexity was counted, and compare only values of the same count. It grows with "
        "the count until there are many more tokens than codes.",
        """\
share = torch.bincount(codes.flatten(), minlength=len(codebook)).double() / codes.numel()
print(f"{torch.special.entr(share).sum().exp():.1f} over {codes.numel()} tokens")""",
        ("issue 2, yfChang-cv/FVQ",),
    ),
    "encoded in chunks": Cure(
        "Encode each clip in one pass if memory allows. If not, let a model of the codes know where each chunk begins: "
        "the first codes of a chunk were made without the frames before it.",
        sources=("issue 16, nvidia-cosmos/cosmos-predict1",),
    ),
    # ---- what the codes kept
    "quantizer bypassed": Cure(
        "Give the quantizer's indices, or its quantized vectors, not the encoder's output. If the tokenizer has a "
        "switch for quantizing, set it.",
        "quantized, indices = quantizer(latents)  # save `indices`",
        ("arXiv:1711.00937",),
    ),
    "codes of other clips": Cure(
        "Match codes and clips by an id, not by their order, and extract with `shuffle=False`. Or extract the codes "
        "again.",
        "loader = torch.utils.data.DataLoader(clips, batch_size=2, shuffle=False)",
        ("torch.utils.data, PyTorch documentation",),
    ),
    "tokens out of place": Cure(
        "Reshape the tokens in the order in which they were flattened: time, then rows, then columns. Channels must be "
        "the last axis before flattening, or the first one after batch when they are taken back.",
        """\
batch, time, rows, columns = codes.shape
tokens = codes.reshape(batch, time * rows * columns)
assert torch.equal(tokens.reshape(batch, time, rows, columns), codes)""",
        ("torch.Tensor.reshape, PyTorch documentation",),
    ),
    "codes of another tokenizer": Cure(
        "Extract the codes again with this very checkpoint, in eval mode. If training keeps averaged weights (EMA) "
        "beside the live ones, use the same of the two for encoding and decoding.",
        sources=(EVAL,),
    ),
    "levels too few": Cure(
        "Give a token more values: more levels or coordinates with FSQ, more bits with LFQ, a larger codebook with VQ. "
        "1,024 codes or more are usual.",
        sources=("arXiv:2309.15505", "arXiv:2310.05737"),
    ),
    "dimensional collapse": Cure(
        "Train encoder and decoder without the quantizer first, and switch it on when the latents use many directions, "
        "its codebook starting from k-means over them. A contrastive term between two noisy views of a clip also keeps "
        "the directions apart.",
        """\
for step, clips in enumerate(batches):
    latents = encoder(clips)
    quantized = latents if step < 1000 else quantizer(latents)[0]
    loss = torch.nn.functional.mse_loss(decoder(quantized), clips)""",
        (*WARM_UP, "arXiv:1807.03748", STUDY),
    ),
    "encoder and codebook drifted apart": Cure(
        "Train encoder and codebook together again, with a commitment loss that holds the latents near their codes and "
        "a codebook that follows faster. Or restore the encoder that belongs to this codebook.",
        """\
distance = torch.cdist(latents.flatten(0, 1), codebook)
nearest = codebook[distance.argmin(1)]
commitment = 0.25 * torch.nn.functional.mse_loss(latents.flatten(0, 1), nearest.detach())""",
        ("arXiv:1711.00937", "arXiv:2606.11363", STUDY),
    ),
    "loss dominated by background": Cure(
        "Weight the reconstruction loss towards what moves, and vary the background less between training clips.",
        """\
still = clips.median(dim=2, keepdim=True).values
weight = 1 + 12 * ((clips - still).abs() / 0.2).clamp(max=1)
error = (decoder(encoder(clips)) - clips).square()
loss = (weight * error).sum() / weight.sum()""",
        (STUDY,),
    ),
    "encoder starved": Cure(
        "Give the encoder more capacity (channels, blocks) or the codes a finer grid of tokens. Longer training alone "
        "does not help.",
        sources=("arXiv:2603.17052", STUDY),
    ),
    "undertrained": Cure(
        "Train longer, or raise the learning rate: the loss was still falling, or had hardly fallen, when training "
        "ended.",
        sources=(STUDY,),
    ),
    "pooling drops position": Cure(
        "Keep the grid of tokens: give a model all tokens with their positions (attention), or pool by the expected "
        "place of each channel (soft-argmax) instead of the mean.",
        """\
maps = features.flatten(-2).softmax(-1)  # (B, C, H·W) of features (B, C, H, W)
rows = torch.linspace(-1, 1, features.shape[-2]).repeat_interleave(features.shape[-1])
columns = torch.linspace(-1, 1, features.shape[-1]).repeat(features.shape[-2])
places = torch.stack([maps @ rows, maps @ columns], -1)  # (B, C, 2)""",
        ("arXiv:1509.06113", STUDY),
    ),
    "inputs on another scale": Cure(
        "Scale the clips to the range that the network was trained on, and check it right before the encoder. Most "
        "tokenizers take −1…1 or 0…1; files hold 0…255.",
        """\
pixels = torch.randint(256, clips.shape, dtype=torch.uint8)  # as files hold them
clips = pixels.float() / 127.5 - 1  # for a network of −1…1
assert clips.min() >= -1 and clips.max() <= 1""",
        ("issue 7, lucidrains/magvit2-pytorch", "cosmos_tokenizer/video_lib.py, NVIDIA/Cosmos-Tokenizer"),
    ),
    "axes swapped": Cure(
        "Bring the axes into the order that the tokenizer expects with `permute`, never with `reshape` or `view`, and "
        "check with a clip whose sizes all differ.",
        """\
frames_last = torch.rand(2, 16, 64, 48, 3)  # (B, T, H, W, C)
clips = frames_last.permute(0, 4, 1, 2, 3)  # (B, C, T, H, W)""",
        ("torch.permute, PyTorch documentation", "issue 82, lucidrains/vector-quantize-pytorch"),
    ),
    "first frames not reconstructed": Cure(
        "Give a causal video tokenizer 1 + k·s frames, where s is its stride in time: the first frame is coded alone. "
        "With another number the clip is padded, and the first frames of the reconstruction do not match.",
        """\
stride = 4
kept = 1 + (clips.shape[2] - 1) // stride * stride
clips = clips[:, :, :kept]  # 17 frames and not 16, 18 or 20""",
        (
            "arXiv:2310.05737", "issue 111, NVIDIA/cosmos", "issue 54, TencentARC/SEED-Voken",
        ),
    ),
    "lost in quantizing": Cure(
        "Try a larger codebook or more tokens a clip, and a start without the quantizer, which is switched on when the "
        "autoencoder works. If usage on what moves is low, treat it as a codebook collapse.",
        sources=("arXiv:2309.15505", *WARM_UP),
    ),
    "lost in the encoder": Cure(
        "Look at the encoder, not at the codebook: more channels or blocks, less downsampling in space and time, "
        "longer training, and a loss that weights what the labels describe.",
        sources=(STUDY,),
    ),
    "lost between pixels and codes": Cure(
        "Save the encoder's output before the quantizer for the same clips and examine again: it shows whether the "
        "encoder or the quantizer lost it.",
        """\
with torch.inference_mode():
    torch.save(encoder(clips), "latents.pt")""",
        ("torch.save, PyTorch documentation",),
    ),
    "probe too weak": Cure(
        "Give more labelled clips, or the codebook's vectors, so that probes need not learn every code by itself. A "
        "codebook without vectors and with more codes than clips cannot be read.",
        'torch.save(codebook, "codebook.pt")',
        ("arXiv:1909.03368",),
    ),
    # ---- what clips and labels allow to be said
    "too little data": Cure(
        "Use more labelled clips, most of all of the smallest class. With so few, neither the labels nor the codes can "
        "be blamed.",
        sources=(STUDY,),
    ),
    "labels not separable in pixels": Cure(
        "Change the labels or the clips: no tokenizer can keep what the video does not show. Check a few clips of the "
        "two classes that are confused by eye.",
        sources=(STUDY,),
    ),
    "class shows in still frames": Cure(
        "Nothing is broken, but these labels say little about motion: a single frame is enough to recognize them. For "
        "motion use labels that need several frames, such as direction, speed or order.",
        sources=("arXiv:1706.04261",),
    ),
}
