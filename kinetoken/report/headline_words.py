"""What each headline of `kinetoken.report.headline` measures, in plain words for readers who do not know the code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Meaning:
    """What a headline measures, and what its baseline and its upper bound are.

    Each row has to be understood without the code, and without the other rows unless its title begins with `…`.
    """

    measured: str
    baseline: str = ""
    upper_bound: str = ""


FREQUENT = "most frequent class"
MEAN_CLIP = "mean of all training clips"
MEAN_POSITION = "mean training position"
EXTRAPOLATED = "best of extrapolation, ridge regression and the best-fitting law, on the tracked ball"
DECODED = "decoded from the true codes"
RULES = "best of seven forecasts, six from the true past and one from the network's own reading of it"
ONE_ANSWER = "same answer for every clip"
CONSTANT = "position or velocity assumed constant, or a quadratic"
GROUPS = {
    "train_tokenizer": "Reconstruction",
    "train_baselines": "Class from other inputs than codes, for comparison",
    "train_classifier": "Class from codes",
    "explain_classifier": "Which tokens carried the class",
    "train_position": "Ball position from codes",
    "train_predictor": "Predicting frames",
    "train_generator": "Generating clips",
    "train_i3d_magvit": "Frames and codes together",
    "train_gasm_cast": "Actions",
    "detect_persistence": "Early decisions",
    "describe_motion": "Equations of motion",
}
WORDS = {
    "train_tokenizer.psnr_db": Meaning("Peak signal-to-noise ratio of the decoded clips.", MEAN_CLIP),
    "train_tokenizer.foreground_psnr_db": Meaning("The same, on the ball's pixels only.", MEAN_CLIP),
    "train_tokenizer.centroid_error_px": Meaning(
        "Distance between the ball's true centre and its centre in the decoded frame.", MEAN_CLIP,
        "original clips, same measurement",
    ),
    "train_baselines.coordinates.accuracy": Meaning(
        "Accuracy of decision trees that are given the true 3-D path.", FREQUENT
    ),
    "train_baselines.law_fit.accuracy": Meaning(
        "All laws are fitted to the test clips' true positions with 0.15 pixels of noise, about what a reader of the "
        "clips gets wrong, and the best one by the Bayesian information criterion is taken. A reader that also "
        "knows which motions are frequent does better.", FREQUENT
    ),
    "train_baselines.video.accuracy": Meaning(
        "Accuracy of a network that is given the original clips.", FREQUENT, "classifier on true positions"
    ),
    "train_baselines.first_frame.accuracy": Meaning(
        "Accuracy of a network that is given one frame. One frame does not show the motion, so it should stay at the "
        "baseline.", FREQUENT
    ),
    "train_baselines.nuisance.accuracy": Meaning(
        "Accuracy of decision trees that are given only these properties. They have the same distribution in every "
        "class, so it should stay at the baseline.", FREQUENT
    ),
    "train_classifier.accuracy": Meaning(
        "Accuracy of the default classifier, whose pooling keeps positions (`soft_argmax`).", FREQUENT,
        "classifier on true positions",
    ),
    "train_classifier.per_class.*": Meaning("Accuracy of the same classifier on the class with the lowest accuracy."),
    "train_classifier.pooling.cell_mean.accuracy": Meaning(
        "The same codes and classifier, but what it learns of each code is averaged over space and standardised: all "
        "that differs is the average.", FREQUENT, "position kept",
    ),
    "train_classifier.pooling.spatial_mean.accuracy": Meaning(
        "The averages are of the codes' coordinates and not standardised, as in the pipeline whose failure started "
        "this project. Much of the loss is then one of scale.", FREQUENT, "position kept",
    ),
    "train_classifier.novelty.auroc": Meaning(
        "Random walks, bounces, two balls, still balls, empty rooms and pixel noise are drawn as the test clips are. "
        "Probability that a strange clip gets a higher novelty score than a test clip, mean over the six kinds.",
        "the classifier's own confidence",
    ),
    "train_classifier.novelty.false_alarms": Meaning(
        "Share of test clips that the score calls unlike the training data. By its calibration it should be at most "
        "`novelty_level`, 1 %.",
    ),
    "explain_classifier.on_ball.attributed": Meaning(
        "Share of the classifier's attributions (integrated gradients) that lies on tokens which meet the ball.",
        "equal attributions everywhere",
    ),
    "explain_classifier.deletion.attributed": Meaning(
        "Accuracy of the same classifier when the tokens with the largest attributions are replaced by an average, as "
        "many as meet the ball. Lower is better.", "as many random tokens replaced",
    ),
    "explain_classifier.rank_correlation.signed": Meaning(
        "Rank correlation with the attributions of an untrained network, over the tokens of a clip. It should stay at "
        "the baseline.", "unrelated attributions",
    ),
    "explain_classifier.rank_correlation.random_weights": Meaning(
        "The same without signs. It is high if both networks have small attributions where all clips look alike.",
        "unrelated attributions",
    ),
    "train_position.error_px": Meaning("Distance to the ball's true centre in the image.", MEAN_POSITION),
    "train_position.error_depth_percent": Meaning(
        "Error of the ball's depth (distance along the camera axis), relative to the true depth.", MEAN_POSITION
    ),
    "train_predictor.transformer.centroid_error_px": Meaning(
        "A transformer predicts the codes of a clip's last quarter from those of its first three quarters. The error "
        "is the distance between the ball's true centre and its centre in the decoded prediction.", EXTRAPOLATED,
        DECODED,
    ),
    "train_predictor.lstm.centroid_error_px": Meaning("The same with an LSTM.", EXTRAPOLATED, DECODED),
    "train_predictor.transformer.error_over_oracle": Meaning(
        "The transformer's error divided by the error of a least-squares fit that is given the clip's law of motion."
    ),
    "train_predictor.transformer.ood_ratio": Meaning(
        "The same on clips outside the training ranges (split `ood`)."
    ),
    "train_predictor.transformer.mse_ratio_to_reconstruction": Meaning(
        "Mean squared error of the predicted frames, divided by that of the same frames decoded from their true codes."
    ),
    "train_generator.masked.class_match": Meaning(
        "Share of generated clips that the classifier on pixels assigns to the requested class.",
        "generator that ignores the class", "real clips, encoded and decoded",
    ),
    "train_generator.masked.lawful": Meaning(
        "Share of generated clips whose ball fits the requested law as well as 95 % of real clips do.",
        "paths drawn from a Gaussian of each class", "one half of the real clips against the other",
    ),
    "train_generator.masked.coverage": Meaning(
        "Share of real motions that have a generated motion among their nearest neighbours.",
        "paths drawn from a Gaussian of each class", "one half of the real clips against the other",
    ),
    "train_generator.masked.memorised": Meaning(
        "Share of generated motions that are closer to a training clip than 99 % of real test clips are. Motions that "
        "are not copied score about 1 %.", "1 % by definition", "real clips, encoded and decoded",
    ),
    "train_i3d_magvit.accuracy": Meaning(
        "Accuracy of one network that is given frames and codes.", FREQUENT, "classifier on true positions"
    ),
    "train_i3d_magvit.per_class.*": Meaning("Accuracy of this network on the class with the lowest accuracy."),
    "train_i3d_magvit.without_frames.accuracy": Meaning(
        "Accuracy of the same network when it is given codes but no frames.", FREQUENT
    ),
    "train_i3d_magvit.frames_alone.place_px": Meaning(
        "Distance to the ball's true centre, when the network is given frames but no codes.", MEAN_POSITION
    ),
    "train_i3d_magvit.forecast_mae_percent": Meaning(
        "Mean absolute error of the predicted coordinates, relative to the diagonal of the box around the track.", RULES
    ),
    "train_i3d_magvit.forecast_rmse_percent": Meaning(
        "Root mean square of the same errors.", RULES
    ),
    "train_gasm_cast.top1": Meaning(
        "Accuracy on 14 rendered actions in 7 pairs. One action of a pair is the other played backwards.", FREQUENT
    ),
    "train_gasm_cast.within_pairs": Meaning(
        "Share of clips with the right direction, among the clips with the right pair.", "chance"
    ),
    "train_gasm_cast.order_blind.top1": Meaning("Accuracy of a variant that cannot see the order of frames.", FREQUENT),
    "train_gasm_cast.order_blind.within_pairs": Meaning(
        "The same for that variant. It should stay at the baseline.", "chance"
    ),
    "detect_persistence.transformer.accuracy": Meaning(
        "A network watches a moving candidate frame by frame, stops when it is sure, and says whether the candidate is "
        "persistent or transient. Share of right decisions; this network reads pixels.", ONE_ANSWER
    ),
    "detect_persistence.transformer.early_stop_rate": Meaning("Share of candidates decided before the last frame."),
    "detect_persistence.transformer.compute_saved": Meaning(
        "Share of multiply-adds that are not executed because the network stops early."
    ),
    "detect_persistence.transformer.harmonic_mean": Meaning(
        "Earliness is the share of the clip that was not watched. 1 is best."
    ),
    "detect_persistence.transformer.ece": Meaning(
        "Expected calibration error of the confidence at the decision.", "", "perfectly calibrated network, same clips"
    ),
    "detect_persistence.transformer.regret": Meaning(
        "A decision costs 100 points if it is wrong, and a smaller amount for each frame watched. Regret is the mean "
        "cost minus the mean cost of the best rule.", "all candidates decided at one frame, chosen on validation clips"
    ),
    "detect_persistence.transformer.gain_over_fixed": Meaning(
        "Mean cost of deciding all candidates at one frame, the best on validation clips, minus the network's."
    ),
    "detect_persistence.transformer.attention_ratio": Meaning(
        "Mean attention weight on the candidate, relative to equal weights everywhere. The losses on position and "
        "presence train the attention, so a high ratio is expected.", "equal weights"
    ),
    "detect_persistence.control.unsupervised_attention.attention_ratio": Meaning(
        "The same ratio of a network on codes that was trained without the losses on position and presence.",
        "equal weights"
    ),
    "detect_persistence.magvit.accuracy": Meaning("The same task from codes.", ONE_ANSWER),
    "detect_persistence.control.first_frame.accuracy": Meaning(
        "Accuracy of a classifier that is given one frame. It should stay at chance, 50 %."
    ),
    "detect_persistence.control.metadata.accuracy": Meaning(
        "Accuracy of a classifier that is given what is known without the pixels (length, file size, colour, depth and "
        "the like). It should stay at chance, 50 %."
    ),
    "detect_persistence.control.shuffled_labels.accuracy": Meaning(
        "Accuracy on the true labels of networks that were trained on random ones, the second on the opposite of the "
        "first's. It should stay at chance, 50 %."
    ),
    "describe_motion.equation_correct_true_points": Meaning(
        "Equations of motion are fitted to the first three quarters of the true path. Share of clips whose equations "
        "also hold on the last quarter.", CONSTANT
    ),
    "describe_motion.equation_correct": Meaning(
        "Equations of motion are fitted to positions that are predicted from the codes of the first three quarters. "
        "Share of clips whose equations also hold on the last quarter.", CONSTANT,
        "the same fit, given the true law's name"
    ),
    "describe_motion.description_correct": Meaning(
        "Share of clips whose generated sentence states every fact (law, direction and the like) correctly.",
        "most common facts for every clip",
    ),
}
