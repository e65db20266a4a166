from dataclasses import replace

import pytest
import torch

from merit_opt.models.attention import pack_attention, pack_layout, packed
from merit_opt.models.flops import forward_flops, matrix_rate
from merit_opt.models.forward import embed, finish, run_layers
from merit_opt.models.pack import pack


@pytest.fixture(scope="module")
def one(small_packs):
    return small_packs[0]


def test_a_pack_is_its_prefix_once_and_each_suffix(one):
    assert one.rows == len(one.input_ids) == one.position_ids.shape[1] == len(one.is_visual)
    assert one.is_visual[one.prefix - 1]
    assert not one.is_visual[one.prefix :].any()
    start = one.prefix
    for question, length, last in zip(one.questions, one.suffixes, one.read_rows, strict=True):
        whole = torch.cat([one.input_ids[: one.prefix], one.input_ids[start : start + length]])
        assert torch.equal(whole, question.prompt.input_ids)
        start += length
        assert last == start - 1


def test_its_order_does_not_depend_on_the_order_given(one):
    turned = pack(one.questions[::-1], one.features)
    assert turned.questions == one.questions
    assert torch.equal(turned.input_ids, one.input_ids)


def test_halves_hold_all_questions_and_one_question_is_no_pair(one):
    first, second = one.halves()
    assert (*first.questions, *second.questions) == one.questions
    assert abs(len(first.questions) - len(second.questions)) <= 1
    with pytest.raises(ValueError, match="cannot be halved"):
        pack(one.questions[:1], one.features).halves()


def changed(question, **fields):
    return replace(question, prompt=replace(question.prompt, **fields))


def test_what_is_no_question_about_one_video_raises(one, small_packs):
    question = one.questions[0]
    short = changed(question, position_ids=question.prompt.position_ids[:, :-1])
    flat = changed(question, position_ids=question.prompt.position_ids[0])
    blind = changed(question, is_visual=torch.zeros_like(question.prompt.is_visual))
    silent = changed(
        question,
        input_ids=question.prompt.input_ids[: one.prefix],
        position_ids=question.prompt.position_ids[:, : one.prefix],
        is_visual=question.prompt.is_visual[: one.prefix],
    )
    shifted = changed(one.questions[1], position_ids=one.questions[1].prompt.position_ids + 1)
    for questions, message in (
        ([short], "expected positions"),
        ([flat], "expected positions"),
        ([blind], "has 0 visual tokens"),
        ([silent], "ends in it"),
        ([question, shifted], "share no visual prefix"),
    ):
        with pytest.raises(RuntimeError, match=message):
            pack(questions, one.features)


def test_the_layout_lets_a_row_see_the_prefix_and_its_own_suffix_up_to_itself():
    layout = pack_layout(2, (2, 1), torch.device("cpu"))
    expected = [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 0, 0, 1]]
    assert layout.mask[0, 0].int().tolist() == expected


def test_attended_pairs_are_those_of_the_layout(one):
    layout = pack_layout(one.prefix, one.suffixes, torch.device("cpu"))
    prefix = torch.ones(one.prefix, one.prefix).tril().sum()
    assert one.attended == int(prefix + layout.mask.sum())


def test_attention_without_its_layout_or_with_a_foreign_one_raises(one, tiny_pair_live):
    rows = torch.randn(1, 4, 5, 8)
    layout = pack_layout(2, (2, 1), rows.device)
    output, _ = pack_attention(None, rows, rows, rows, None, pack_layout=layout)
    assert output.shape == (1, 5, 4, 8)
    with pytest.raises(RuntimeError, match="needs its layout"):
        pack_attention(None, rows, rows, rows, None)
    with pytest.raises(RuntimeError, match="no other mask"):
        pack_attention(None, rows, rows, rows, layout.mask, pack_layout=layout)
    with pytest.raises(RuntimeError, match="the layout is for"):
        pack_attention(None, rows[:, :, 1:], rows, rows, None, pack_layout=layout)
    with pytest.raises(RuntimeError, match="sees 3 tokens, a question has 4"):
        pack_attention(None, rows, rows, rows, None, pack_layout=layout, sliding_window=3)
    windowed, _ = pack_attention(
        None, rows, rows, rows, None, pack_layout=layout, sliding_window=4
    )
    assert torch.equal(windowed, output)
    decoder = tiny_pair_live.model.get_decoder()
    with torch.no_grad(), packed(decoder), pytest.raises(RuntimeError, match="needs its layout"):
        tiny_pair_live.model(input_ids=torch.tensor([[1, 2, 3]]))
    assert decoder.config._attn_implementation == "sdpa"


def test_rope_frequencies_of_another_dtype_raise(one, tiny_pair_live):
    rope = tiny_pair_live.model.get_decoder().rotary_emb
    whole = rope.inv_freq
    try:
        rope.inv_freq = whole.to(torch.bfloat16)
        with pytest.raises(RuntimeError, match="expected float32"):
            run_layers(tiny_pair_live, one, embed(tiny_pair_live, one), 0, 1)
    finally:
        rope.inv_freq = whole


def test_flops_are_those_that_torch_counts(one, tiny_pair_live):
    from torch.utils.flop_counter import FlopCounterMode

    pair = tiny_pair_live
    alone = pack(one.questions[:1], one.features)
    for start in (0, 6):
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            finish(pair, alone, embed(pair, alone), start)
        counts = counter.get_flop_counts()["Global"]
        products = sum(n for op, n in counts.items() if "mm" in str(op))
        config = pair.model.config.get_text_config()
        attention = 4.0 * config.hidden_size * alone.attended * (9 - start)
        assert forward_flops(pair, alone, start) == pytest.approx(products + attention)


def test_a_device_has_a_rate():
    assert matrix_rate(torch.device("cpu"), torch.float32) > 1e8
