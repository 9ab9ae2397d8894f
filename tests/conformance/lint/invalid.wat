;; Promises a result and gives none: refused when compiled.
(module
  (func (export "f") (result i32)))
