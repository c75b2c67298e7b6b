"""Turn a run into a model that ships: its (averaged) weights as float16, without optimizer or log.

python scripts/ship_model.py runs/small-0 stages/models/synfaces.h5
python scripts/ship_model.py runs/cats stages/models/cats.h5 cat:0.88:0.09    # how to cut photographs for it
"""

import re
import sys

import numpy as np

from stages.artifact import make_provenance, open_artifact, write_artifact
from stages.io.crops import parse_crop
from stages.loading import find_checkpoint, load_model


def without_folders(provenance: dict) -> dict:
    """The chain, but for command lines and the folders of recipes' files: they belong to the machine that trained."""
    parents = [
        parent | ({"provenance": without_folders(parent["provenance"])} if "provenance" in parent else {})
        for parent in provenance["parents"]
    ]
    kept = {key: value for key, value in provenance.items() if key != "argv"}
    recipe = re.sub(r'^((?:images|init|features_path) = ")[^"]*/', r"\1", kept.get("recipe") or "", flags=re.MULTILINE)
    return kept | {"recipe": recipe, "parents": parents}


if __name__ == "__main__":
    source, out, *crop = sys.argv[1:]
    loaded = load_model(source)
    with open_artifact(find_checkpoint(source)) as parent:
        recipe = loaded.recipe
        if crop:
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"crop": parse_crop(*crop).text})})
        provenance = without_folders(make_provenance(recipe=recipe.text(), seed=recipe.run.seed, parents=[parent]))
        arrays = {
            f"model/{name}": value.numpy().astype(np.float16) for name, value in loaded.model.state_dict().items()
        }
        attrs = {key: parent.attrs[key] for key in ("step", "steps", "seconds", "size")}
        write_artifact(out, "sym3d.checkpoint", arrays, provenance=provenance, attrs=attrs)
