"""What an application or a plug-in's author may get wrong: each mistake has its error."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import (
    F64,
    I32,
    U64,
    CompiledPlugin,
    CurrentPlugin,
    HostFunction,
    HostFunctionError,
    Json,
    ManifestError,
    Plugin,
    PluginClosedError,
    PluginLoadError,
    host_function,
    parse_manifest,
)

from .conftest import number, request, wat, wat_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator


def shout(text: str) -> str:
    return text.upper()


class Shouter:
    def __init__(self, end: str) -> None:
        self.end = end

    def __call__(self, text: str) -> str:
        return text.upper() + self.end

    def method(self, text: str) -> str:
        return text.upper() + self.end


def with_end(text: str, end: str) -> str:
    return text.upper() + end


def with_option(text: str, *, end: str = "?", **_: object) -> str:
    return text.upper() + end


def logged(run: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(run)
    def inner(*args: Any, **more: Any) -> str:  # noqa: ANN401 - as the function has them
        return run(*args, **more) + "."

    return inner


GOOD: dict[str, tuple[Callable[..., Any], bytes]] = {
    "function": (shout, b"X"),
    "partial-by-name": (functools.partial(with_end, end="!"), b"X!"),
    "partial-of-partial": (functools.partial(functools.partial(with_option), end="#"), b"X#"),
    "keyword-only-default": (with_option, b"X?"),
    "method": (Shouter("+").method, b"X+"),
    "object": (Shouter("-"), b"X-"),
    "wrapped": (logged(shout), b"X."),
}


@pytest.mark.parametrize("kind", GOOD)
def test_callable_of_any_kind_serves_a_guest(kind: str) -> None:
    run, output = GOOD[kind]
    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(run, name="shout")]) as plugin:
        assert plugin.call("shout", "x") == output


def test_decorated_function_stays_callable() -> None:
    @host_function
    def twice(text: str) -> str:
        return text * 2

    @host_function(name="shout")
    def louder(text: str, *, end: str = "!") -> str:
        return str(twice(text.upper())) + end

    assert isinstance(louder, HostFunction)
    assert (twice("a"), louder("a", end="?")) == ("aa", "AA?")
    with Plugin({"wasm": [wat("shout")]}, functions=[louder]) as plugin:
        assert plugin.call("shout", "x") == b"XX!"


async def waits(text: str) -> str:
    return text


def yields(text: str) -> Iterator[str]:
    yield text


async def waits_and_yields(text: str) -> AsyncIterator[str]:
    yield text


class Waits:
    async def __call__(self, text: str) -> str:
        return text


def any_number(*texts: str) -> str:
    return "".join(texts)


def needs_name(text: str, *, end: str) -> str:
    return text + end


def defaults(text: str, end: str = "") -> str:
    return text + end


def late_plugin(text: str, plugin: CurrentPlugin) -> None: ...


def unknown_type(text: NoSuchType) -> None: ...  # type: ignore[name-defined]  # noqa: F821 - the fault under test


def unhashable(text: Json | list[int]) -> None: ...


BAD: dict[str, tuple[Callable[..., Any], str]] = {
    "async": (waits, "`waits` is `async def`"),
    "async-partial": (functools.partial(waits, text="x"), "`waits` is `async def`"),
    "async-object": (Waits(), "is `async def`"),
    "generator": (yields, "`yields` is a generator"),
    "async-generator": (waits_and_yields, "`waits_and_yields` is a generator"),
    "any-number": (any_number, r"`\*texts` takes any number"),
    "keyword-only": (needs_name, "`end` is keyword-only"),
    "default": (defaults, "the default of `end` would never count"),
    "late-plugin": (late_plugin, "only the first parameter"),
    "unknown-type": (unknown_type, "annotations cannot be read: name 'NoSuchType'"),
    "other-type": (unhashable, "text has the annotation"),
    "not-callable": (5, "5 cannot be called"),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("fault", BAD)
def test_function_that_no_guest_can_call_is_refused(fault: str) -> None:
    run, message = BAD[fault]
    with pytest.raises(TypeError, match=message):
        host_function(run, name=None if hasattr(run, "__name__") or fault == "async-partial" else "f")


def test_function_without_a_name_is_refused() -> None:
    with pytest.raises(TypeError, match="no name of its own; pass `name`"):
        host_function(lambda: None)
    with pytest.raises(TypeError, match="no name of its own; pass `name`"):
        host_function(Shouter(""))


def test_function_is_wrapped_once() -> None:
    with pytest.raises(TypeError, match="`shout` is a host function already"):
        host_function(host_function(shout))
    with pytest.raises(TypeError, match="is no host function; pass `host_function"):
        Plugin({"wasm": [wat("shout")]}, functions=[shout])  # type: ignore[list-item]


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(PluginLoadError, match="two functions are offered as `extism:host/user` `shout`"):
        Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)] * 2)
    elsewhere = host_function(shout, namespace="other")
    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout), elsewhere]) as plugin:
        assert plugin.call("shout", "x") == b"X"


def returns(value: object, kind: object) -> HostFunction:
    def shout(text: str) -> Any:  # noqa: ANN401, ARG001 - annotated below
        return value

    shout.__annotations__["return"] = kind
    return host_function(shout)


BAD_RESULTS = {
    "integer-for-bytes": (5, bytes, "bytes were expected, not `int`"),
    "text-for-bytes": ("x", bytes, "bytes were expected, not `str`"),
    "nothing-for-text": (None, str, "text was expected, not `NoneType`"),
    "surrogate": ("\ud800", str, "lone surrogate at 0"),
    "json-nan": (float("nan"), Json, "Out of range"),
    "json-set": (set(), Json, "not JSON serializable"),
    "text-for-integer": ("5", int, "cannot be interpreted as an integer"),
    "float-for-integer": (5.5, int, "cannot be interpreted as an integer"),
    "large-integer": (2**64, U64, "18446744073709551616 does not fit into 64 bits"),
    "small-integer": (-(2**63) - 1, int, "does not fit into 64 bits"),
    "coroutine-for-text": (waits, str, "text was expected, not `function`"),
}


@pytest.mark.parametrize("fault", BAD_RESULTS)
def test_result_of_another_type_is_refused(fault: str) -> None:
    value, kind, message = BAD_RESULTS[fault]
    with (
        Plugin({"wasm": [wat("shout")]}, functions=[returns(value, kind)]) as plugin,
        pytest.raises(HostFunctionError, match=f"`shout` returned what cannot be passed on: .*{message}"),
    ):
        plugin.call("shout", "x")


def test_coroutine_that_would_never_run_is_refused() -> None:
    def note(value: Json) -> Coroutine[Any, Any, str]:
        return waits(value)

    note.__annotations__["return"] = None
    functions = [host_function(shout), host_function(note), host_function(total, name="sum")]
    with (
        Plugin({"wasm": [wat("user")]}, functions=functions) as plugin,
        pytest.raises(HostFunctionError, match="`note` returned a `coroutine`, which never ran"),
    ):
        plugin.call("note", "[]")


def test_plugin_that_is_kept_ends_with_its_call() -> None:
    kept: list[CurrentPlugin] = []

    def shout(plugin: CurrentPlugin, text: str) -> bytes:
        assert plugin.read(plugin.write(b"abc")) == b"abc"
        kept.append(plugin)
        if text == "fail":
            raise ValueError(text)
        return b"fine"

    with Plugin({"wasm": [wat("shout")]}, functions=[host_function(shout)]) as plugin:
        assert plugin.call("shout", "x", host_context="mine") == b"fine"
        with pytest.raises(HostFunctionError, match="ValueError: fail"):
            plugin.call("shout", "fail")
        assert kept[0].host_context == "mine"
        for current in kept:
            uses: list[Callable[[], object]] = [
                functools.partial(current.read, 0),
                functools.partial(current.write, b"x"),
                functools.partial(current.free, 1),
                functools.partial(getattr, current, "time_left"),
                functools.partial(getattr, current, "is_stopped"),
            ]
            for use in uses:
                with pytest.raises(PluginClosedError, match="ended with the call"):
                    use()


def total(a: I32, b: int, c: F64) -> U64:
    return a + b + int(c)


def test_numbers_go_through_in_either_sign() -> None:
    def both(a: I32, b: int, c: F64) -> U64:  # noqa: ARG001 - the plug-in passes them
        return -1

    functions = [
        host_function(shout),
        host_function(both, name="sum"),
        host_function(note_nothing, name="note"),
    ]
    with Plugin({"wasm": [wat("user")]}, functions=functions) as plugin:
        assert number(plugin.call("sum")) == 2**64 - 1


def note_nothing(value: Json) -> None: ...


@pytest.mark.parametrize("data", [5, True, None, [1], 1.5])
def test_input_that_is_no_data_is_refused(load: Callable[..., Plugin], data: Any) -> None:  # noqa: ANN401 - the fault
    plugin = load("kit")
    with pytest.raises(TypeError, match="bytes or text was expected, not"):
        plugin.call("echo", data)
    others: list[Any] = [bytearray(b"fine"), memoryview(b"fine")]
    assert [plugin.call("echo", other) for other in others] == [b"fine"] * 2


def test_input_that_is_no_text_is_refused(load: Callable[..., Plugin]) -> None:
    with pytest.raises(ValueError, match="lone surrogate at 1"):
        load("kit").call("echo", "a\ud800")


IMPORTS = {
    "misspelt": ("extism:host/env", "aloc", "no function of the kernel or the host; did you mean `alloc`?"),
    "unknown": ("extism:host/env", "xyz", "(no function of the kernel or the host)"),
    "old-name": ("extism:host/env", "extism_alloc", "the name of before 1.0; now `alloc`"),
    "own": ("extism:host/env", "shout", "the application's, offered as `extism:host/user` `shout`"),
    "too-new": ("env", "extism_http_headers", "since 1.0, as `extism:host/env` `http_headers`"),
    "old-misspelt": ("env", "extism_aloc", "did you mean `extism_alloc`?"),
    "no-prefix": ("env", "alloc", "a function of Extism; import it from `extism:host/env`"),
    "kernels-in-user": ("extism:host/user", "alloc", "import it from `extism:host/env`"),
    "user-misspelt": ("extism:host/user", "shot", "did you mean `shout`?"),
    "own-elsewhere": ("other", "shout", "offered as `extism:host/user` `shout`"),
    "assemblyscript": ("env", "abort", "give asc `--use abort=`"),
    "emscripten": ("env", "emscripten_notify_memory_growth", "-sSTANDALONE_WASM"),
    "wbg": ("wbg", "__wbg_now_1", "cargo tree -i wasm-bindgen"),
    "bindgen": ("__wbindgen_placeholder__", "__wbindgen_describe", "wasm-bindgen's glue for JavaScript"),
    "bindgen-in-env": ("env", "__wbindgen_throw", "wasm-bindgen's glue for JavaScript"),
    "gojs": ("gojs", "runtime.wasmExit", "GOOS=wasip1"),
    "old-wasi": ("wasi_unstable", "fd_write", "WASI before preview 1"),
    "new-wasi": ("wasi:cli/stdout@0.2.0", "get-stdout", "WASI 0.2, for components"),
    "dynamic": ("GOT.func", "f", "link statically"),
}


@pytest.mark.parametrize("fault", IMPORTS)
def test_import_that_no_one_provides_is_explained(fault: str) -> None:
    module, name, reason = IMPORTS[fault]
    text = f'(module (import "{module}" "{name}" (func)))'
    with pytest.raises(PluginLoadError) as caught:
        Plugin({"wasm": [{"data": text.encode()}]}, functions=[host_function(shout)])
    assert f"`{module}` `{name}`" in caught.value.message
    assert reason in caught.value.message
    assert caught.value.hint is None


def test_import_of_the_applications_own_gets_the_hint() -> None:
    with pytest.raises(
        PluginLoadError, match="`main` imports what no one provides: `extism:host/user` `shout`"
    ) as it:
        Plugin({"wasm": [wat("shout")]})
    assert "functions=[host_function(...)]" in it.value.render()


def test_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    text = json.dumps({"wasm": [{"path": str(wat_path("kit"))}]})
    for i, encoding in enumerate(("utf-8-sig", "utf-16", "utf-32")):
        path = tmp_path / f"{i}.json"
        path.write_bytes(text.encode(encoding))
        assert Plugin(path).call("echo", b"x") == b"x"
    marked = "\ufeff" + text
    for source in (marked, marked.encode()):
        assert Plugin(source).call("echo", b"x") == b"x"
    assert Plugin(b"\xef\xbb\xbf" + wat_path("kit").read_bytes()).call("echo", b"x") == b"x"


ONE = [{"path": "x.wasm"}]
SURROGATES: dict[str, tuple[dict[str, Any], str]] = {
    "path": ({"wasm": [{"path": "\ud800"}]}, "`path`"),
    "name": ({"wasm": [{"path": "x", "name": "\ud800"}]}, "`name`"),
    "url": ({"wasm": [{"url": "http://a/\ud800"}]}, "`url`"),
    "header": ({"wasm": [{"url": "http://a/", "headers": {"a": "\ud800"}}]}, "`headers.a`"),
    "config-value": ({"wasm": ONE, "config": {"a": "x\ud800"}}, "`config.a`"),
    "config-key": ({"wasm": ONE, "config": {"\ud800": "x"}}, "a key of `config`"),
    "host": ({"wasm": ONE, "allowed_hosts": ["a", "\ud800"]}, r"`allowed_hosts\[1\]`"),
    "folder": ({"wasm": ONE, "allowed_paths": {"\ud800": "/"}}, "a key of `allowed_paths`"),
    "guest-path": ({"wasm": ONE, "allowed_paths": {"/": "/\ud800"}}, "`allowed_paths./`"),
}


@pytest.mark.parametrize("place", SURROGATES)
def test_text_that_cannot_be_encoded_is_refused(place: str) -> None:
    value, where = SURROGATES[place]
    for manifest in (value, json.dumps(value)):
        with pytest.raises(ManifestError, match=f"{where} has a lone surrogate") as caught:
            parse_manifest(manifest)
        caught.value.render().encode()


def test_source_and_config_that_cannot_be_encoded_are_refused() -> None:
    with pytest.raises(ManifestError, match="lone surrogate"):
        Plugin("(module)\ud800")
    with pytest.raises(ManifestError, match="lone surrogate"):
        CompiledPlugin(wat_path("kit").read_text(), config={"a": "\ud800"})
    with pytest.raises(ManifestError, match="lone surrogate"):
        parse_manifest('{"wasm": [{"path": "\\ud800"}]}')


def test_request_that_cannot_be_encoded_is_refused(load: Callable[..., Plugin]) -> None:
    with pytest.raises(HostFunctionError, match="lone surrogate"):
        load("kit", allowed_hosts=["*"]).call("http", request("http://127.0.0.1:1/\ud800"))


def test_folder_that_is_missing_is_named_when_the_plugin_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for missing in ("none", "file"):
        manifest = {"wasm": [wat("kit")], "allowed_paths": {f"ro:{tmp_path / missing}": "/"}}
        compiled = CompiledPlugin(manifest)
        with pytest.raises(ManifestError, match=f"`{tmp_path / missing}` is not a folder"):
            Plugin(compiled)


@pytest.mark.parametrize("name", ["wasmtime", "urllib3", "idna"])
def test_dependency_that_is_missing_is_told_with_the_command(name: str) -> None:
    code = f"import sys; sys.modules[{name!r}] = None; import extism_kernel_pkg.host"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    message = f"the host needs `{name}`; install it with `pip install 'extism-kernel[host]'`"
    assert done.stderr.endswith(f"ModuleNotFoundError: {message}\n")


def test_http_library_is_imported_with_the_first_request_alone() -> None:
    names = {"urllib3", "idna", "ssl"}
    code = f"import sys; import extism_kernel_pkg.host; print(sorted({names} & set(sys.modules)))"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
