"""What the library takes where there is no params.yaml is what params.yaml says."""

from pathlib import Path

from kinetoken.core.params import load_params
from kinetoken.equations.params import DescribeMotion
from kinetoken.footage.folder import VideoDataset
from kinetoken.inference import defaults
from kinetoken.scenes.motion import Trajectories
from kinetoken.scenes.rendering import Scene

PARAMS = Path(__file__).parents[3] / "params.yaml"


def test_defaults_are_those_of_the_dataset_motion() -> None:
    tracks = load_params(PARAMS, "generate_trajectories.motion", Trajectories)
    drawn = load_params(PARAMS, "render_videos.motion", VideoDataset)
    assert Scene(tracks.world, drawn.look) == defaults.MOTION
    assert (tracks.seed, drawn.seed) == (defaults.LOOK_SEED, defaults.NOISE_SEED)
    assert (tracks.world.num_frames, tracks.world.fps) == (defaults.FRAMES, defaults.FPS)


def test_descriptions_are_fitted_as_the_stage_fits_them() -> None:
    params = load_params(PARAMS, "describe_motion", DescribeMotion)
    assert params.priors == dict(defaults.PRIORS) and params.independence == defaults.INDEPENDENCE
