"""How a winner's layers are told."""

import pytest

from merit_opt.search.result import merged_layers

LAYERS = {"3": 1.0, "5": 0.875}
TOLD = "3: 1.00, 5: 0.88"


@pytest.mark.parametrize(
    ("best", "told"),
    [
        ({"layers": {}}, []),
        ({"layers": LAYERS}, [("attention", TOLD)]),
        ({"layers": {}, "mlp_layers": LAYERS}, [("mlp", TOLD)]),
        ({"layers": LAYERS, "norm_layers": LAYERS}, [("attention and norm", TOLD)]),
        (
            {"layers": LAYERS, "mlp_layers": {"0": 0.5}},
            [("attention", TOLD), ("mlp", "0: 0.50")],
        ),
    ],
)
def test_parts_merged_alike_are_told_together(best, told):
    assert merged_layers(best) == told
