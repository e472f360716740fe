//! Compiles the protocol. Needs no `protoc`.

use prost::Message;
use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 5] = [
    "tko.proto",
    "tko/v1alpha2/model.proto",
    "tko/v1alpha2/error.proto",
    "tko/v1alpha2/data.proto",
    "tko/v1alpha2/controller.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("tko.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
