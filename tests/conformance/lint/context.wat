;; The one thing of the context flavour that asks for reference types.
(module
  (global (export "extism_context") (mut externref) (ref.null extern)))
