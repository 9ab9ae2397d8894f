;; A module whose `_initialize` never ends.
(module
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (func (export "_initialize") (loop $l (br $l)))
  (func (export "fine") (result i32) (call $output_set (i64.const 0) (i64.const 0)) (i32.const 0))
)
