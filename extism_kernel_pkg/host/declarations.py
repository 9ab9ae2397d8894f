"""What a Python function says of itself, as far as a guest can call it; all else is refused by name."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The annotations of what a guest passes, in order, and of what it gets back (None for nothing)."""

    name: str
    parameters: dict[str, object]
    result: object


def read_declaration(run: Callable[..., Any], name: str | None) -> Declaration:
    """Read a function, a method, a `functools.partial` or an object with `__call__`.

    A guest passes every argument, by position. So what `partial` has bound and what is keyword-only
    with a default keeps its value, and what else a guest could not pass raises `TypeError`, as do
    functions that run later, generators and coroutines.
    """
    if not callable(run):
        raise TypeError(f"{run!r} cannot be called")
    bare = run
    while isinstance(bare, functools.partial):
        bare = bare.func
    name = name or getattr(bare, "__name__", None)
    if name is None or name == "<lambda>":
        raise TypeError(f"{run!r} has no name of its own; pass `name`")
    code = bare if inspect.isroutine(bare) or inspect.isclass(bare) else type(bare).__call__
    if inspect.iscoroutinefunction(code):
        raise TypeError(
            f"`{name}` is `async def`: a guest cannot wait; run it with `asyncio.run` inside a `def`"
        )
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise TypeError(
            f"`{name}` is a generator: a guest takes one result; return a value instead of `yield`"
        )
    try:
        signature = inspect.signature(run)
        hints = get_type_hints(code, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise TypeError(f"`{name}`: its annotations cannot be read: {error}") from None
    parameters = {
        parameter.name: hints.get(parameter.name)
        for parameter in signature.parameters.values()
        if _is_passed(name, parameter)
    }
    return Declaration(name=name, parameters=parameters, result=hints.get("return"))


def _is_passed(function: str, parameter: inspect.Parameter) -> bool:
    """Return whether a guest passes this parameter. Raises `TypeError` if it would have to, but cannot."""
    what, has_default = parameter.name, parameter.default is not inspect.Parameter.empty
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        raise TypeError(
            f"`{function}`: `*{what}` takes any number of arguments, an import has a fixed number"
        )
    if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not has_default:
        raise TypeError(
            f"`{function}`: `{what}` is keyword-only, and a guest passes by position; "
            "give it a default or bind it with `functools.partial`"
        )
    if parameter.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}:
        return False
    if has_default:
        raise TypeError(
            f"`{function}`: the default of `{what}` would never count, as a guest passes every argument; "
            "remove it, or make the parameter keyword-only"
        )
    return True
