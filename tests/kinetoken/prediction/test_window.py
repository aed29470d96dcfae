"""What is given of a clip and what is predicted."""

from kinetoken.prediction.network import PredictorShape
from kinetoken.prediction.window import Window


def test_slices_and_frames_of_past_and_future_add_up_to_those_of_the_clip() -> None:
    window = Window(past_slices=1, future_slices=3, slice_frames=4)
    assert (window.slices, window.past_frames, window.future_frames) == (4, 4, 12)
    assert Window(past_slices=3, slice_frames=2).slices == 4, "one slice is predicted unless more are asked for"


def test_a_predictor_is_scored_on_the_window_that_it_was_made_for() -> None:
    shape = PredictorShape(
        grid=(4, 8, 8), levels=(8, 5, 5, 5), coordinates=4, codebook_size=1000, past_slices=2, future_slices=2,
        slice_frames=4, image_size=64, width=8, filters=2, lstm_width=8, transformer_width=8,
    )
    assert isinstance(shape, Window) and list(shape.prefixes) == [2, 3]
    assert (shape.past_frames, shape.future_frames) == (8, 8)
