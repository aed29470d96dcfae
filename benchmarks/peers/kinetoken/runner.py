"""Kinetoken's tokenizer for so many seconds: params of params.yaml, as many steps as a warm-up says will fit."""

import copy
import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.exchange import Data, Training, clock, code_clips, peak_mib, runner_options
from kinetoken.core.params import load_params
from kinetoken.core.progress import Progress
from kinetoken.core.stage import CPU, Context
from kinetoken.tokenizer.network import Tokenizer
from kinetoken.tokenizer.training_clips import ClipBatches, TokenizerParams, training_step
from kinetoken.training.loop import Batch, fabric_device, fit, with_cpu_precision
from kinetoken.training.muon import muon_and_adamw

WARM_UP = (10, 40)  # steps: the first ones are slow, so both lengths are timed and the difference counts


class Laps:
    """So many steps as one epoch: `length` items, lap after lap over the batches' own."""

    def __init__(self, batches: ClipBatches, length: int) -> None:
        self.batches, self.length = batches, length

    def __len__(self) -> int:
        return self.length

    def gather(self, indices: np.ndarray, done: float = 0.0) -> Batch:
        return self.batches.gather(indices % len(self.batches), done)


def train(data: Data, params: TokenizerParams, seconds: float) -> tuple[Tokenizer, Training]:
    """A tokenizer, trained by the stage's own loop, whose schedule ends after about so many seconds."""
    hardware = with_cpu_precision(dataclasses.replace(CPU, precision="auto", threads=1), params.cpu_precision)
    fabric_device(hardware)
    torch.manual_seed(params.seed)
    tokenizer = Tokenizer(params.network, params.quantizer, data.train.shape[2])
    background = torch.from_numpy(data.background)
    tokenizer.background.copy_(background)
    step = training_step(params)
    batches, params = ClipBatches(data.train, background, params.windows), dataclasses.replace(params, epochs=1)

    def timed(module: Tokenizer, steps: int) -> float:
        start = clock()
        laps = Laps(batches, steps * params.batch_size)
        fit(module, step, laps, params, Context(Progress.silent(), hardware), optimizers=muon_and_adamw(params))
        return clock() - start

    short, long = (timed(copy.deepcopy(tokenizer), steps) for steps in WARM_UP)
    per_step = (long - short) / (WARM_UP[1] - WARM_UP[0])
    steps = max(1, round(seconds / per_step))
    spent = timed(tokenizer, steps)
    parameters = sum(p.numel() for p in tokenizer.parameters())
    clips = steps * params.windows.whole_clips(params.batch_size, data.train.shape[2])  # windows by their pixels
    return tokenizer, Training(spent, clips, parameters, peak_mib())


def main() -> None:
    options = runner_options(__doc__).parse_args()
    data = Data.load(options.data)
    params = load_params(options.params, "train_tokenizer", TokenizerParams)
    tokenizer, training = train(data, dataclasses.replace(params, seed=options.seed), options.seconds)

    def encode(clips: NDArray[np.uint8]) -> NDArray[np.int32]:
        return tokenizer.encode(torch.from_numpy(clips)).numpy().astype(np.int32)

    def decode(codes: NDArray[np.int32]) -> NDArray[np.float16]:
        return tokenizer.decode(torch.from_numpy(codes).long()).numpy().astype(np.float16)

    code_clips(data.test, encode, decode, tokenizer.codebook_size, training).save(options.out)


if __name__ == "__main__":
    main()
