"""Verbs: what a notebook's cells call."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from kubeharden.errors import (
    KubehardenError,
    ParameterError,
    RecordError,
    StepError,
    StoppedError,
    UnexpectedError,
)
from kubeharden.plan.events import Error
from kubeharden.redaction import Redactor
from kubeharden.show.display import View

AFTER = ("seal",)  # the verbs of a run that is over
P = ParamSpec("P")
T = TypeVar("T")


def verb(function: Callable[P, T]) -> Callable[P, T]:
    """Refuse a run that is over, and let no exception reach the notebook with a secret in its traceback."""

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        run: Any = args[0] if args else None  # of a run's verbs; others have no event to write and no end
        redactor = getattr(run, "redactor", None) or Redactor()
        if getattr(run, "is_over", False) and function.__name__ not in AFTER:
            run.show_again(function.__name__, *args[1:])
            raise KubehardenError(
                "this run is over: run the cell with runbook.start(globals()) for a new one"
            )
        try:
            _check_arguments(function, *args, **kwargs)
            result = function(*args, **kwargs)
        except (KubehardenError, KeyboardInterrupt) as error:
            _emit_error(run, function.__name__, error)
            if isinstance(error, KubehardenError) and not hasattr(error, "__notes__"):
                error.add_note(f"Causes and ways out: {error.page}")
            raise
        except Exception as error:
            _emit_error(run, function.__name__, error)
            trace = "".join(traceback.format_exception(error))
            raise UnexpectedError(
                f"this should not have happened; please report it:\n{redactor.redact(trace)}"
            ) from error
        if isinstance(result, View):
            result.redactor, result.watched = (
                redactor,
                bool(getattr(getattr(run, "person", None), "is_there", False)),
            )
        return result

    return wrapper


def _check_arguments(function: Callable[..., object], *args: object, **kwargs: object) -> None:
    """Refuse, with a ParameterError, a call that has not the arguments of a verb: ``run.apply()`` names no step."""
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        needed = [name for name, each in signature.parameters.items() if each.default is each.empty]
        expected = f"{function.__name__}({', '.join(name for name in needed if name not in ('self', 'run'))})"
        raise ParameterError(f"{function.__name__}: {error}; expected {expected}") from None


def _emit_error(run: Any, name: str, error: BaseException) -> None:
    """Emit what ended a verb; where the journal itself is what failed, there is nowhere to write it."""
    cause = error.__cause__ if isinstance(error, StepError) and error.__cause__ else error
    emit = getattr(run, "emit", None)
    if emit is not None and not isinstance(cause, RecordError):
        emit(Error(name, type(cause).__name__, str(error)))
        # papermill prints an error's words itself, but not those of a run that was interrupted.
        words = f": {error}" if isinstance(error, StoppedError) else ""
        run.tell_end(f"{name} failed ({type(cause).__name__}){words}")
