"""sym3d models: every model that ships is listed, small, and has a whole card."""

import json

import pytest

from stages.shipped import shipped_models

MOST_BYTES = 16 * 2**20
ASKED = ("Takes", "Networks", "Trained on", "Licence", "By", "Figures", "**Intended use.**", "**Limits.**")


def test_the_list_names_each_with_what_it_is_for(sym3d):
    listed = json.loads(sym3d("models", "list", "--json").stdout)
    assert [model["name"] for model in listed] == list(shipped_models())
    for model in listed:
        assert model["about"]
        assert model["size"] in (64, 128, 256)
        assert 0 < model["file_bytes"] <= MOST_BYTES
        assert model["name"] in sym3d("models").stdout


@pytest.mark.parametrize("name", list(shipped_models()))
def test_a_card_says_what_a_stranger_asks(name, sym3d):
    card = sym3d("models", "card", name).stdout
    assert card.startswith(f"# {name}: ")
    for word in ASKED:
        assert word in card, word


def test_another_name_is_refused(sym3d):
    result = sym3d("models", "card", "dogs")
    assert result.exit_code == 2
    assert "no such model comes with sym3d; choose from" in result.stderr
