;; Has two tables of 600,000 elements each.
(module (memory (export "memory") 1) (table 600000 funcref) (table 600000 funcref)
  (func (export "_start")))
