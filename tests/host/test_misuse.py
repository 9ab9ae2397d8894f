"""What an application or a plug-in's author may get wrong: each mistake has its error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from extism_kernel_pkg.host import (
    CompiledPlugin,
    HostFunctionError,
    ManifestError,
    Plugin,
    PluginLoadError,
    host_function,
    parse_manifest,
)

from .conftest import request, wat, wat_path

if TYPE_CHECKING:
    from collections.abc import Callable


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


def shout(text: str) -> str:
    return text.upper()


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
