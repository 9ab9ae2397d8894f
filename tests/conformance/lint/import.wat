;; Needs an import that nobody provides: refused when linked.
(module
  (import "nobody" "provides" (func $provided))
  (func (export "f") (call $provided)))
