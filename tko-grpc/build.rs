//! Compiles the protocol, without `protoc`.

use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{FieldDescriptorProto, FileDescriptorSet};
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
    let mut descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("tko.bin"), descriptors.encode_to_vec())?;
    let entity = record_entity(&mut descriptors).ok_or("the message Record has no field entity")?;
    // `src/wire/entity.rs` reads and writes entities directly, because they are most of the traffic.
    // The generated code treats them as bytes, which have the same encoding.
    entity.set_type(Type::Bytes);
    entity.type_name = None;
    let enabled = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    tonic_prost_build::configure()
        .build_client(enabled("CLIENT"))
        .build_server(enabled("SERVER"))
        .btree_map(".")
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}

/// The field `entity` of the message `Record`.
fn record_entity(descriptors: &mut FileDescriptorSet) -> Option<&mut FieldDescriptorProto> {
    let messages = descriptors
        .file
        .iter_mut()
        .flat_map(|f| &mut f.message_type);
    let mut fields = messages
        .filter(|message| message.name() == "Record")
        .flat_map(|message| &mut message.field);
    fields.find(|field| field.type_name() == ".tko.v1alpha2.Entity")
}
