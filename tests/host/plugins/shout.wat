;; A plug-in that passes its input to one function of the application and answers what comes back.
(module
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/user" "shout" (func $shout (param i64) (result i64)))
  (func (export "shout")
    (local $h i64)
    (local.set $h (call $shout (call $input_offset)))
    (call $output_set (local.get $h) (call $length (local.get $h))))
)
