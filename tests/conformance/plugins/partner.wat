;; The other module of two that import from each other.
(module
  (import "main" "pong" (func $pong (param i32) (result i32)))
  (func (export "ping") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 48))))
    (i32.add (i32.const 1) (call $pong (i32.sub (local.get $n) (i32.const 1)))))
)
