"""What each headline of `kinetoken.report.headline` measures, said in a few words for readers of a page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """What a headline measures, and what its baseline and its upper bound are."""

    measured: str
    baseline: str = ""
    upper_bound: str = ""


FREQUENT = "most frequent class"
GROUPS = {
    "train_tokenizer": "Reconstruction",
    "train_baselines": "What the class can be read from",
    "train_classifier": "Reading the class from codes",
    "train_position": "Reading positions from codes",
    "train_predictor": "Predicting frames",
    "train_generator": "Generating clips",
    "train_i3d_magvit": "Frames and codes together",
    "train_gasm_cast": "Actions",
    "detect_persistence": "Early decisions",
    "describe_motion": "Laws of motion",
}
WORDS = {
    "train_tokenizer.psnr_db": Words(
        "Peak signal-to-noise ratio of the decoded clips.", "mean training video"
    ),
    "train_tokenizer.foreground_psnr_db": Words("Signal-to-noise ratio of the ball's pixels.", "mean training video"),
    "train_tokenizer.centroid_error_px": Words(
        "Distance between the ball's true centre and its centre in the decoded frame.", "mean training video",
        "original clips",
    ),
    "train_baselines.coordinates.accuracy": Words("Accuracy of decision trees on the true 3-D path.", FREQUENT),
    "train_baselines.video.accuracy": Words("Accuracy of a network on the original clips.", FREQUENT, "true positions"),
    "train_baselines.first_frame.accuracy": Words(
        "A network that sees one frame. It should stay at the baseline.", FREQUENT
    ),
    "train_baselines.nuisance.accuracy": Words(
        "Trees on what is drawn in the same way for every class. They should stay at the baseline.", FREQUENT
    ),
    "train_classifier.accuracy": Words(
        "Accuracy of the classifier whose pooling keeps positions (`soft_argmax`).", FREQUENT, "pixels"
    ),
    "train_classifier.per_class.*": Words("Accuracy of that classifier on the class that it reads worst."),
    "train_classifier.pooling.spatial_mean.accuracy": Words(
        "The same codes and classifier, but the codes of each time slice are averaged over space.", FREQUENT,
        "position kept",
    ),
    "train_position.error_px": Words("Distance to the true centre, in the image.", "mean training position"),
    "train_position.error_depth_percent": Words(
        "Error of the distance from the camera, relative to that distance.", "mean training position"
    ),
    "train_predictor.transformer.centroid_error_px": Words(
        "The last quarter of a clip is predicted from the codes of the first three. Distance between the true centre "
        "and the centre in the decoded prediction.", "best of four extrapolations", "true codes, decoded"
    ),
    "train_predictor.lstm.centroid_error_px": Words(
        "The same with an LSTM.", "best of four extrapolations", "true codes, decoded"
    ),
    "train_predictor.transformer.error_over_oracle": Words(
        "The transformer's error divided by that of a least-squares fit that knows the law."
    ),
    "train_predictor.transformer.ood_ratio": Words(
        "Relative velocity error on the split `ood` divided by that on the test split, over the same ratio of the fit "
        "that knows the law."
    ),
    "train_generator.masked.class_match": Words(
        "Share of generated clips in which the pixel classifier finds the requested class.",
        "generator that ignores the class", "real clips through the tokenizer",
    ),
    "train_generator.masked.coverage": Words(
        "Share of real motions that have a generated motion among their nearest neighbours.", "one repeated mean path",
        "real against real clips",
    ),
    "train_generator.masked.memorised": Words(
        "Share of generated motions that are nearer to a training clip than 99 % of real test clips are.",
        "new clips, by definition", "real clips through the tokenizer",
    ),
    "train_i3d_magvit.accuracy": Words("Accuracy of a network that reads frames and codes.", FREQUENT),
    "train_i3d_magvit.per_class.*": Words("Accuracy on the class that it reads worst."),
    "train_i3d_magvit.without_frames.accuracy": Words("The same network without frames.", FREQUENT),
    "train_i3d_magvit.frames_alone.place_px": Words(
        "Distance to the true centre, read from frames without codes.", "mean training position"
    ),
    "train_i3d_magvit.forecast_mae_percent": Words(
        "Mean absolute error of a coordinate, relative to the diagonal of the box around the track.",
        "best of three rules on the true past",
    ),
    "train_i3d_magvit.forecast_rmse_percent": Words(
        "Root mean square of the same.", "best of three rules on the true past"
    ),
    "train_gasm_cast.top1": Words(
        "Accuracy on rendered actions in pairs; one of a pair is the other played backwards.", FREQUENT
    ),
    "train_gasm_cast.within_pairs": Words(
        "Of clips whose pair is right, the share whose direction is right.", "chance"
    ),
    "train_gasm_cast.order_blind.top1": Words("A variant that cannot see the order of frames.", FREQUENT),
    "train_gasm_cast.order_blind.within_pairs": Words(
        "Direction of that variant. It should stay at the baseline.", "chance"
    ),
    "detect_persistence.transformer.accuracy": Words(
        "Share of right decisions; the network stops when it is sure.", "one answer for all"
    ),
    "detect_persistence.transformer.early_stop_rate": Words("Share of candidates decided before the last frame."),
    "detect_persistence.transformer.compute_saved": Words(
        "Multiply-adds that are not executed because of early stops."
    ),
    "detect_persistence.transformer.harmonic_mean": Words("Earliness is the share of the clip that was not watched."),
    "detect_persistence.transformer.ece": Words(
        "Expected calibration error at the decision.", "", "perfectly calibrated model"
    ),
    "detect_persistence.transformer.regret": Words(
        "Extra cost of its decisions (errors and frames watched), in points of 100."
    ),
    "detect_persistence.transformer.attention_ratio": Words(
        "Attention weight on the candidate, relative to equal weights everywhere.", "equal weights"
    ),
    "detect_persistence.magvit.accuracy": Words("The same task from codes.", "one answer for all"),
    "detect_persistence.control.first_frame.accuracy": Words("It should be at 50 %."),
    "detect_persistence.control.metadata.accuracy": Words("It should be at 50 %."),
    "describe_motion.equation_correct_true_points": Words(
        "Share of equations, fitted to the first three quarters of the true path, that hold on the last quarter.",
        "constant position or velocity",
    ),
    "describe_motion.equation_correct": Words(
        "Share of equations, fitted to positions read from the codes of a clip's first three quarters, that hold on "
        "the last quarter.", "constant position or velocity", "true law fitted to the same positions"
    ),
    "describe_motion.description_correct": Words(
        "Share of clips whose sentence states every fact correctly.", "most common facts for every clip"
    ),
}
