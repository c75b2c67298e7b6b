"""``python -m sym3d_cli`` is ``sym3d``."""

from sym3d_cli.app import main

main()
