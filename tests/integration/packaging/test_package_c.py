"""The package for C compiles without a warning, and CMake, pkg-config and Zig build programs with it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.packaging.clients import need, python_tools
from tests.integration.packaging.support import digest, find_only, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

GCC = "apt-get install gcc"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror")
PROGRAM = """
#include <extism_kernel.h>
#include <stdio.h>
int main(int argc, char **argv) {
    const unsigned char *module = argc > 1 ? extism_kernel_core : extism_kernel_context;
    size_t size = argc > 1 ? sizeof extism_kernel_core : sizeof extism_kernel_context;
    (void)argv;
    return fwrite(module, 1, size, stdout) == size ? 0 : 1;
}
"""
CMAKE_USER = """
cmake_minimum_required(VERSION 3.16)
project(use LANGUAGES C)
{how}
add_executable(use use.c)
target_link_libraries(use PRIVATE extism::kernel)
"""
FETCH = """
include(FetchContent)
FetchContent_Declare(extism_kernel URL "{url}" URL_HASH SHA256={digest})
FetchContent_MakeAvailable(extism_kernel)
"""
ZIG_USER = """
const std = @import("std");
pub fn build(b: *std.Build) void {
    const target = b.standardTargetOptions(.{});
    const kernel = b.dependency("extism_kernel", .{ .target = target });
    const root = b.createModule(.{ .target = target, .link_libc = true });
    root.addCSourceFiles(.{ .files = &.{"use.c"} });
    root.linkLibrary(kernel.artifact("extism_kernel"));
    b.installArtifact(b.addExecutable(.{ .name = "use", .root_module = root }));
    const zig = b.createModule(.{ .root_source_file = b.path("size.zig"), .target = target });
    zig.addImport("extism_kernel", kernel.module("extism_kernel"));
    b.installArtifact(b.addExecutable(.{ .name = "size", .root_module = zig }));
}
"""
ZIG_SIZE = """
const std = @import("std");
const kernel = @import("extism_kernel");
pub fn main() void {
    std.debug.print("{d} {d} {s}", .{ kernel.context.len, kernel.core.len, kernel.version });
}
"""


@pytest.fixture(scope="module")
def source(packages: Path) -> Path:
    """The unpacked folder."""
    (folder,) = (path for path in (packages / "c").iterdir() if path.is_dir())
    return folder


def gives_kernel(program: Path, kernel: Path, folder: Path) -> bool:
    """Whether a program prints both flavours, byte for byte."""
    run("sh", "-c", f"{program} > context.wasm && {program} core > core.wasm", cwd=folder)
    found = [digest(folder / "context.wasm"), digest(folder / "core.wasm")]
    return found == [digest(kernel / name) for name in ("extism-runtime.wasm", "extism-runtime-core.wasm")]


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sources_compile_without_a_warning(compiler: str, source: Path, kernel: Path, tmp_path: Path) -> None:
    cc = need(compiler, f"apt-get install {compiler}")
    (tmp_path / "use.c").write_text(PROGRAM)
    sources = sorted((source / "src").glob("*.c"))
    run(cc, *STRICT, f"-I{source / 'include'}", "use.c", *sources, "-o", "use", cwd=tmp_path)
    assert gives_kernel(tmp_path / "use", kernel, tmp_path)


def test_header_serves_cpp(source: Path, kernel: Path, tmp_path: Path) -> None:
    cpp, cc = need("g++", "apt-get install g++"), need("gcc", GCC)
    (tmp_path / "use.cpp").write_text(PROGRAM.replace("<stdio.h>", "<cstdio>"))
    for path in sorted((source / "src").glob("*.c")):
        run(cc, *STRICT, "-c", f"-I{source / 'include'}", path, cwd=tmp_path)
    objects = [path.name for path in tmp_path.glob("*.o")]
    run(
        cpp,
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{source / 'include'}",
        "use.cpp",
        *objects,
        "-o",
        "use",
        cwd=tmp_path,
    )
    assert gives_kernel(tmp_path / "use", kernel, tmp_path)


def test_numbers_alone_make_an_array(source: Path, kernel: Path, tmp_path: Path) -> None:
    """For who wants no library: the form of `xxd -i`, in an array of one's own."""
    cc = need("gcc", GCC)
    (tmp_path / "use.c").write_text(
        '#include <stdio.h>\nstatic const unsigned char own[] = {\n#include "extism_kernel_core.inc"\n};\n'
        "int main(void) { return fwrite(own, 1, sizeof own, stdout) == sizeof own ? 0 : 1; }\n"
    )
    run(cc, *STRICT, f"-I{source / 'include'}", "use.c", "-o", "use", cwd=tmp_path)
    run("sh", "-c", "./use > own.wasm", cwd=tmp_path)
    assert digest(tmp_path / "own.wasm") == digest(kernel / "extism-runtime-core.wasm")


def test_linker_leaves_out_the_flavour_that_is_not_used(source: Path, tmp_path: Path) -> None:
    cmake, nm = need("cmake", "apt-get install cmake"), need("nm", "apt-get install binutils")
    need("gcc", GCC)
    run(cmake, "-S", source, "-B", tmp_path / "build", cwd=tmp_path)
    run(cmake, "--build", tmp_path / "build", cwd=tmp_path)
    (tmp_path / "use.c").write_text(
        "#include <extism_kernel.h>\nint main(void) { return extism_kernel_core[0]; }\n"
    )
    library = tmp_path / "build" / "libextism_kernel.a"
    run("gcc", f"-I{source / 'include'}", "use.c", library, "-o", "use", cwd=tmp_path)
    symbols = run(nm, "use", cwd=tmp_path).stdout
    assert "extism_kernel_core" in symbols
    assert "extism_kernel_context" not in symbols


def build_with_cmake(how: str, folder: Path, **defines: str | Path) -> Path:
    cmake = need("cmake", "apt-get install cmake")
    need("gcc", GCC)
    (folder / "use.c").write_text(PROGRAM)
    (folder / "CMakeLists.txt").write_text(CMAKE_USER.format(how=how))
    options = [f"-D{name}={value}" for name, value in defines.items()]
    run(cmake, "-S", folder, "-B", folder / "build", "-DCMAKE_C_FLAGS=-Wall -Werror", *options, cwd=folder)
    run(cmake, "--build", folder / "build", cwd=folder)
    return folder / "build" / "use"


def test_fetch_content_takes_the_archive(packages: Path, kernel: Path, tmp_path: Path) -> None:
    archive = find_only(packages / "c", "*.tar.gz")
    how = FETCH.format(url=archive.as_uri(), digest=digest(archive))
    assert gives_kernel(build_with_cmake(how, tmp_path), kernel, tmp_path)


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prefix that `cmake --install` filled."""
    cmake = need("cmake", "apt-get install cmake")
    need("gcc", GCC)
    folder = tmp_path_factory.mktemp("installed")
    prefix = folder / "prefix"
    run(cmake, "-S", source, "-B", folder / "build", f"-DCMAKE_INSTALL_PREFIX={prefix}", cwd=folder)
    run(cmake, "--build", folder / "build", cwd=folder)
    run(cmake, "--install", folder / "build", cwd=folder)
    return prefix


def test_find_package_finds_the_installed_library(installed: Path, kernel: Path, tmp_path: Path) -> None:
    version = re.split("[-+]", json.loads((kernel / "kernel_info.json").read_bytes())["version"])[0]
    how = f"find_package(extism-kernel {version} REQUIRED)"
    assert gives_kernel(build_with_cmake(how, tmp_path, CMAKE_PREFIX_PATH=installed), kernel, tmp_path)


def test_pkg_config_names_the_library_and_the_modules(installed: Path, kernel: Path, tmp_path: Path) -> None:
    pkg_config, cc = need("pkg-config", "apt-get install pkg-config"), need("gcc", GCC)
    env = {"PKG_CONFIG_PATH": str(find_only(installed, "**/pkgconfig"))}
    run(pkg_config, "--validate", "extism-kernel", cwd=tmp_path, env=env)
    flags = run(pkg_config, "--cflags", "--libs", "extism-kernel", cwd=tmp_path, env=env).stdout.split()
    (tmp_path / "use.c").write_text(PROGRAM)
    run(cc, *STRICT, "use.c", *flags, "-o", "use", cwd=tmp_path)
    assert gives_kernel(tmp_path / "use", kernel, tmp_path)
    folder = run(pkg_config, "--variable=kerneldir", "extism-kernel", cwd=tmp_path, env=env).stdout.strip()
    assert digest(installed.joinpath(folder) / "extism-runtime.wasm") == digest(
        kernel / "extism-runtime.wasm"
    )


def test_zig_fetches_the_archive(packages: Path, kernel: Path, tmp_path: Path) -> None:
    archive = find_only(packages / "c", "*.tar.gz")
    zig: list[str | Path] = [python_tools("ziglang==0.15.2"), "-m", "ziglang"]
    env = {"ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "cache")}
    (tmp_path / "use.c").write_text(PROGRAM)
    (tmp_path / "size.zig").write_text(ZIG_SIZE)
    (tmp_path / "build.zig").write_text(ZIG_USER)
    run(*zig, "init", "--minimal", cwd=tmp_path, env=env) if not (
        tmp_path / "build.zig.zon"
    ).exists() else None
    (tmp_path / "build.zig").write_text(ZIG_USER)
    run(*zig, "fetch", "--save", archive, cwd=tmp_path, env=env)
    run(*zig, "build", cwd=tmp_path, env=env)
    assert gives_kernel(tmp_path / "zig-out/bin/use", kernel, tmp_path)
    said = run(tmp_path / "zig-out/bin/size", cwd=tmp_path).stderr.split()
    sizes = [
        str((kernel / name).stat().st_size) for name in ("extism-runtime.wasm", "extism-runtime-core.wasm")
    ]
    assert said[:2] == sizes


def test_component_manifest_has_what_the_registry_wants(source: Path) -> None:
    """The ESP-IDF's component manager reads YAML; ours keeps to lines that need no parser to check."""
    lines = (source / "idf_component.yml").read_text().splitlines()
    top = dict(line.split(": ", 1) for line in lines if re.match(r"[a-z]+: ", line))
    assert {"version", "description", "url", "repository", "license"} <= top.keys()
    assert "idf_component_register(SRCS" in (source / "CMakeLists.txt").read_text()
    assert {"README.md", "LICENSE"} <= {path.name for path in source.iterdir()}
