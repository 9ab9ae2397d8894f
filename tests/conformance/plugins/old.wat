;; A plug-in as it was built before 1.0: everything comes from `env`, with a prefix.
(module
  (import "env" "extism_alloc" (func $alloc (param i64) (result i64)))
  (import "env" "extism_length" (func $length (param i64) (result i64)))
  (import "env" "extism_load_u8" (func $load_u8 (param i64) (result i32)))
  (import "env" "extism_store_u8" (func $store_u8 (param i64 i32)))
  (import "env" "extism_input_offset" (func $input_offset (result i64)))
  (import "env" "extism_input_length" (func $input_length (result i64)))
  (import "env" "extism_input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "env" "extism_output_set" (func $output_set (param i64 i64)))
  (import "env" "extism_error_set" (func $error_set (param i64)))
  (import "env" "extism_config_get" (func $config_get (param i64) (result i64)))
  (import "env" "extism_var_get" (func $var_get (param i64) (result i64)))
  (import "env" "extism_var_set" (func $var_set (param i64 i64)))
  (import "env" "extism_http_request" (func $http_request (param i64 i64) (result i64)))
  (import "env" "extism_http_status_code" (func $http_status_code (result i32)))
  (import "env" "extism_log_info" (func $log_info (param i64)))

  (func $answer (param $h i64) (call $output_set (local.get $h) (call $length (local.get $h))))

  (func (export "echo") (result i32)
    (local $h i64) (local $i i64)
    (local.set $h (call $alloc (call $input_length)))
    (block $done
      (loop $more
        (br_if $done (i64.ge_u (local.get $i) (call $input_length)))
        (call $store_u8 (i64.add (local.get $h) (local.get $i)) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $more)))
    (call $answer (local.get $h))
    (i32.const 0))
  (func (export "config") (result i32) (call $answer (call $config_get (call $input_offset))) (i32.const 0))
  (func (export "fail") (result i32) (call $error_set (call $input_offset)) (i32.const 1))
)
