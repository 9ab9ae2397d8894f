// The part of wasmtime's C API that the host calls, in the words of the versions that `versions.py` names.
// `capi_table.py` is made from this by `python -m build_tools campaign host-tables`.

typedef struct { uint64_t store_id; void *private; } function_t;
typedef struct { struct { uint64_t store_id; uint32_t private1; } id; uint32_t private2; } memory_t;
typedef struct { uint64_t store_id; size_t private; } instance_t;
typedef struct {
    uint8_t kind; union { function_t function; memory_t memory; uint64_t words[3]; } of; } extern_t;
typedef struct { uint64_t low; uint64_t high; } value_t;
typedef struct { size_t size; char *data; } bytes_t;
typedef void *(*host_function_t)(void *data, void *caller, value_t *values, size_t count);
typedef void *(*on_epoch_t)(void *context, void *data, uint64_t *ticks, uint8_t *kind);

void *wasmtime_store_new(void *engine, void *data, void *finalizer);
void wasmtime_store_delete(void *store);
void *wasmtime_store_context(void *store);
void wasmtime_store_limiter(
    void *store, int64_t memory, int64_t elements, int64_t instances, int64_t tables, int64_t memories);
void wasmtime_store_epoch_deadline_callback(void *store, void *callback, void *data, void *finalizer);
void wasmtime_context_set_epoch_deadline(void *context, uint64_t ticks);
void *wasmtime_context_set_fuel(void *context, uint64_t units);
void *wasmtime_context_get_fuel(void *context, uint64_t *units);
void *wasmtime_context_set_wasi(void *context, void *config);

void *wasmtime_func_call_unchecked(
    void *context, void *function, value_t *values, size_t count, void **trap);
void wasmtime_func_new_unchecked(
    void *context, void *type, void *callback, void *data, void *finalizer, void *made);
void *wasmtime_instance_new(
    void *context, void *module, extern_t *imports, size_t count, instance_t *made, void **trap);
bool wasmtime_instance_export_get(
    void *context, instance_t *instance, char *name, size_t length, extern_t *found);
bool wasmtime_caller_export_get(void *caller, char *name, size_t length, extern_t *found);
bool wasmtime_linker_get(
    void *linker, void *context,
    char *module, size_t module_length, char *name, size_t length, extern_t *found);
char *wasmtime_memory_data(void *context, void *memory);
size_t wasmtime_memory_data_size(void *context, void *memory);

void *wasmtime_trap_new(char *message, size_t length);
void wasm_trap_delete(void *trap);
void wasm_trap_message(void *trap, bytes_t *message);
bool wasmtime_trap_code(void *trap, uint8_t *code);
void *wasmtime_error_new(char *message);
void wasmtime_error_delete(void *error);
void wasmtime_error_message(void *error, bytes_t *message);
bool wasmtime_error_exit_status(void *error, int *status);
void wasm_byte_vec_new(bytes_t *bytes, size_t size, char *data);
void wasm_byte_vec_delete(bytes_t *bytes);
void wasi_config_set_stdin_bytes(void *config, bytes_t *bytes);
