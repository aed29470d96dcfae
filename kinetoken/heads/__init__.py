"""Models that read codes or clips: classifiers, position, generator, predictor."""
