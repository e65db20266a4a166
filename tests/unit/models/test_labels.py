from types import SimpleNamespace

import pytest

from merit_opt.errors import UserError
from merit_opt.models.labels import label_tokens


class Tokenizer:
    """Knows whole pieces, and writes a space before a word as `space`; all else is unknown."""

    unk_token_id = 0

    def __init__(self, pieces, space, *, adds_space=False):
        self.ids = {piece: i for i, piece in enumerate(pieces, 1)}
        self.space, self.adds_space = space, adds_space

    def encode(self, text, *, add_special_tokens):
        assert not add_special_tokens
        piece = text.replace(" ", self.space)
        if self.adds_space and not piece.startswith(self.space):
            piece = self.space + piece
        return [self.ids[piece]] if piece in self.ids else [self.unk_token_id] * len(piece)

    def convert_tokens_to_ids(self, piece):
        return self.ids.get(piece, self.unk_token_id)


def forms(tokenizer, labels):
    names = {i: piece for piece, i in tokenizer.ids.items()}
    found = label_tokens(SimpleNamespace(tokenizer=tokenizer), labels)
    return [[names[token] for token in tokens] for tokens in found]


def test_a_byte_level_tokenizer_has_a_letter_with_a_space_and_without():
    tokenizer = Tokenizer(["ĠB", "A", "B", "ĠA", "a", "AB"], "Ġ")
    assert forms(tokenizer, "AB") == [["A", "ĠA"], ["B", "ĠB"]]


def test_a_sentencepiece_tokenizer_has_its_bare_pieces_too():
    tokenizer = Tokenizer(["▁A", "A", "▁B", "B"], "▁", adds_space=True)
    assert forms(tokenizer, "AB") == [["▁A", "A"], ["▁B", "B"]]


def test_a_word_level_tokenizer_has_each_letter_once():
    tokenizer = Tokenizer("ABCD", "")
    assert forms(tokenizer, "ABCD") == [["A"], ["B"], ["C"], ["D"]]


def test_words_count_with_a_capital_too_and_letters_without():
    tokenizer = Tokenizer(["yes", "Yes", "Ġyes", "ĠYes", "no", "No", "a", "A"], "Ġ")
    assert forms(tokenizer, ("yes", "no")) == [["yes", "Ġyes", "Yes", "ĠYes"], ["no", "No"]]
    assert forms(tokenizer, ("A",)) == [["A"]]


def test_a_token_that_several_labels_share_belongs_to_none():
    class Lower(Tokenizer):
        def convert_tokens_to_ids(self, piece):
            return 1 if piece == "A" or piece == "B" else super().convert_tokens_to_ids(piece)

    tokenizer = Lower(["?", "ĠA", "ĠB"], "Ġ")
    assert forms(tokenizer, "AB") == [["ĠA"], ["ĠB"]]


@pytest.mark.parametrize("pieces", [["A"], ["A", "Ġ"], ["A", "BB"]])
def test_a_letter_without_a_token_is_refused(pieces):
    with pytest.raises(UserError, match=r"no single token for the letters \['B'\]"):
        forms(Tokenizer(pieces, "Ġ"), "AB")


def test_the_tiny_pair_has_one_token_a_letter(tiny_pair_live):
    found = label_tokens(tiny_pair_live.processor, "ABCD")
    assert [len(tokens) for tokens in found] == [1, 1, 1, 1]
    assert len(set(found)) == 4
