;; fault: feature-forbidden--second-memory; held against the context flavour
(module
  (memory 2)
  (memory 2)
  (global (mut i32) (i32.const 130172)) ;; own 0
  (global (mut i64) (i64.const 0)) ;; own 1
  (global (mut i64) (i64.const 0)) ;; own 2
  (global (mut i32) (i32.const 0)) ;; own 3
  (global (mut i32) (i32.const 0)) ;; own 4
  (global (mut i64) (i64.const 0)) ;; own 5
  (global (mut i64) (i64.const 0)) ;; own 6
  (global (mut i64) (i64.const 0)) ;; own 7
  (global (mut i64) (i64.const 0)) ;; own 8
  (global (mut i64) (i64.const 0)) ;; own 9
  (global (mut i64) (i64.const 0)) ;; own 10
  (global (mut i32) (i32.const 0)) ;; own 11
  (global (mut i32) (i32.const 130172)) ;; own 12
  (global (mut i32) (i32.const 0)) ;; own 13
  (global (mut i32) (i32.const 0)) ;; own 14
  (global (mut i32) (i32.const 0)) ;; own 15
  (global (mut i64) (i64.const 0)) ;; own 16
  (global (mut i32) (i32.const 0)) ;; own 17
  (global (mut externref) (ref.null extern))
  (export "memory" (memory 0))
  (func (param i64) (result i64) (i64.const 0) ;; alloc
  )
  (func (param i64) ;; free
  )
  (func (param i64) (result i64) (i64.const 0) ;; length
  )
  (func (param i64) (result i32) (i32.const 0) ;; load_u8
  )
  (func (param i64) (result i64) (i64.const 0) ;; load_u64
  )
  (func (param i64 i32) ;; store_u8
  )
  (func (param i64 i64) ;; store_u64
  )
  (func (param i64 i64) ;; input_set
  )
  (func (result i64) (i64.const 0) ;; input_offset
  )
  (func (result i64) (i64.const 0) ;; input_length
  )
  (func (param i64) (result i32) (i32.const 0) ;; input_load_u8
  )
  (func (param i64) (result i64) (i64.const 0) ;; input_load_u64
  )
  (func (param i64 i64) ;; output_set
  )
  (func (result i64) (i64.const 0) ;; output_offset
  )
  (func (result i64) (i64.const 0) ;; output_length
  )
  (func (param i64) ;; error_set
  )
  (func (result i64) (i64.const 0) ;; error_get
  )
  (func (drop (global.get 17)) ;; reset
  )
  (func (result i64) (i64.const 0) ;; memory_bytes
  )
  (export "alloc" (func 0))
  (export "extism_alloc" (func 0))
  (export "free" (func 1))
  (export "extism_free" (func 1))
  (export "length" (func 2))
  (export "extism_length" (func 2))
  (export "length_unsafe" (func 2))
  (export "load_u8" (func 3))
  (export "extism_load_u8" (func 3))
  (export "load_u64" (func 4))
  (export "extism_load_u64" (func 4))
  (export "store_u8" (func 5))
  (export "extism_store_u8" (func 5))
  (export "store_u64" (func 6))
  (export "extism_store_u64" (func 6))
  (export "input_set" (func 7))
  (export "extism_input_set" (func 7))
  (export "input_offset" (func 8))
  (export "extism_input_offset" (func 8))
  (export "input_length" (func 9))
  (export "extism_input_length" (func 9))
  (export "input_load_u8" (func 10))
  (export "extism_input_load_u8" (func 10))
  (export "input_load_u64" (func 11))
  (export "extism_input_load_u64" (func 11))
  (export "output_set" (func 12))
  (export "extism_output_set" (func 12))
  (export "output_offset" (func 13))
  (export "extism_output_offset" (func 13))
  (export "output_length" (func 14))
  (export "extism_output_length" (func 14))
  (export "error_set" (func 15))
  (export "extism_error_set" (func 15))
  (export "error_get" (func 16))
  (export "extism_error_get" (func 16))
  (export "reset" (func 17))
  (export "extism_reset" (func 17))
  (export "memory_bytes" (func 18))
  (export "extism_memory_bytes" (func 18))
  (export "extism_context" (global 18))
  ;; start
  (@custom "producers" "\00")
  (@custom "extism" "1.0.0")
  (@custom "extism_abi" "2")
)
