;; A component that does the same as examples/kpt/set-zone.wat, by WASI preview 2.
(component
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $outer-error))
    (export "error" (type $error (eq $outer-error)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (type $failures (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failures)))
    (export "[method]input-stream.blocking-read" (func
      (param "self" (borrow $input)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdin@0.2.0" (instance $stdin
    (alias outer 1 $input (type $outer-input))
    (export "input-stream" (type $input (eq $outer-input)))
    (export "get-stdin" (func (result (own $input))))))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $outer-output))
    (export "output-stream" (type $output (eq $outer-output)))
    (export "get-stdout" (func (result (own $output))))))

  ;; 0: the result of a call; 4096: the list, which reads allocate one part after the other.
  (core module $Memory
    (memory (export "memory") 2)
    (global $end (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at (global.get $end))
      (global.set $end (i32.add (global.get $end) (local.get $size)))
      (block $enough
        (loop $more
          (br_if $enough (i32.le_u (global.get $end) (i32.mul (memory.size) (i32.const 65536))))
          (if (i32.eq (memory.grow (memory.size)) (i32.const -1)) (then unreachable))
          (br $more)))
      (local.get $at)))
  (core instance $memory (instantiate $Memory))
  (core func $get-stdin (canon lower (func $stdin "get-stdin")))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))

  (core module $Main
    (import "memory" "memory" (memory 2))
    (import "host" "get-stdin" (func $get-stdin (result i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 16) "TODO-zone")
    (data (i32.const 32) "zone-east")
    (func (export "run") (result i32)
      (local $in i32) (local $out i32) (local $at i32) (local $end i32) (local $count i32)
      (local.set $in (call $get-stdin))
      (local.set $out (call $get-stdout))
      (local.set $end (i32.const 4096))
      (block $eof
        (loop $more
          (call $read (local.get $in) (i64.const 65536) (i32.const 0))
          (br_if $eof (i32.load8_u (i32.const 0)))
          (local.set $end (i32.add (i32.load (i32.const 4)) (i32.load (i32.const 8))))
          (br $more)))
      (local.set $at (i32.const 4096))
      (block $done
        (loop $next
          (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 9)) (local.get $end)))
          (if (i32.and
                (i64.eq (i64.load (local.get $at)) (i64.load (i32.const 16)))
                (i32.eq (i32.load8_u offset=8 (local.get $at)) (i32.load8_u (i32.const 24))))
            (then
              (i64.store (local.get $at) (i64.load (i32.const 32)))
              (i32.store8 offset=8 (local.get $at) (i32.load8_u (i32.const 40)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $next)))
      (local.set $at (i32.const 4096))
      (block $done
        (loop $more
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          ;; The host takes at most 4096 bytes at once.
          (local.set $count (i32.sub (local.get $end) (local.get $at)))
          (if (i32.gt_u (local.get $count) (i32.const 4096))
            (then (local.set $count (i32.const 4096))))
          (call $write (local.get $out) (local.get $at) (local.get $count) (i32.const 0))
          (if (i32.load8_u (i32.const 0)) (then (return (i32.const 1))))
          (local.set $at (i32.add (local.get $at) (local.get $count)))
          (br $more)))
      (i32.const 0)))
  (core instance $main (instantiate $Main
    (with "memory" (instance $memory))
    (with "host" (instance
      (export "get-stdin" (func $get-stdin))
      (export "get-stdout" (func $get-stdout))
      (export "read" (func $read))
      (export "write" (func $write))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exported (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exported)))
