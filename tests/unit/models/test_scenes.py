"""Scenes told in words stand where a video's tokens and plain text stand."""

import random
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor

from merit_opt.data.clips.questions import questions_about
from merit_opt.data.clips.scene import clip_events
from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.backbone import BackboneSchedule, Readout, School, choices
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.packing import pack, pack_each, states_after, video_prefix
from merit_opt.models.tiny.scenes import Teller

EVENTS = clip_events(seed=0, clip=0)
SCHEDULE = BackboneSchedule(steps=1, rate=0.0, scenes=6, words=0.3, captions=0.5, keep_every=1)


@pytest.fixture(scope="module")
def vlm():
    folder = tiny_folder("vlm_aligned")
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def teller(vlm):
    writer = Writer.of(AutoProcessor.from_pretrained(tiny_folder("vlm_aligned")))
    return Teller(writer, video_prefix(vlm, writer, torch.tensor([8, 4, 4])))


def read(model, batch):
    (states,) = states_after(model, batch, model.embed_tokens(batch.ids), (len(model.layers),))
    return model.norm(states)[batch.targets[:, 0], batch.targets[:, 1]]


def test_bags_stand_where_the_tokens_of_a_clip_stand(teller):
    scene, video = teller.bags(EVENTS).prefix, teller.video
    assert torch.equal(scene.positions, video.positions)
    assert (scene.video, scene.resume) == (video.video, video.resume)
    outside = torch.ones(len(video.ids), dtype=torch.bool)
    outside[video.video] = False
    assert torch.equal(scene.ids[outside], video.ids[outside])
    words = {number: word for word, number in teller.writer.vocabulary.items()}
    told = " ".join(words[i] for i in scene.ids[video.video].tolist())
    assert (
        told
        == " ".join(2 * f"{e.colour} {e.shape} {e.action} . " for e in EVENTS)
        .replace("  ", " ")
        .strip()
    )


def test_packed_scenes_equal_one_question_at_a_time(vlm, teller):
    school = School(teller, random.Random(1))
    scenes = [school.scene() for _ in range(SCHEDULE.scenes)]
    rows = [school.lessons(scene.events, SCHEDULE) for scene in scenes]
    language = vlm.model.language_model
    packed = read(language, pack_each([scene.prefix for scene in scenes], rows))
    alone = [
        read(language, pack(scene.prefix, [[lesson]]))
        for scene, lessons in zip(scenes, rows, strict=True)
        for lesson in lessons
    ]
    assert (packed - torch.cat(alone)).abs().max() <= 5e-5


def test_sentences_read_as_plain_text_to_the_backbone(vlm, teller):
    backbone = AutoModelForCausalLM.from_pretrained(tiny_folder("text"), dtype=torch.float32)
    scene = teller.sentences(EVENTS)
    lesson = teller.writer.letters(EVENTS, role="TR", count=1, rng=random.Random(0))[0]
    ids = torch.tensor([[*scene.prefix.ids.tolist(), *lesson.prompt]])
    stock = backbone.eval()(input_ids=ids).logits[0, -1]
    language = vlm.model.language_model
    states = read(language, pack(scene.prefix, [[lesson]]))[0]
    assert (states @ language.embed_tokens.weight.T - stock).abs().max() <= 5e-5


def test_facts_say_of_every_word_its_event_and_what_came_before(teller):
    words = {number: word for word, number in teller.writer.vocabulary.items()}
    for scene, repeats in ((teller.bags(EVENTS), 2), (teller.sentences(EVENTS), 1)):
        told, start = [*scene.prefix.ids.tolist()], scene.prefix.video.start
        for index, event in enumerate(EVENTS):
            places = range(start + 4 * repeats * index, start + 4 * repeats * (index + 1))
            assert [words[told[p]] for p in places] == [
                event.colour, event.shape, event.action, "."
            ] * repeats  # fmt: skip
            known = {words[f] for p, f in scene.facts.tolist() if p in places}
            assert known == {event.colour, ("one", "two", "three", "four")[index]}
            before = {words[f] for p, f in scene.before.tolist() if p in places}
            assert before == ({EVENTS[index - 1].colour} if index else set())
        assert len(scene.facts) == 2 * 4 * len(EVENTS) * repeats


def test_what_a_question_names_is_known_where_its_answer_begins(teller):
    writer, scene = teller.writer, teller.bags(EVENTS)
    asked = {q.kind: writer.word(q) for q in questions_about(EVENTS)}
    rows = [[asked["after"], asked["colour_shown"], writer.caption(EVENTS), asked["nth"]]]
    batch = pack(scene.prefix, rows)
    words = {number: word for word, number in writer.vocabulary.items()}
    assert [words[w] for w in batch.named[:, 2].tolist()] == [EVENTS[2].colour, "four"]
    assert set(batch.named[:, 1].tolist()) < set(batch.targets[:, 1].tolist())


def test_choices_are_the_letters_of_a_row_with_the_options_before_them(teller):
    readout, writer = Readout.of(teller.writer), teller.writer
    (lesson,) = writer.letters(EVENTS, role="TR", count=1, rng=random.Random(2))
    batch = pack(teller.bags(EVENTS).prefix, [[lesson]])
    found = choices(batch, readout).tolist()
    said = batch.ids[0].tolist()
    assert [said[place] for _, place, _ in found] == sorted(said[p] for _, p, _ in found)
    assert len(found) == 4
    assert all(said[place - 1] == word for _, place, word in found)


def test_every_scene_is_asked_each_kind_once(teller):
    schedule, school = replace(SCHEDULE, captions=0.0), School(teller, random.Random(0))
    for _ in range(4):
        assert len(school.lessons(school.scene().events, schedule)) == 9
