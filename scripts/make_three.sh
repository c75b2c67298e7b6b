#!/bin/sh
# Bundle what the report's viewer uses of three.js into stages/pages/page/three.min.js, with its licence beside it.
# Needs npm. The versions are pinned, so that it makes the same bytes again.
set -e
page="$(cd "$(dirname "$0")/../stages/pages/page" && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-audit --no-fund --prefix "$work" three@0.187.0 esbuild@0.28.2
cat > entry.js <<'EOF'
export {
  BufferAttribute, BufferGeometry, CanvasTexture, DoubleSide, Mesh, PerspectiveCamera, Scene, ShaderMaterial, WebGLRenderer,
} from "three";
EOF
npx esbuild entry.js --bundle --minify --format=iife --global-name=THREE --target=es2020 --log-level=warning \
    --banner:js="/* three.js 0.187.0, MIT licence, (c) 2010-2026 three.js authors; bundled by scripts/make_three.sh */" \
    --outfile="$page/three.min.js"
cp node_modules/three/LICENSE "$page/three.LICENSE"
