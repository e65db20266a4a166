"""What every family promises about text models, sizes and media on disk."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.decoded import Video
from merit_opt.data.media.frames import Sampling
from merit_opt.data.media.image import Image
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.errors import PairMismatch, UserError
from merit_opt.evaluation.prepare import Preparer
from merit_opt.models.alignment import align
from merit_opt.models.attention import smallest_window
from merit_opt.models.families import FAMILIES
from merit_opt.models.families.inputs import MediaRefused, visual_inputs
from merit_opt.models.features import FeatureStore
from merit_opt.models.footprint import ImageShape, VideoShape, footprint
from merit_opt.models.source import folder_pair
from merit_opt.recipe.constructors import backbone, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import lerp
from tests.contracts.checkpoints.parts import EXPERTS, ROPE, TEXT
from tests.contracts.stock import (
    FEWEST_FRAMES,
    ROUNDING,
    answers,
    clip,
    encode,
    furthest,
    noise,
    pack_of,
    spread,
    stock_inputs,
    stock_row,
)

TILING = (
    "llava_onevision",
    "llava_next",
    "llava_next_video",
    "internvl",
    "idefics2",
    "idefics3",
    "smolvlm",
)
DROPPING = ("video_llama_3",)
only_windowed = pytest.mark.parametrize("source", ["idefics2"], indirect=True)
only_experts = pytest.mark.parametrize("source", ["qwen3_vl_moe"], indirect=True)


def test_every_text_model_of_a_family_aligns(source):
    for text, kind in source.family.backbones.items():
        alignment = source.alignment if text != kind else aligned(source, text)
        assert alignment.parts == source.family.parts
        assert all(alignment.count(part) for part in alignment.parts)


def test_the_table_names_the_text_model_of_each_small_checkpoint(source, repo):
    table = (repo / "docs" / "families.md").read_text()
    kind = AutoConfig.from_pretrained(source.backbone).model_type
    assert re.search(
        rf"^\| `{source.family.model_type}` \|.*\| {kind} \| (not yet|\w.*, \d{{4}}-\d\d-\d\d) \|$",
        table,
        re.M,
    )


def aligned(source, text):
    """The family's VLM on another text model, with that text model."""
    sizes = TEXT | {"head_dim": 16, "rope_parameters": ROPE}
    vlm = AutoConfig.from_pretrained(source.vlm)
    vlm.text_config = AutoConfig.for_model(text, **sizes)
    with torch.device("meta"):
        return align(
            AutoModelForImageTextToText.from_config(vlm),
            AutoModelForCausalLM.from_config(vlm.text_config),
            source.family.parts,
        )


def test_a_text_model_of_another_type_is_refused_by_name(source, written):
    text = source.vlm_config.get_text_config().model_type
    wanted = source.family.backbones[text]
    other = "llava_next" if wanted != "llama" else "internvl"
    stranger = written(other).backbone
    kind = AutoConfig.from_pretrained(stranger).model_type
    with pytest.raises(
        PairMismatch, match=f"VLM on {text} pairs with {wanted}, but {stranger} is {kind}$"
    ):
        _ = folder_pair(source.vlm, stranger, None).alignment


def test_a_vlm_on_an_unknown_text_model_is_refused(source):
    fresh = folder_pair(source.vlm, source.backbone, None)
    fresh.vlm_config.get_text_config().model_type = "mamba"
    with pytest.raises(PairMismatch, match=r"VLM on mamba is not supported; on .* it is$"):
        _ = fresh.alignment


def test_the_footprint_counts_the_tokens_of_the_real_features(pair, source, shown):
    _, medium = shown
    found = footprint(source, [shape_of(medium)])
    features = encode(pair, medium)
    tokens = features.tokens
    assert visual_inputs(source.family, source.processor, medium).length == len(tokens)
    assert found.level == found.visual_tokens * tokens[0].nbytes
    assert found.features == found.level * (1 + len(features.deepstack))
    if source.family.model_type in DROPPING:
        assert found.visual_tokens >= len(tokens)
    else:
        assert found.visual_tokens == len(tokens)


@pytest.mark.parametrize("source", DROPPING, indirect=True)
def test_repeated_patches_are_dropped_and_the_footprint_allows_for_none(source, small_suite):
    video = clip(small_suite.samples[0], 20)
    found = footprint(source, [shape_of(video)])
    assert visual_inputs(source.family, source.processor, video).length < found.visual_tokens


@pytest.mark.parametrize("source", TILING, indirect=True)
def test_a_wide_image_makes_several_tiles(source):
    inputs = visual_inputs(source.family, source.processor, Image(noise((60, 200))))
    *_, tiles, _channels, _height, _width = inputs.values["pixel_values"].shape
    assert tiles > 2


def shape_of(medium):
    if isinstance(medium, Image):
        return ImageShape(*medium.pixels.shape[:2])
    frames, height, width, _ = medium.frames.shape
    return VideoShape(frames, height, width, medium.sampling.fps)


@pytest.mark.parametrize("source", ["qwen2_vl", "idefics2"], indirect=True)
@pytest.mark.parametrize("size", [(1, 400), (400, 1)])
def test_an_image_that_the_stock_processor_fails_on_is_refused(pair, small_suite, size):
    image = Image(noise(size))
    with pytest.raises((ArithmeticError, RuntimeError, ValueError)) as stock:
        stock_inputs(pair, small_suite, small_suite.samples[0], image)
    with pytest.raises(MediaRefused) as ours:
        encode(pair, image)
    assert str(ours.value) == str(stock.value)


class Silent:
    def stage(self, name, done, total):
        pass

    def warn(self, message):
        pytest.fail(message)


def showing_4(suite, samples):
    asking = replace(suite.asking, frames=spread(4))
    return replace(suite, samples=samples, asking=asking, max_unusable=0.9)


def prepared(pair, suite, folder):
    """As the engine does, from features on disk."""
    store = FeatureStore(folder / "features", 2**30)
    reading = MediaSettings(workers=1, seconds=60.0, frames_in_flight=64, decoder="auto")
    quarantine = Quarantine(folder / "quarantine.json")
    preparer = Preparer(pair, store, reading, quarantine, threads=1, reporter=Silent())
    return preparer.prepare(suite)


def test_a_suite_of_images_and_videos_is_prepared_as_its_files_are(pair, small_suite, tmp_path):
    picture = tmp_path / "picture.png"
    Pillow.fromarray(noise((60, 200))).save(picture)
    still, *others = small_suite.samples
    media = replace(still.media[0], path=picture)  # as if its bytes were the video's
    asked = [replace(still, media=(media,)), *others[:2]]
    suite = showing_4(small_suite, tuple(asked))
    found = prepared(pair, suite, tmp_path)
    assert found.excluded == {}
    assert [[q.id for q in p.questions] for p in found.packs] == [
        [still.id],
        sorted(s.id for s in others[:2]),
    ]
    image, video = (p.features.tokens for p in found.packs)
    assert image.shape != video.shape or not torch.equal(image, video)
    ours = answers(pair, found.packs[0])[still.id]
    stock = stock_inputs(pair, suite, still, Image(noise((60, 200))))
    assert furthest(ours, stock_row(pair, stock, len(still.options))) <= ROUNDING


@only_windowed
def test_a_window_that_every_question_fits_into_changes_nothing(
    pair, small_suite, clips, monkeypatch
):
    video, samples = next(iter(clips.values()))
    asked = pack_of(pair, small_suite, video, samples)
    config = pair.model.get_decoder().config
    before = answers(pair, asked)
    monkeypatch.setattr(config, "sliding_window", asked.prefix + max(asked.suffixes))
    assert answers(pair, asked) == before
    for sample in samples:
        stock = stock_row(pair, stock_inputs(pair, small_suite, sample, video), 4)
        assert furthest(before[sample.id], stock) <= ROUNDING
    monkeypatch.setattr(config, "sliding_window", asked.prefix + max(asked.suffixes) - 1)
    with pytest.raises(RuntimeError, match="and it should have been left out"):
        answers(pair, asked)


@only_windowed
def test_a_question_that_a_window_cuts_is_left_out_with_a_reason(
    pair, small_suite, clips, monkeypatch, tmp_path
):
    _, samples = next(iter(clips.values()))
    suite = showing_4(small_suite, tuple(samples))
    lengths = {
        q.id: len(q.prompt.input_ids)
        for p in prepared(pair, suite, tmp_path).packs
        for q in p.questions
    }
    most = max(lengths.values()) - 1
    monkeypatch.setattr(pair.model.get_decoder().config, "sliding_window", most)
    found = prepared(pair, suite, tmp_path)
    cut = {i for i, length in lengths.items() if length > most}
    assert found.excluded.keys() == cut
    assert all(f"and this model reads {most};" in why for why in found.excluded.values())
    for asked in found.packs:
        assert answers(pair, asked).keys().isdisjoint(cut)


@pytest.mark.parametrize("source", ["qwen2_vl"], indirect=True)
def test_the_smallest_window_of_all_layers_counts(pair, monkeypatch):
    decoder = pair.model.get_decoder()
    assert smallest_window(decoder) is None
    for layer, window in ((0, 30), (2, 20)):
        monkeypatch.setattr(decoder.layers[layer].self_attn, "sliding_window", window)
    assert smallest_window(decoder) == 20


def test_a_question_that_holds_a_placeholder_is_left_out_with_a_reason(
    pair, small_suite, clips, tmp_path
):
    _, (first, second, third, *_) = next(iter(clips.values()))
    tokens = [pair.processor.image_token, getattr(pair.processor, "video_token", None)]
    image, video = (token or tokens[0] for token in tokens)
    asked = (
        replace(first, question=f"what is {image} ?"),
        replace(second, options=(*second.options[:-1], video)),
        third,
    )
    found = prepared(pair, showing_4(small_suite, asked), tmp_path)
    assert found.excluded == {
        sample.id: f"its prompt holds {token}, which stands for media and for nothing else here"
        for sample, token in ((first, image), (second, video))
    }
    assert [[q.id for q in p.questions] for p in found.packs] == [[third.id]]


@pytest.mark.parametrize("source", ["qwen2_vl"], indirect=True)
def test_a_machine_out_of_memory_is_no_refused_medium(source):
    def full_device(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def full_host(**_):
        torch.empty(2**60, dtype=torch.uint8)

    for processor, error, message in (
        (full_device, torch.OutOfMemoryError, "CUDA out of memory"),
        (full_host, RuntimeError, "DefaultCPUAllocator"),
    ):
        processor.image_token = "<image>"
        with pytest.raises(error, match=message) as caught:
            visual_inputs(source.family, processor, Image(noise((56, 56))))
        assert not isinstance(caught.value, MediaRefused)


@only_experts
def test_experts_and_norms_are_kept_and_a_recipe_that_merges_them_is_refused(pair):
    kept = pair.alignment.kept
    assert (
        kept["model.language_model.layers.0.mlp.experts.down_proj"]
        == "mlp is not merged in this architecture"
    )
    assert (
        kept["model.language_model.layers.0.input_layernorm.weight"]
        == "norm is not merged in this architecture"
    )
    assert {t.part for t in pair.alignment.tensors} == {"attention"}

    def of_layer_2(merge):
        return Recipe((*[LayerMerge()] * 2, merge, *[LayerMerge()] * (pair.n_layers - 3)))

    for recipe, where in (
        (of_layer_2(LayerMerge(mlp=lerp(0.5))), "mlp in layer 2"),
        (of_layer_2(LayerMerge(norm=lerp(0.5))), "norm in layer 2"),
        (backbone(pair.n_layers), "mlp in layer 0"),
    ):
        with (
            pytest.raises(UserError, match=f"merges {where}, which this pair keeps"),
            pair.merged(recipe),
        ):
            pytest.fail("it was merged")
    with pair.merged(uniform(pair.n_layers, 0.5)):
        pass


@only_experts
def test_a_token_meets_the_router_and_its_own_experts_alone(pair):
    width, inner = TEXT["hidden_size"], EXPERTS["moe_intermediate_size"]
    router = EXPERTS["num_experts"] * width
    experts = EXPERTS["num_experts_per_tok"] * 3 * inner * width
    sparse, dense, *_ = (mlp for _, mlp in pair.matrix_weights)
    assert sparse == router + experts
    assert dense == 3 * TEXT["intermediate_size"] * width


def test_refused_frames_are_a_sentence(written):
    for name, fewest in FEWEST_FRAMES.items():
        with pytest.raises(UserError, match="refuses 1 frames of 56 x 56: "):
            footprint(written(name), [VideoShape(fewest - 1, 56, 56, 8.0)])
    assert FEWEST_FRAMES.keys() <= FAMILIES.keys()


def test_features_know_when_their_frames_stand(pair, shown):
    features = encode(pair, shown[1])
    expected = () if isinstance(shown[1], Image) else shown[1].sampling.times
    assert features.times == expected
    assert features.status == shown[1].status


def test_a_prompt_tells_the_real_times_of_an_uneven_video(written):
    pair = written("qwen3_vl").load("cpu", "device")
    times = (0.0, 0.5, 3.0, 4.0, 9.0, 9.5)
    frames = np.zeros((6, 56, 56, 3), dtype=np.uint8)
    video = Video(frames, Sampling((0, 15, 16, 17, 18, 19), 20, 20.0, times))
    texts = visual_inputs(pair.family, pair.processor, video).prompt.texts
    told = [float(t) for t in re.findall(r"<([\d.]+) seconds>", "".join(texts))]
    assert told == pytest.approx([0.25, 3.5, 9.25], abs=0.051)
