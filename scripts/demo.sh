#!/bin/sh
# The whole pipeline in a few minutes on two CPU cores. Every step resumes or finds itself done when this is run again.
set -e
mkdir -p demo
cd demo

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say sym3d models
say sym3d infer faces ../samples/astronaut.jpg -o portrait --export glb --texture photo
say sym3d export portrait/prediction.h5 -o portrait --video swing --size 256 --texture photo --photos ../samples
say sym3d report portrait -o portrait.html
say sym3d synth faces.h5 -n 2000 --seed 7
say sym3d infer synfaces faces.h5 --split test -o heldout
say sym3d export heldout/prediction.h5 -o pictures --format obj,glb --video swing --size 256 --sheet --truth faces.h5 \
    --row 0 --row 1 --row 2 --row 3 --row 4 --row 5
say sym3d eval synfaces faces.h5 -o synfaces.scores.h5 --baseline null-depth
say sym3d report heldout -o report.html
say sym3d train tiny --data faces.h5
say sym3d eval runs/tiny faces.h5 --baseline null-depth,average-depth
say sym3d report runs/tiny heldout -o report.html

cat <<END

SIDE is the scale-invariant depth error (×10⁻²) and MAD the mean angle between normals (°); less is better.
runs/tiny was trained just now; synfaces comes with sym3d (sym3d models card synfaces).

  demo/portrait/meshes/*.glb   a photograph as a textured mesh, with a video of it in demo/portrait
  demo/portrait.html           a page to turn and relight it on
  demo/pictures/sheet*.png     the same of six faces it never met
  demo/pictures/*.glb, *.obj   textured meshes: open them in Blender, or drop a GLB on any glTF viewer
  demo/pictures/*.gif, *.mp4   those faces, turning
  demo/report.html             the faces and the training to look at: gallery, 3D viewer, curves
END
