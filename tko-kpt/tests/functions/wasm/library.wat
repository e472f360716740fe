;; Is no command.
(module (memory (export "memory") 1) (func (export "run")))
