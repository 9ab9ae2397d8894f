"""How a small program looks in the language of each SDK."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Files = Sequence[tuple[str, str]]
    """Pairs of a module's name in the manifest and the plug-in's file without `.wasm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """The input of a call: a text that is repeated."""

    text: str
    times: int = 1

    def render(self, quote: Callable[[str], str], form: str) -> str:
        """Return an expression; `form` says how a quoted `{text}` is repeated `{times}` times."""
        text = quote(self.text)
        return text if self.times == 1 else form.format(text=text, times=self.times)


class Language(ABC):
    """One language: its file, its comments, and the lines for the two steps."""

    name: ClassVar[str]
    file: ClassVar[str]
    comment: ClassVar[str] = "//"
    gap: ClassVar[str] = " "
    """What stands before a comment in a line."""

    @abstractmethod
    def load(self, plugin: str, files: Files, manifest: Mapping[str, Any]) -> str:
        """Return the line that makes a plug-in."""

    @abstractmethod
    def call(self, plugin: str, function: str, data: Data) -> str:
        """Return the line that calls it and shows output or error."""

    @abstractmethod
    def frame(self, head: str, body: Sequence[str]) -> str:
        """Return the whole program."""


class Python(Language):
    """PyPI `extism`; the manifest is the JSON of Extism."""

    name, file, comment, gap = "python", "main.py", "#", "  "

    def load(self, plugin: str, files: Files, manifest: Mapping[str, Any]) -> str:
        """Return the line that makes a plug-in."""
        wasm = [{"name": name, "path": f"{file}.wasm"} for name, file in files]
        return f"{plugin} = extism.Plugin({ {'wasm': wasm, **manifest}!r}, wasi=True)"

    def call(self, plugin: str, function: str, data: Data) -> str:
        """Return the line that calls it."""
        return f"show(lambda: {plugin}.call({function!r}, {data.render(repr, '{text} * {times}')}))"

    def frame(self, head: str, body: Sequence[str]) -> str:
        """Return the whole program."""
        show = "def show(call):\n    try:\n        print(bytes(call()))\n    except extism.Error as error:\n"
        return "\n".join([head, "import extism", "", show + "        print(error)\n", *body]) + "\n"


class Go(Language):
    """The Go module; the manifest is read from JSON."""

    name, file = "go", "main.go"

    def load(self, plugin: str, files: Files, manifest: Mapping[str, Any]) -> str:
        """Return the line that makes a plug-in."""
        wasm = [{"name": name, "path": f"{file}.wasm"} for name, file in files]
        return f"{plugin} := load(`{json.dumps({'wasm': wasm, **manifest})}`)"

    def call(self, plugin: str, function: str, data: Data) -> str:
        """Return the line that calls it."""
        text = data.render(json.dumps, "strings.Repeat({text}, {times})")
        return f"show({plugin}.Call({json.dumps(function)}, []byte({text})))"

    def frame(self, head: str, body: Sequence[str]) -> str:
        """Return the whole program."""
        text = "\n".join(f"\t{line}" for line in body)
        strings = '\n\t"strings"' if "strings." in text else ""
        return f"""{head}
package main

import (
	"context"
	"fmt"{strings}

	extism "github.com/extism/go-sdk"
)

func load(text string) *extism.Plugin {{
	var manifest extism.Manifest
	if err := manifest.UnmarshalJSON([]byte(text)); err != nil {{
		panic(err)
	}}
	config := extism.PluginConfig{{EnableWasi: true}}
	plugin, err := extism.NewPlugin(context.Background(), manifest, config, nil)
	if err != nil {{
		panic(err)
	}}
	return plugin
}}

func show(status uint32, output []byte, err error) {{ fmt.Printf("%d %q %v\\n", status, output, err) }}

func main() {{
{text}
}}
"""


class Java(Language):
    """The Java SDK; of the manifest it knows config, allowed hosts and pages."""

    name, file = "java", "Main.java"

    def load(self, plugin: str, files: Files, manifest: Mapping[str, Any]) -> str:
        """Return the line that makes a plug-in."""
        options = "new Manifest.Options().withHttpConfig(HTTP)"
        if config := manifest.get("config"):
            pairs = ", ".join(f"{json.dumps(key)}, {json.dumps(value)}" for key, value in config.items())
            options += f".withConfig(Map.of({pairs}))"
        if hosts := manifest.get("allowed_hosts"):
            options += f".withAllowedHosts({', '.join(map(json.dumps, hosts))})"
        if pages := manifest.get("memory", {}).get("max_pages"):
            options += f".withMemoryLimits(1, {pages})"
        folders = "".join(
            f".withDirectory({json.dumps(guest)}, Path.of({json.dumps(host)}))"
            for host, guest in manifest.get("allowed_paths", {}).items()
        )
        options += f".withWasi(WasiOptions.builder(){folders}.build())"
        wasm = ", ".join(f'wasm("{name}", "{file}.wasm")' for name, file in files)
        made = f"Manifest.ofWasms({wasm}).withOptions({options}).build()"
        return f"var {plugin} = Plugin.ofManifest({made}).build();"

    def call(self, plugin: str, function: str, data: Data) -> str:
        """Return the line that calls it."""
        text = data.render(json.dumps, "{text}.repeat({times})")
        return f"show(() -> {plugin}.call({json.dumps(function)}, {text}.getBytes()));"

    def frame(self, head: str, body: Sequence[str]) -> str:
        """Return the whole program."""
        text = "\n".join(f"        {line}" for line in body)
        return f"""{head}
import com.dylibso.chicory.wasi.WasiOptions;
import java.nio.file.*;
import java.util.Map;
import java.util.function.Supplier;
import org.extism.sdk.chicory.*;
import org.extism.sdk.chicory.http.HttpConfig;
import org.extism.sdk.chicory.http.client.javanet.JavaNetHttpClientAdapter;
import org.extism.sdk.chicory.http.jackson.JacksonJsonCodec;

class Main {{
    static final HttpConfig HTTP = HttpConfig.builder()
        .withJsonCodec(JacksonJsonCodec::new).withClientAdapter(JavaNetHttpClientAdapter::new).build();

    static ManifestWasm wasm(String name, String file) throws Exception {{
        return ManifestWasm.fromBytes(Files.readAllBytes(Path.of(file))).withName(name).build();
    }}

    static void show(Supplier<byte[]> call) {{
        try {{
            System.out.println(new String(call.get()));
        }} catch (RuntimeException error) {{
            System.out.println(error);
        }}
    }}

    public static void main(String[] arguments) throws Exception {{
{text}
    }}
}}
"""


class JavaScript(Language):
    """npm `@extism/extism`."""

    name, file = "javascript", "main.mjs"

    def load(self, plugin: str, files: Files, manifest: Mapping[str, Any]) -> str:
        """Return the line that makes a plug-in."""
        wasm = ", ".join(f'{{ name: "{name}", data: readFileSync("{file}.wasm") }}' for name, file in files)
        memory = manifest.get("memory", {})
        options: dict[str, Any] = {"runInWorker": True, "allowedHosts": manifest.get("allowed_hosts", [])}
        options["useWasi"] = True
        options["allowedPaths"] = {guest: host for host, guest in manifest.get("allowed_paths", {}).items()}
        if "config" in manifest:
            options["config"] = manifest["config"]
        if "timeout_ms" in manifest:
            options["timeoutMs"] = manifest["timeout_ms"]
        names = {"max_pages": "maxPages", "max_http_response_bytes": "maxHttpResponseBytes"}
        names["max_var_bytes"] = "maxVarBytes"
        if memory:
            options["memory"] = {names[key]: value for key, value in memory.items()}
        return f"const {plugin} = await createPlugin({{ wasm: [{wasm}] }}, {json.dumps(options)});"

    def call(self, plugin: str, function: str, data: Data) -> str:
        """Return the line that calls it."""
        text = data.render(json.dumps, "{text}.repeat({times})")
        return f"await show({plugin}.call({json.dumps(function)}, {text}));"

    def frame(self, head: str, body: Sequence[str]) -> str:
        """Return the whole program."""
        lines = [
            head,
            'import { readFileSync } from "node:fs";',
            'import { createPlugin } from "@extism/extism";',
            "",
            "const show = (call) => call.then((output) => console.log(output?.text()), console.error);",
            *body,
            "process.exit();",
        ]
        return "\n".join(lines) + "\n"


LANGUAGES: dict[str, Language] = {
    "rust": Python(),
    "go": Go(),
    "java": Java(),
    "javascript": JavaScript(),
}
"""By the name of the SDK; the Rust host is reached from Python here."""
