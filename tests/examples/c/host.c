/* A host for the kernel in one file, on WAMR: what a port to another runtime has to do.
 *
 *     host KERNEL PLUGIN FUNCTION < INPUTS
 *
 * Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
 * standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
 * 1 if one failed, 2 for a wrong command line or a module that cannot be loaded.
 *
 * WAMR is built here without reference types, so the kernel is the core flavour. */

#define _POSIX_C_SOURCE 200809L /* getline */

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wasm_export.h"

enum { STACK_SIZE = 64 * 1024, HEAP_SIZE = 0 /* or WAMR puts a heap of its own into the kernel's memory */ };

static wasm_module_inst_t kernel, guest;
static wasm_exec_env_t kernel_env, guest_env;

/* Prints an error and returns false. */
static bool fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("error: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}

/* What stopped an instance, in WAMR's words. It stays on the instance, and fails every later call, until cleared. */
static const char *take_trap(wasm_module_inst_t instance, char text[128]) {
    const char *words = wasm_runtime_get_exception(instance);
    const char *prefix = "Exception: ";
    if (words && strncmp(words, prefix, strlen(prefix)) == 0) words += strlen(prefix);
    snprintf(text, 128, "%s", words ? words : "unknown");
    wasm_runtime_clear_exception(instance);
    return text;
}

/* Calls an export of the kernel. A function without a result gives 0. */
static bool ask(const char *name, const uint64_t *numbers, uint32_t count, uint64_t *result) {
    wasm_function_inst_t function = wasm_runtime_lookup_function(kernel, name);
    if (!function || wasm_func_get_param_count(function, kernel) != count) return fail("the kernel has no `%s`", name);
    wasm_valkind_t kinds[2];
    wasm_val_t values[2], answer = {.kind = WASM_I64};
    wasm_func_get_param_types(function, kernel, kinds);
    for (uint32_t i = 0; i < count; i++) {
        values[i].kind = kinds[i];
        values[i].of.i64 = (int64_t)numbers[i];
        if (kinds[i] == WASM_I32) values[i].of.i32 = (int32_t)numbers[i];
    }
    uint32_t results = wasm_func_get_result_count(function, kernel);
    if (!wasm_runtime_call_wasm_a(kernel_env, function, results, &answer, count, values)) {
        char text[128];
        return fail("the kernel trapped in `%s`: %s", name, take_trap(kernel, text));
    }
    *result = 0;
    if (results) *result = answer.kind == WASM_I32 ? (uint32_t)answer.of.i32 : (uint64_t)answer.of.i64;
    return true;
}

/* The functions that every guest may import, with their types: I is i64, i is i32. */
static NativeSymbol imports[] = {
    {"alloc", NULL, "(I)I", "alloc"},
    {"free", NULL, "(I)", "free"},
    {"length", NULL, "(I)I", "length"},
    {"length_unsafe", NULL, "(I)I", "length_unsafe"},
    {"load_u8", NULL, "(I)i", "load_u8"},
    {"load_u64", NULL, "(I)I", "load_u64"},
    {"store_u8", NULL, "(Ii)", "store_u8"},
    {"store_u64", NULL, "(II)", "store_u64"},
    {"input_set", NULL, "(II)", "input_set"},
    {"input_offset", NULL, "()I", "input_offset"},
    {"input_length", NULL, "()I", "input_length"},
    {"input_load_u8", NULL, "(I)i", "input_load_u8"},
    {"input_load_u64", NULL, "(I)I", "input_load_u64"},
    {"output_set", NULL, "(II)", "output_set"},
    {"output_offset", NULL, "()I", "output_offset"},
    {"output_length", NULL, "()I", "output_length"},
    {"error_set", NULL, "(I)", "error_set"},
    {"error_get", NULL, "()I", "error_get"},
    {"reset", NULL, "()", "reset"},
    {"memory_bytes", NULL, "()I", "memory_bytes"},
};
enum { IMPORTS = sizeof imports / sizeof *imports };

/* What the guest calls: WAMR does not link one instance to another, so each import is handed on to the kernel's
 * export of the same name. Every argument is in a slot of 64 bits, and so is the result. */
static void hand_on(wasm_exec_env_t env, uint64_t *slots) {
    const char *name = wasm_runtime_get_function_attachment(env);
    wasm_function_inst_t function = wasm_runtime_lookup_function(kernel, name);
    uint32_t count = function ? wasm_func_get_param_count(function, kernel) : 0;
    uint64_t result;
    if (!ask(name, slots, count, &result))
        wasm_runtime_set_exception(wasm_runtime_get_module_inst(env), "the kernel trapped");
    else
        slots[0] = result;
}

/* Finds a range of the kernel's memory. Growth may move it, so it is asked for each time; and the range is checked,
 * for whoever wrote the kernel may be wrong. */
static bool view(uint64_t address, uint64_t length, uint8_t **bytes) {
    wasm_memory_inst_t memory = wasm_runtime_lookup_memory(kernel, "memory");
    if (!memory) return fail("the kernel exports no memory `memory`");
    uint64_t size = wasm_memory_get_cur_page_count(memory) * wasm_memory_get_bytes_per_page(memory);
    if (address > size || length > size - address)
        return fail("the kernel describes %" PRIu64 " bytes at %" PRIu64 ", its memory has %" PRIu64, length, address, size);
    *bytes = (uint8_t *)wasm_memory_get_base_address(memory) + address;
    return true;
}

/* Copies bytes into a new block and gives its handle. */
static bool put(const char *data, uint64_t length, uint64_t *handle) {
    uint8_t *bytes;
    if (!ask("alloc", &length, 1, handle)) return false;
    if (*handle == 0) return fail("out of memory"); /* address 0 is not ours: nothing may be written there */
    if (!view(*handle, length, &bytes)) return false;
    memcpy(bytes, data, length);
    return true;
}

/* Calls the plug-in's function and prints its answer. After an error the next call works all the same. */
static bool call(wasm_function_inst_t entry, const char *data, uint64_t length) {
    uint64_t none = 0, ignored, input[2] = {0, length};
    /* 1. Open the call. `error_set` comes first, also on an instance that was never reset; `reset` ends all blocks
     *    of the call before; (0, 0) clears the input. */
    if (!ask("error_set", &none, 1, &ignored) || !ask("reset", NULL, 0, &ignored)) return false;
    if (length && !put(data, length, &input[0])) return false;
    if (!ask("input_set", input, 2, &ignored)) return false;
    /* 2. The guest's function. A trap is kept, for the guest may have set its error before. */
    char trap[128];
    wasm_val_t status = {.kind = WASM_I32};
    uint32_t results = wasm_func_get_result_count(entry, guest);
    bool trapped = !wasm_runtime_call_wasm_a(guest_env, entry, results, &status, 0, NULL);
    if (trapped) take_trap(guest, trap);
    /* 3. Close the call: read the registers in every case. An error that the guest set counts first, also with
     *    result 0; then a trap; then a result other than 0. */
    uint64_t output, output_length, error, error_length;
    if (!ask("output_offset", NULL, 0, &output) || !ask("output_length", NULL, 0, &output_length)
        || !ask("error_get", NULL, 0, &error) || !ask("length", &error, 1, &error_length)) /* of handle 0 it is 0 */
        return false;
    uint8_t *bytes;
    if (error && error_length) {
        if (!view(error, error_length, &bytes)) return false;
        fputs("error: ", stderr);
        fwrite(bytes, 1, error_length, stderr);
        fputc('\n', stderr);
        return false;
    }
    if (trapped) return fail("the plug-in trapped: %s", trap);
    if (status.of.i32 != 0) return fail("the plug-in returned %" PRId32, status.of.i32);
    if (!view(output, output_length, &bytes)) return false;
    fwrite(bytes, 1, output_length, stdout);
    putchar('\n');
    return true;
}

/* Loads and instantiates a module. WAMR keeps pointers into the bytes, so they stay. */
static bool load(const char *path, wasm_module_inst_t *instance, wasm_exec_env_t *env) {
    char words[128];
    long size = -1;
    uint8_t *bytes = NULL;
    FILE *file = fopen(path, "rb");
    if (file && fseek(file, 0, SEEK_END) == 0) size = ftell(file);
    if (size > 0) bytes = malloc((size_t)size);
    bool read = bytes && fseek(file, 0, SEEK_SET) == 0 && fread(bytes, 1, (size_t)size, file) == (size_t)size;
    if (file) fclose(file);
    if (!read) return fail("%s: cannot be read", path);
    wasm_module_t module = wasm_runtime_load(bytes, (uint32_t)size, words, sizeof words);
    if (!module) return fail("%s: %s", path, words);
    for (int32_t i = 0; i < wasm_runtime_get_import_count(module); i++) { /* WAMR would trap in the first call */
        wasm_import_t import;
        wasm_runtime_get_import_type(module, i, &import);
        if (!import.linked) return fail("%s: nothing to import: %s %s", path, import.module_name, import.name);
    }
    *instance = wasm_runtime_instantiate(module, STACK_SIZE, HEAP_SIZE, words, sizeof words);
    if (!*instance) return fail("%s: %s", path, words);
    *env = wasm_runtime_create_exec_env(*instance, STACK_SIZE);
    return *env ? true : fail("%s: out of memory", path);
}

int main(int count, char **arguments) {
    if (count != 4) {
        fputs("usage: host KERNEL PLUGIN FUNCTION < INPUTS\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < IMPORTS; i++) imports[i].func_ptr = (void *)hand_on;
    if (!wasm_runtime_init() || !wasm_runtime_register_natives_raw("extism:host/env", imports, IMPORTS)) {
        fail("WAMR does not start");
        return 2;
    }
    wasm_runtime_set_log_level(WASM_LOG_LEVEL_FATAL); /* it logs to standard output, where the answers go */
    if (!load(arguments[1], &kernel, &kernel_env) || !load(arguments[2], &guest, &guest_env)) return 2;
    wasm_function_inst_t entry = wasm_runtime_lookup_function(guest, arguments[3]);
    if (!entry || wasm_func_get_param_count(entry, guest) || wasm_func_get_result_count(entry, guest) > 1) {
        fail("no export `%s` of type () -> i32", arguments[3]);
        return 2;
    }
    int code = 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&line, &room, stdin)) >= 0) {
        if (length && line[length - 1] == '\n') length--;
        if (!call(entry, line, (uint64_t)length)) code = 1;
    }
    free(line);
    if (ferror(stdin) || fflush(stdout) != 0) return 2;
    return code;
}
