"""The benchmark of the whole network, run at a tiny size."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import gasm_cast
from kinetoken.gasm_cast.full_size import FULL


@pytest.mark.parametrize("frozen", [False, True])
def test_rates_and_costs_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], frozen: bool
) -> None:
    tiny = dataclasses.replace(
        FULL,
        semantic=dataclasses.replace(FULL.semantic, image_size=32, frames=4, width=8, depth=1, heads=1),
        motion=dataclasses.replace(FULL.motion, image_size=32, frames=8, width=2, depths=(1, 1, 1, 1)),
        fusion=dataclasses.replace(
            FULL.fusion, heads=2, bottleneck=12, graph_width=8, patch_similar=2, segment_similar=1, maps=2
        ),
        views=dataclasses.replace(FULL.views, segments=8, short_side=32, crop=32),
    )
    section = json.loads(json.dumps(dataclasses.asdict(tiny)))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"train_gasm_cast": section}))
    words = f"gasm_cast --params {tmp_path}/params.yaml --classes 5 --batch 2 --rounds 1 --device cpu --train"
    monkeypatch.setattr(sys, "argv", [*words.split(), *(["--frozen"] if frozen else [])])
    gasm_cast.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["all", "semantic", "motion", "fusion"]
    assert (lines[2].split()[-1] == "0") == frozen
    assert [line.split(",")[0] for line in lines[7:]] == ["inference"] * 2 + ["training"] * 2
    assert float(lines[8].split("within ")[1].split()[0]) < 0.05
