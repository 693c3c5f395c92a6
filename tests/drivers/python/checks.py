"""Runs checks one after another and prints a line for each; the exit code tells whether all of them passed."""

import asyncio
import faulthandler
import inspect
import sys
import traceback

# Seconds that one check may take.
PATIENCE = 60


class Checks:
    """The checks of one driver, in the order in which they were added."""

    def __init__(self, driver):
        self.driver = driver
        self.all = []

    def add(self, what):
        """Adds the decorated function, plain or `async`, under a sentence that says what it checks."""

        def decorate(function):
            self.all.append((what, function))
            return function

        return decorate

    def main(self):
        """Runs those whose sentence holds the first argument, or all."""
        sys.exit(asyncio.run(self._run(sys.argv[1] if len(sys.argv) > 1 else "")))

    async def _run(self, only):
        failed = 0
        for what, function in self.all:
            if only not in what:
                continue
            # A check that hangs says where.
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            try:
                if inspect.iscoroutinefunction(function):
                    await function()
                else:
                    # In a thread of its own, in which no event loop runs.
                    await asyncio.to_thread(function)
                print(f"{self.driver}: ok: {what}", flush=True)
            except Exception:
                failed = 1
                print(f"{self.driver}: FAILED: {what}\n{traceback.format_exc()}", flush=True)
            finally:
                faulthandler.cancel_dump_traceback_later()
        return failed


def equal(found, expected):
    """Fails unless both are the same."""
    if found != expected:
        raise AssertionError(f"{found!r} instead of {expected!r}")


def raises(kind, function, *arguments):
    """Fails unless the call raises an exception of this kind; gives it."""
    try:
        function(*arguments)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")
