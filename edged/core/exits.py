"""Start and end of a command: opens missing standard streams, prints a failure in one line, gives the exit code."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from edged.core.errors import EdgedError, OutputError
from edged.core.extras import not_installed
from edged.core.records import SafeRecord
from edged.core.redact import redact

# A terminal obeys control characters: names out of a hostile file must not send it any.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class CommandParser(argparse.ArgumentParser):
    """An argument parser that redacts its errors: they quote arguments, and an address may hold a password."""

    def error(self, message: str) -> NoReturn:
        """Print the message without secrets and exit with 2."""
        super().error(redact(message))

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - as argparse has it
        # As newer Pythons do: a usage error keeps its exit code where standard error cannot be written.
        with contextlib.suppress(AttributeError, OSError):
            super()._print_message(message, file)


def exit_code(command: Callable[[], int], *, program: str, extra: str) -> int:
    """Run a command, and turn whatever ends it into a line on standard error and an exit code.

    Args:
        command: reads the command line and gives its exit code.
        program: its name, which starts each line.
        extra: the extra of pyproject.toml to recommend where several bring a missing package.

    Returns:
        The command's code, or that of the error that it raised; 0 where the reader of its output closed the pipe,
        130 after Ctrl-C. A closed standard stream counts as /dev/null.
    """
    open_standard_streams()
    _keep_secrets_of_records()
    output = _watch_output()
    try:
        code = _code_of(command)
        with contextlib.suppress(BrokenPipeError):
            sys.stdout.flush()  # a reader that has left, or a full disk, is noticed here, not at exit
        # argparse ignores that a help text cannot be written
        unwritten = _unwritten(output.failure)
        return code if unwritten is None else _say(unwritten, program)
    except KeyboardInterrupt:
        complain(f"{program}: interrupted")
        return INTERRUPTED
    except Exception as exc:  # noqa: BLE001 - the last place that can report it
        if output.failure is exc:
            return _say(_unwritten(output.failure), program)
        return _failed(exc, program=program, extra=extra)
    finally:
        for stream in (sys.stdout, sys.stderr):
            _give_up_unwritten(stream)


def complain(text: str) -> None:
    """Print a line to standard error, without secrets and control characters; it is lost if it cannot be written."""
    try:
        print(redact(text).translate(_CONTROLS), file=sys.stderr, flush=True)  # noqa: T201 - this is where commands speak
    except (OSError, ValueError):
        _give_up_unwritten(sys.stderr)


def open_standard_streams() -> None:
    """Open /dev/null for each of the descriptors 0, 1 and 2 that is closed.

    Else the next socket or file would get that number, and what is printed would go into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - os has no keyword; the lowest free one
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - stays open


def outlive_reader() -> None:
    """From here on the command runs to its end even if the reader of its output leaves (`| head`).

    For commands that do or judge something; one that only shows output ends when nobody reads it.
    """
    buffer = getattr(sys.stdout, "buffer", None)
    output = getattr(buffer, "raw", buffer)
    if isinstance(output, _Output):
        output.outlives_reader = True


def _code_of(command: Callable[[], int]) -> int:
    try:
        return command()
    except SystemExit as exc:  # argparse, after its help or a usage error
        if isinstance(exc.code, str):
            complain(exc.code)
        return exc.code if isinstance(exc.code, int) else int(exc.code is not None)


def _say(error: EdgedError | None, program: str) -> int:
    """Print the error, if there is one; returns the exit code."""
    if error is None:
        return 0
    complain(f"{program}: error: {error}")
    return error.exit_code


def _failed(exc: Exception, *, program: str, extra: str) -> int:
    if isinstance(exc, ModuleNotFoundError):
        with contextlib.suppress(ModuleNotFoundError):  # a missing module of edged itself is a defect
            return _say(not_installed(exc, prefer=extra), program)
    if isinstance(exc, EdgedError):
        return _say(exc, program)
    complain("".join(traceback.format_exception(exc)) + f"{program}: error: a defect of {program}; please report it")
    return EdgedError.exit_code


class _Output(io.FileIO):
    """Standard output that remembers why it could not be written."""

    failure: OSError | None = None
    outlives_reader = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - as FileIO takes it
        try:
            return super().write(data)
        except OSError as exc:
            self.failure = exc
            if self.outlives_reader and isinstance(exc, BrokenPipeError):
                return len(data)
            raise


def _watch_output() -> _Output:
    """Put an `_Output` in the place of standard output, unless a test has replaced it already."""
    output, before = _Output(1, "w", closefd=False), sys.stdout
    if before is sys.__stdout__ and isinstance(before, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            output if before.write_through else io.BufferedWriter(output),  # as Python itself does
            encoding=before.encoding,
            errors=before.errors,
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
    return output


def _unwritten(failure: OSError | None) -> EdgedError | None:
    """The error to report; None where nothing failed or the reader closed the pipe."""
    if failure is None or isinstance(failure, BrokenPipeError):
        return None
    return OutputError(f"standard output cannot be written: {failure.strerror}", remedy="write it elsewhere")


def _give_up_unwritten(stream: TextIO) -> None:
    """Drop what a stream cannot write, so that the interpreter does not fail when it exits."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
    except ValueError:  # closed
        pass


def _keep_secrets_of_records() -> None:
    """From now on log records, and tracebacks of uncaught errors in threads, show no secrets."""
    logging.setLogRecordFactory(SafeRecord)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda args: complain(
            f"thread {args.thread.name if args.thread else '?'}: "
            + "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        )
