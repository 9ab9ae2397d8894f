/* The functions of the native twin, as cffi reads them: no directives. `twin.py` puts this file where maturin
 * looks for it; the header that maturin makes by itself would be empty, for cbindgen does not see into macros.
 *
 * Every `Twin *` comes from xk_new, is not null, and is in one call at a time. */

typedef struct Twin Twin;

/* A kernel in fresh memory, which may grow to `limit` pages; beyond, growth is refused, or traps. */
Twin *xk_new(uint32_t limit, bool traps);
void xk_drop(Twin *twin);

/* What the latest panic said since this was last asked, or null. A call that panics returns 0 and leaves the
 * twin as a trap leaves an instance. The text lives until the next call of this function. */
const char *xk_fault(Twin *twin);

/* The exports of abi.toml. */
uint64_t xk_alloc(Twin *twin, uint64_t length);
void xk_free(Twin *twin, uint64_t handle);
uint64_t xk_length(Twin *twin, uint64_t handle);
uint64_t xk_length_unsafe(Twin *twin, uint64_t handle);
uint32_t xk_load_u8(Twin *twin, uint64_t address);
uint64_t xk_load_u64(Twin *twin, uint64_t address);
void xk_store_u8(Twin *twin, uint64_t address, uint32_t value);
void xk_store_u64(Twin *twin, uint64_t address, uint64_t value);
void xk_input_set(Twin *twin, uint64_t offset, uint64_t length);
uint64_t xk_input_offset(Twin *twin);
uint64_t xk_input_length(Twin *twin);
uint32_t xk_input_load_u8(Twin *twin, uint64_t offset);
uint64_t xk_input_load_u64(Twin *twin, uint64_t offset);
void xk_output_set(Twin *twin, uint64_t offset, uint64_t length);
uint64_t xk_output_offset(Twin *twin);
uint64_t xk_output_length(Twin *twin);
void xk_error_set(Twin *twin, uint64_t handle);
uint64_t xk_error_get(Twin *twin);
void xk_reset(Twin *twin);
uint64_t xk_memory_bytes(Twin *twin);

/* The memory, as a host has it. xk_at gives null if any of the bytes lies outside; what it gives is good until
 * the next call that may grow memory. */
uint8_t *xk_at(Twin *twin, uint64_t address, uint64_t length);
uint32_t xk_pages(Twin *twin);
bool xk_grow(Twin *twin, uint32_t delta);

/* Panics, so that xk_fault says why, unless all of the kernel's state agrees. */
void xk_check_invariants(Twin *twin);
