"""Cures for this project's own pipeline, as commands that set its params.

Those whose source is the fault-injection study set the params that it retrained with. A param that params.yaml does not
list is added with `+`: without it DVC refuses.
"""

from kinetoken.diagnosis.cure_tables.entry import Cure, Cures
from kinetoken.diagnosis.cure_tables.pytorch import STUDY

EXTRACT = "dvc repro --force extract_codes@motion"
CAPACITY = Cure(
    "Give the encoder more capacity or a finer grid of tokens.",
    """\
dvc exp run -S train_tokenizer.network.fine_channels=96 -S train_tokenizer.network.coarse_channels=144""",
    (STUDY,),
)

OWN: Cures = {
    "quantizer bypassed": Cure(
        "Use the quantized codes and not the encoder's output: extract them again.", EXTRACT, (STUDY,)
    ),
    "codes of other clips": Cure(
        "Join codes and clips by `track_id` and not by their order, or extract the codes again.", EXTRACT, (STUDY,)
    ),
    "tokens out of place": Cure(
        "Reshape the tokens in the order in which they were flattened (time, rows, columns), or extract the codes "
        "again.", EXTRACT, (STUDY,),
    ),
    "codes of another tokenizer": Cure("Extract the codes again with this tokenizer.", EXTRACT, (STUDY,)),
    "codes differ between runs": Cure(
        "Extract the codes again, each time with the same number of threads: results repeat to the bit only then.",
        EXTRACT, ("params.yaml, Kinetoken",),
    ),
    "codebook collapse": Cure(
        "Start the codebook from k-means and restart its dead codes, or use FSQ, whose codebook is fixed. If the "
        "encoder itself starts far away from 0, neither is enough: start it around 0.",
        """\
dvc exp run -S +train_tokenizer.quantizer.kmeans_start=true -S +train_tokenizer.quantizer.dead_code_threshold=0.1
dvc exp run -S train_tokenizer.quantizer.kind=fsq""",
        (STUDY,),
    ),
    "levels too few": Cure(
        "Use more levels or a larger codebook.",
        """\
dvc exp run -S 'train_tokenizer.quantizer.levels=[32,32]'
dvc exp run -S train_tokenizer.quantizer.codebook_size=1024""",
        (STUDY,),
    ),
    "dimensional collapse": Cure(
        "Train again with a contrastive term, which keeps the encoder's directions apart.",
        "dvc exp run -S +train_tokenizer.quantizer.contrastive=0.002", (STUDY,),
    ),
    "encoder and codebook drifted apart": Cure(
        "Train encoder and codebook together again with a commitment term, or restore the encoder that belongs to the "
        "codebook.",
        "dvc exp run -S +train_tokenizer.quantizer.commitment=0.25 -S +train_tokenizer.quantizer.decay=0.9", (STUDY,),
    ),
    "loss dominated by background": Cure(
        "Weight the loss towards the foreground that moves, and vary the background less.",
        "dvc exp run -S train_tokenizer.loss.foreground=12 -S train_tokenizer.augmentation.background=0.1", (STUDY,),
    ),
    "encoder starved": CAPACITY,
    "lost in the encoder": CAPACITY,
    "undertrained": Cure(
        "Train longer, or raise the learning rate.", "dvc exp run -S train_tokenizer.epochs=44", (STUDY,)
    ),
    "pooling drops position": Cure(
        "Keep the grid: pool by soft-argmax over each time slice, or attend over all tokens.",
        "dvc exp run -S 'train_classifier.poolings=[soft_argmax]'", (STUDY,),
    ),
    "too little data": Cure(
        "Use more clips.", "dvc exp run -S generate_trajectories.motion.counts.train=3840", (STUDY,)
    ),
    "labels not separable in pixels": Cure(
        "Change the scene or the labels: no tokenizer can keep what the video does not show. Helices that look like "
        "circles need a larger pitch.",
        "dvc exp run -S 'generate_trajectories.motion.pitch=[0.6,1.0]'", (STUDY,),
    ),
    "codes of NaN": Cure(
        "Train in 32 bits and with a lower learning rate.",
        "dvc exp run -S hardware.precision=32-true -S train_tokenizer.learning_rate=0.001",
        ("params.yaml, Kinetoken",),
    ),
    "first frames not reconstructed": Cure(
        "This tokenizer takes a multiple of 4 frames and codes none alone: render as many, and compare reconstructions "
        "with the same frames.",
        "dvc exp run -S generate_trajectories.motion.world.num_frames=16",
        ("kinetoken/tokenizer/network.py, Kinetoken",),
    ),
}
