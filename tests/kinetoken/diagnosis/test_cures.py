"""Cures: every finding has one for every library, in that library's words, and what they name exists."""

import ast
import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vector_quantize_pytorch
import yaml
from hypothesis import given, strategies

from kinetoken.core.errors import UserError
from kinetoken.core.params import build
from kinetoken.diagnosis.cure_tables.findings import MEANINGS
from kinetoken.diagnosis.cures import TABLES, Cure, cure, libraries, names
from kinetoken.tokenizer.training_clips import TokenizerParams

ROOT = Path(__file__).parents[3]
FINDINGS = [name for found in MEANINGS.values() for name in found]
SOURCE = re.compile(
    r"arXiv:\d{4}\.\d{5}|(?:issue|pull request) \d+, [\w-]+/[\w.-]+|[\w. ]+, (?:PyTorch|Diffusers) documentation"
    r"|README, [\w-]+/[\w.-]+|[\w/.-]+\.(?:py|md|yaml), (?:[\w-]+/[\w.-]+|Kinetoken)"
)
MAGVIT2 = """
image_size layers residual_conv_kernel_size num_codebooks codebook_size channels init_dim max_dim dim_cond
dim_cond_expansion_factor input_conv_kernel_size output_conv_kernel_size pad_mode lfq_entropy_loss_weight
lfq_commitment_loss_weight lfq_diversity_gamma quantizer_aux_loss_weight lfq_soft_clamp_input_value lfq_activation
use_fsq fsq_levels attn_dim_head attn_heads attn_dropout linear_attn_dim_head linear_attn_heads vgg vgg_weights
perceptual_loss_weight discr_kwargs multiscale_discrs use_gan adversarial_loss_weight grad_penalty_loss_weight
multiscale_adversarial_loss_weight flash_attn separate_first_frame_encoding
dataset_folder dataset_type batch_size grad_accum_every num_train_steps
quantize cond video_contains_first_frame return_loss return_codes return_recon
""".split()  # of VideoTokenizer, its methods and its trainer, read at commit 3125800 of lucidrains/magvit2-pytorch
DIFFUSERS = """
in_channels out_channels down_block_types up_block_types block_out_channels layers_per_block act_fn latent_channels
sample_size num_vq_embeddings norm_num_groups vq_embed_dim scaling_factor norm_type mid_block_add_attention
lookup_from_codebook force_upcast force_not_quantize return_dict shape remap beta legacy
do_resize vae_scale_factor resample do_normalize do_binarize do_convert_rgb
""".split()  # of VQModel, its methods and quantizer, and VaeImageProcessor, read in huggingface/diffusers


@pytest.mark.parametrize("library", libraries())
@pytest.mark.parametrize("name", FINDINGS)
def test_every_finding_has_a_cure_for_every_library(name: str, library: str) -> None:
    found = cure(name, library)
    assert re.fullmatch(r"[A-Z`1].*\.", found.text) and "\n" not in found.text, found.text
    assert len(re.findall(r"[.:] +[A-Z`]", found.text)) <= 2, "one or two sentences"
    assert "|" not in found.text, "it stands in a table"
    assert found.sources and all(SOURCE.fullmatch(each) for each in found.sources), found.sources
    assert "://" not in repr(found)


def test_findings_cures_and_tables_have_the_same_names() -> None:
    assert [name for name in names() if name != "healthy"] == FINDINGS
    assert len(set(FINDINGS)) == len(FINDINGS) == 34
    for library in libraries():
        assert set(TABLES[library]) <= set(names()), library
        assert cure("healthy", library).text == "None needed."
    assert libraries()[0] == "pytorch"


def test_a_library_without_a_knob_of_its_own_has_the_cure_of_pytorch() -> None:
    assert cure("undertrained", "diffusers") is cure("undertrained") is cure("undertrained", "pytorch")


@given(strategies.text().filter(lambda text: text not in TABLES))
def test_an_unknown_library_is_a_user_error_that_names_the_known_ones(library: str) -> None:
    with pytest.raises(UserError, match=re.escape(", ".join(libraries()))):
        cure("undertrained", library)


def test_an_unknown_finding_is_a_programmers_error() -> None:
    with pytest.raises(ValueError, match="no finding has the name 'measles'"):
        cure("measles")


@pytest.mark.parametrize("library", [each for each in libraries() if each != "kinetoken"])
def test_cures_of_other_libraries_name_nothing_of_this_project(library: str) -> None:
    words = {"dvc", "kinetoken", *yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))}
    for found in TABLES[library].values():
        said = re.findall(r"\w+", f"{found.text} {found.example}".lower())
        assert not words & set(said), found


# ---- what the cures name exists


def test_this_projects_params_can_be_set() -> None:
    """Each -S of its cures sets a key of params.yaml, or with + adds one that the section's dataclass declares."""
    sets = 0
    for found in TABLES["kinetoken"].values():
        params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        for line in found.example.splitlines():
            words = shlex.split(line)
            assert words[:3] == ["dvc", "exp", "run"] or words == ["dvc", "repro", "--force", "extract_codes@motion"]
            for option, setting in zip(words[3::2], words[4::2], strict=True) if words[1] == "exp" else ():
                assert option == "-S"
                set_param(params, setting)
                sets += 1
        build(TokenizerParams, params["train_tokenizer"], "params.yaml: train_tokenizer")
    assert sets > 15


def set_param(params: dict[str, Any], setting: str) -> None:
    """As DVC does: a key must be there, or with + must not be there."""
    name, _, text = setting.partition("=")
    *sections, key = name.lstrip("+").split(".")
    for section in sections:
        params = params[section]
    assert (key in params) != name.startswith("+"), setting
    value = yaml.safe_load(text)
    before = params.get(key, value)
    assert isinstance(value, type(before)) or {type(value), type(before)} <= {int, float}, setting
    params[key] = value


def test_the_cures_of_this_project_are_those_that_the_fault_injection_study_tries() -> None:
    faults = yaml.safe_load((ROOT / "studies/ward/params.yaml").read_text(encoding="utf-8"))
    tried = {
        fault["cause"]: {each.partition("=")[0] for each in fault["cure"]} for fault in _cases(faults)
    }
    assert len(tried) >= 14
    for cause, settings in tried.items():
        example = TABLES["kinetoken"][cause].example
        for name in settings - {"clips_a_pass", "few_clips", "network.fine_blocks", "network.coarse_blocks"}:
            assert f"train_tokenizer.{name}=" in example, (cause, name)  # the others have other names in the pipeline


def _cases(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        if {"cause", "cure"} <= node.keys():
            return [node]
        return [case for each in node.values() for case in _cases(each)]
    return [case for each in node for case in _cases(each)] if isinstance(node, list) else []


def keywords(found: Cure) -> set[str]:
    """Names of arguments: of all calls in the example, and what stands before = in backticks in the text."""
    calls = [node for node in ast.walk(ast.parse(found.example)) if isinstance(node, ast.Call)]
    return {word.arg for call in calls for word in call.keywords if word.arg} | set(re.findall(r"`(\w+)=", found.text))


def arguments(kind: type) -> set[str]:
    methods = [value for name, value in vars(kind).items() if inspect.isfunction(value) and name != "__init__"]
    found = {name for method in [kind, *methods] for name in inspect.signature(method).parameters}
    if "vq_kwargs" in found:  # ResidualVQ hands them on
        found |= arguments(vector_quantize_pytorch.VectorQuantize)
    return found


def test_arguments_of_vector_quantize_pytorch_exist() -> None:
    """Of each class those of its own signature; a bare word in backticks is a name of some class."""
    kinds = {
        name: value for name, value in vars(vector_quantize_pytorch).items()
        if inspect.isclass(value) and issubclass(value, torch.nn.Module)
    }
    every = set().union(*map(arguments, kinds.values()))
    known = every | set(kinds) | {name for kind in kinds.values() for name in dir(kind)} | {"cluster_size", "eval"}
    checked = 0
    for found in TABLES["vector-quantize-pytorch"].values():
        for call in ast.walk(ast.parse(found.example)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in kinds:
                named = {word.arg for word in call.keywords}
                assert named <= arguments(kinds[call.func.id]), named - arguments(kinds[call.func.id])
                checked += len(named)
        assert set(re.findall(r"`(\w+)=", found.text)) <= every | {"affine"}, found.text
        for word in re.findall(r"`(\w+)(?:\(\))?`", found.text):
            assert word in known | {"implicit_codebook"}, word
    assert checked > 40


@pytest.mark.parametrize(
    "library, known, package, kinds",
    [("magvit2-pytorch", MAGVIT2, "magvit2_pytorch", ("VideoTokenizer", "VideoTokenizerTrainer")),
     ("diffusers", DIFFUSERS, "diffusers", ("VQModel",))],
)
def test_arguments_of_libraries_that_need_not_be_installed(
    library: str, known: list[str], package: str, kinds: tuple[str, ...]
) -> None:
    """Against what was read in their source, and against themselves where they are installed."""
    torch_words = {"dim", "dtype", "decimals", "minlength"}
    for found in TABLES[library].values():
        assert keywords(found) - torch_words - {"force_quantization_f32"} <= set(known), found
    try:
        module = __import__(package)
    except ImportError:
        return
    for kind in kinds:
        for found in TABLES[library].values():
            for call in ast.walk(ast.parse(found.example)):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == kind:
                    assert {word.arg for word in call.keywords} <= arguments(getattr(module, kind)), found


class Encoder(torch.nn.Module):
    """(B, C, T, H, W) → the same, as an encoder whose latents are as large as its clips."""

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Conv3d(3, 3, 1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.map(clips)
        return result


class Rounding(torch.nn.Module):
    def forward(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return latents.round(), latents.flatten(1)[:, :8].round().int()


@pytest.mark.parametrize(
    "library, name",
    [(library, name) for library in ("pytorch", "vector-quantize-pytorch") for name in TABLES[library]
     if TABLES[library][name].example],
)
def test_examples_run(library: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    vectors = library != "pytorch"
    space: dict[str, Any] = {
        "torch": torch, "encoder": Encoder(), "decoder": torch.nn.Identity(), "quantizer": Rounding(), "step": 2000,
        "clips": torch.randn(2, 3, 8, 8, 8), "latents": torch.randn(2, 16, 64 if vectors else 8),
        "codebook": torch.randn(32, 8), "codes": torch.randint(16, (2, 2, 4, 4)), "features": torch.randn(2, 3, 4, 4),
        "batches": [torch.randn(2, 3, 8, 8, 8)],
    }
    deterministic = torch.are_deterministic_algorithms_enabled()
    try:
        exec(TABLES[library][name].example, space)
    finally:
        torch.use_deterministic_algorithms(deterministic)


def test_facts_that_the_cures_state() -> None:
    """Of torch and vector-quantize-pytorch, tried here: what is stated without a source, or beyond it."""
    whole = torch.arange(4096)
    assert torch.equal(whole[:257].bfloat16().long(), whole[:257]) and whole[257].bfloat16().long() != 257
    assert torch.equal(whole[:2049].half().long(), whole[:2049]) and whole[2049].half().long() != 2049
    assert torch.cdist(torch.full((1, 2), float("nan")), torch.randn(5, 2)).argmin() == 0
    z = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    torch.testing.assert_close(2 * torch.sigmoid(1.6 * z) - 1, torch.tanh(0.8 * z))
    few = vector_quantize_pytorch.VectorQuantize(dim=8, codebook_size=512, kmeans_init=True)
    few(torch.randn(1, 64, 8))
    assert len(torch.unique(few.codebook, dim=0)) < 80
    dropped = vector_quantize_pytorch.ResidualVQ(dim=8, num_quantizers=4, codebook_size=16, quantize_dropout=True)
    assert (torch.cat([dropped(torch.randn(1, 64, 8))[1] for _ in range(20)]) == -1).any()


def test_entropies_of_ifsq_that_the_page_states() -> None:
    normal = torch.erfinv(2 * (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 - 1) * 2**0.5
    latents = normal.float()[None, :, None]

    def entropy(indices: torch.Tensor) -> float:
        share = torch.bincount(indices.flatten().long(), minlength=5).double() / indices.numel()
        return float(torch.special.entr(share).sum() / np.log(5))

    space: dict[str, Any] = {"torch": torch, "latents": latents}
    exec(cure("part of the vocabulary unused").example, space)
    fsq = vector_quantize_pytorch.FSQ(levels=[5])
    plain = ((torch.tanh(latents) + 1) / 2 * 5).floor().clamp(max=4)
    found = [entropy(each) for each in (plain, space["indices"], fsq(latents)[1], fsq(0.8 * latents)[1])]
    np.testing.assert_allclose(found, [0.990, 0.9997, 0.993, 0.957], atol=5e-4)
    wide = entropy(fsq(2 * latents)[1])
    assert wide < 0.95, "larger latents crowd into the outer levels"


@pytest.mark.parametrize("forced", [True, False])
def test_indices_of_bfloat16(forced: bool) -> None:
    latents = torch.randn(1, 20_000, 4)
    torch.set_default_dtype(torch.bfloat16)
    try:
        quantizer = vector_quantize_pytorch.FSQ(levels=[8, 5, 5, 5], force_quantization_f32=forced)
        codes = quantizer(latents.bfloat16())[1].flatten()
    finally:
        torch.set_default_dtype(torch.float32)
    assert (codes[codes > 256] % 2 == 0).all() != forced
    assert (codes.max() < 1000) == forced
