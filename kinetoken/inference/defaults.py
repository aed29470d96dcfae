"""What `params.yaml` sets for the pipeline's own models, for where there is no `params.yaml`: tests keep the two alike.

Models hold no world: it is needed to draw tracks, and to tell seconds and metres where clips do not say how they were
drawn. A clip store does say (`open_clips(..., scene=ClipStore(path).scene)`).
"""

from kinetoken.footage.windows import FRAMES
from kinetoken.physics.fitting import Priors
from kinetoken.physics.world import World
from kinetoken.scenes.rendering import Look, Scene

FPS = 16.0
LOOK_SEED, NOISE_SEED = 17, 5  # of colour and light of a user's tracks, and of noise where a scene has some

MOTION = Scene(
    World(floor_y=-1.15, near=2.0, far=5.0, ball_radius=0.2, fps=FPS, num_frames=FRAMES),
    Look(image_size=64, shadow=0.09),
)
PRIORS: Priors = {"speed": (1.55, 0.6), "radius": (0.375, 0.13), "pitch": (0.8, 0.13), "gravity": (5.65, 2.4)}
INDEPENDENCE = 0.5  # share of the points' errors that are independent, see `physics.fitting.choose_law`
