from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from merit_opt.recipe.constructors import attention, base, full
from merit_opt.recipe.recipe import Recipe
from merit_opt.tracking.layer_strip import BOTTOM, COLOURS, DPI, KEPT, Layout, layer_strip


def pixels(recipe: Recipe) -> np.ndarray:
    return imread(BytesIO(layer_strip(recipe)))[..., :3]


def near_corner_of(image: np.ndarray, layout: Layout, layer: int, row: int) -> np.ndarray:
    """The colour of a cell, away from the number in its middle."""
    x, y = layout.centre(layer, row)
    x, y = x - 0.4 * layout.cell, y + 0.25
    return image[round((layout.size[1] - y) * DPI), round(x * DPI)]


def rgb(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


@pytest.mark.parametrize("n_layers", [9, 28, 80])
def test_each_cell_has_the_colour_of_its_coefficient(n_layers: int) -> None:
    given = {0: 0.25, n_layers // 2: 0.5, n_layers - 1: 1.0}
    image, layout = pixels(attention(n_layers, given)), Layout(("attention",), n_layers)
    for layer in range(n_layers):
        expected = COLOURS(given[layer])[:3] if layer in given else rgb(KEPT)
        seen = near_corner_of(image, layout, layer, 0)
        assert seen == pytest.approx(list(expected), abs=0.01), layer


def test_there_is_a_row_for_each_part_that_is_merged() -> None:
    one, three = pixels(base(9)), pixels(full(9, 0.5))
    assert one.shape[1] == three.shape[1]
    layout = Layout(("attention", "mlp", "norm"), 9)
    assert three.shape[0] == pytest.approx(layout.size[1] * DPI, abs=1)
    colours = [near_corner_of(three, layout, 4, row) for row in range(3)]
    assert np.allclose(colours, COLOURS(0.5)[:3], atol=0.01)


@pytest.mark.parametrize("n_layers", [1, 2, 9, 28, 80, 200])
def test_the_picture_stays_of_a_size_to_look_at(n_layers: int) -> None:
    height, width, _ = pixels(base(n_layers)).shape
    assert 500 <= width <= 1600
    assert 180 <= height <= 250


def test_the_same_recipe_gives_the_same_bytes() -> None:
    recipe = attention(28, {3: 0.123, 17: 0.9})
    assert layer_strip(recipe, title="t0001") == layer_strip(recipe, title="t0001")
    assert layer_strip(recipe, title="t0001") != layer_strip(recipe, title="t0002")


def test_labels_stay_off_the_edges() -> None:
    image = pixels(full(28, 0.5))
    border = np.concatenate([image[:4].ravel(), image[-4:].ravel(), image[:, -4:].ravel()])
    assert (border == 1).all()
    assert (image[-round(BOTTOM * DPI) :] < 0.9).any()
