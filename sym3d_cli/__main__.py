"""``sym3d``, which is ``python -m sym3d_cli``: between its first line and its last Ctrl-C and SIGTERM mean the same."""

import sys

from stages.interrupt import hear_interrupts, ignore_interrupts


def main() -> None:
    """The entry point of ``sym3d``."""
    hear_interrupts()
    try:
        from sym3d_cli.app import main as run  # a tenth of a second, on a busy machine one

        run()
    except KeyboardInterrupt:  # before a command began, or when it had ended
        ignore_interrupts()
        print("sym3d: interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        ignore_interrupts()  # Python has threads to wait for, and would end in a traceback
        exec("")  # or, interrupted in such a call, which libraries make, it would end itself by SIGINT in place of 130


if __name__ == "__main__":
    main()
