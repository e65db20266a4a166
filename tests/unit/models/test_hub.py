import os
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from merit_opt.models.fingerprint import folder_digest
from merit_opt.models.source import folder_pair
from merit_opt.recipe.constructors import attention
from tests.faults.nursery import opened_nursery
from tests.unit.models.hub import WARM, Hub, Repository, job, serving
from tests.unit.models.hub import ask as ask_of
from tests.unit.models.small import (
    bits,
    change_json,
    expected_merge,
    loaded,
    text_folder,
    vlm_folder,
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("repositories")
    vlm, text = vlm_folder(root / "vlm", shard="900KB"), text_folder(root / "text")
    (vlm / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (vlm / "pytorch_model.bin").write_bytes(b"pickled")
    (vlm / "consolidated.safetensors").write_bytes(b"another layout")
    wide = shutil.copytree(text, root / "wide")
    change_json(wide / "config.json", intermediate_size=512)
    other = shutil.copytree(vlm, root / "other")
    change_json(other / "generation_config.json", max_new_tokens=3)
    adapter = shutil.copytree(text, root / "adapter")
    (adapter / "adapter_config.json").write_text("{}")
    pickled = root / "pickled"
    pickled.mkdir()
    shutil.copyfile(text / "config.json", pickled / "config.json")
    (pickled / "pytorch_model.bin").write_bytes(b"pickled")
    return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="module")
def content(folders):
    found = {f"acme/{name}": Repository({"main": folder}) for name, folder in folders.items()}
    found["acme/vlm"].revisions["v2"] = folders["other"]
    found["acme/gated"] = Repository({"main": folders["text"]}, is_gated=True)
    return found


@pytest.fixture(scope="module")
def ask(repo):
    """Asks in a process of its own."""
    with opened_nursery({**os.environ, "PYTHONPATH": str(repo)}, WARM) as clients:
        yield partial(ask_of, clients)


@pytest.fixture
def hub(content):
    with serving(Hub(content)) as found:
        yield found


def test_a_pair_of_ids_is_the_pair_of_its_folders_online_and_then_offline(
    ask, hub, folders, tmp_path
):
    home = tmp_path / "home"
    before, configs_alone, done = ask(
        hub.address,
        home,
        job("has_weights", "alignment", "dtype"),
        job("has_weights"),
        job("alignment", "digest", "export", "has_weights"),
    )
    assert before["dtype"] == "torch.bfloat16"
    assert before["has_weights"] == configs_alone["has_weights"] == [False, False]
    assert done["has_weights"] == [True, True]
    asked = [line.rpartition("/")[2] for line in hub.log]
    assert max(i for i, name in enumerate(asked) if name == "config.json") < min(
        i for i, name in enumerate(asked) if name.endswith(".safetensors")
    )
    assert not [line for line in hub.log if ".bin" in line or "consolidated" in line]
    pair = folder_pair(folders["vlm"], folders["text"], None)
    assert done["digest"] == pair.digest
    expected = expected_merge(pair, attention(9, {3: 1.0}), torch.bfloat16)
    assert bits(loaded(home / "out").named_parameters()) == bits(expected)
    card = (home / "out" / "README.md").read_text()
    assert "base_model:\n- acme/vlm\n- acme/text\n" in card
    shutil.rmtree(home / "out")
    count = len(hub.log)
    steps = job("alignment", "digest", "export", "has_weights")
    assert ask(hub.address, home, steps, offline=True) == [done]
    assert len(hub.log) == count


REFUSED = {
    "unknown": (
        {"vlm": "acme/nothing"},
        r"pair\.vlm: there is no folder acme/nothing here, and no",
    ),
    "no revision": ({"revision": "v3"}, r"pair\.vlm: acme/vlm has no revision v3"),
    "gated": (
        {"backbone": "acme/gated"},
        r"pair\.backbone: acme/gated is gated: accept its terms",
    ),
    "adapter": (
        {"backbone": "acme/adapter"},
        r"is a LoRA adapter, not a model; merge it into its",
    ),
    "wide": (
        {"backbone": "acme/wide"},
        r"MLP width: the VLM has 256, the backbone has 512. Is acme/wide the model acme/vlm was",
    ),
    "base": ({"base": "acme/vlm"}, r"acme/vlm is qwen2_vl"),
    "wide base": ({"base": "acme/wide"}, r"MLP width: the VLM has 256, the base has 512"),
}


@pytest.fixture(scope="module")
def refused(ask, content, tmp_path_factory):
    """Case -> what was told, and all that the hub was asked for."""
    jobs = [
        job("stored_base" if "base" in fields else "stored", **fields)
        for fields, _ in REFUSED.values()
    ]
    with serving(Hub(content)) as hub:
        told = ask(hub.address, tmp_path_factory.mktemp("client") / "home", *jobs)
    return dict(zip(REFUSED, told, strict=True)), hub


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_merged_is_a_sentence_and_no_weights_are_asked_for(refused, case):
    told, hub = refused
    assert re.search(REFUSED[case][1], told[case]["error"])
    assert "\n" not in told[case]["error"]
    assert hub.weights_asked_for() == []


def test_a_revision_is_honoured_and_pickled_weights_are_not_read(ask, hub, folders, tmp_path):
    pickled = job("alignment", "stored", backbone="acme/pickled")
    told, other = ask(hub.address, tmp_path / "home", job("folder", revision="v2"), pickled)
    found = Path(told["folder"])
    assert folder_digest(found) == folder_digest(folders["other"])
    assert folder_digest(found) != folder_digest(folders["vlm"])
    assert re.search(
        r"^pair\.backbone: no model\*\.safetensors of acme/pickled came\. .* pickled weights alone, .*"
        r"run `hf download acme/pickled --local-dir FOLDER` and .*AutoModelForCausalLM\.from_pretr",
        other["error"],
    )


@pytest.mark.parametrize("offline", [False, True], ids=["no network", "offline"])
def test_without_a_network_an_empty_cache_is_told(ask, tmp_path, offline):
    with serving(Hub({})) as gone:
        address = gone.address
    told, pinned = ask(
        address,
        tmp_path / "home",
        job("alignment"),
        job("alignment", revision="v2"),
        offline=offline,
    )
    assert told["error"].startswith(
        "pair.vlm: there is no folder acme/vlm here, the hub cannot be reached, and its cache lacks"
    )
    assert "run `hf download acme/vlm` where there is a network" in told["error"]
    assert "run `hf download acme/vlm --revision v2` where there is a netw" in pinned["error"]


@pytest.mark.parametrize("has_listing", [True, False])
def test_a_cache_of_configs_alone_is_told_when_the_network_goes(ask, hub, tmp_path, has_listing):
    home = tmp_path / "home"
    assert ask(hub.address, home, job("alignment")) == [{"alignment": None}]
    if not has_listing:  # as older tools leave it
        shutil.rmtree(home / "hub" / "models--acme--vlm" / "trees")
    steps = job("alignment", "has_weights", "stored")
    (told,) = ask(hub.address, home, steps, offline=True)
    assert told["has_weights"] == [False, False]
    assert told["error"].startswith("pair.vlm: ")
    assert "`hf download acme/vlm` where there is" in told["error"]


def test_a_network_that_goes_in_the_middle_of_the_weights_is_a_sentence(ask, hub, tmp_path):
    hub.torn = "model-00001"
    (told,) = ask(hub.address, tmp_path / "home", job("alignment", "stored"))
    assert told["error"].startswith(
        "pair.vlm: there is no folder acme/vlm here, the hub cannot be"
    )
    assert "\n" not in told["error"]
    hub.torn = ""
    assert ask(hub.address, tmp_path / "home", job("stored")) == [{"stored": None}]
