"""How a command line ends: what a command raises becomes one line on standard error and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from edged.core.errors import EdgedError
from edged.core.extras import not_installed

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


def exit_code(command: Callable[[], int], *, program: str, extra: str) -> int:
    """Run a command.

    Args:
        command: gives its exit code.
        program: its name, in front of what is said.
        extra: of pyproject.toml, the one to name where several bring a package that is missing.

    Returns:
        The command's code, or that of the error that it raised; 0 where the reader of its output had seen enough.
    """
    try:
        code = command()
        sys.stdout.flush()  # a reader that has left is noticed here, not at exit
    except (EdgedError, ModuleNotFoundError) as exc:
        error = exc if isinstance(exc, EdgedError) else not_installed(exc, prefer=extra)
        print(f"{program}: error: {error}", file=sys.stderr)  # noqa: T201 - this is where commands speak
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code
