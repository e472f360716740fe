//! Runs KRM functions: native, WebAssembly, programs and containers.
