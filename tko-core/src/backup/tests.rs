//! Backups survive the way through bytes, and damaged ones are refused.

use super::{BackupFrame, BackupReader, BackupWriter, VERSION};
use crate::codec::encode;
use crate::entity::{Entity, Facts, Record};
use crate::id::{Key, Kind};
use crate::package::Package;
use crate::revision::{Revision, Timestamp};
use serde_json::json;

fn record(name: &str, number: u64) -> Record {
    let value = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name}, "data": {"number": number.to_string()}});
    let package = Package::from_values([value]).expect("a package");
    let mut entity = Entity::new(
        Key::new(Kind::Site, name).expect("an id"),
        Facts::empty(Kind::Site),
    );
    entity.body = package.hash();
    Record::new(entity)
        .revision(Revision(number))
        .package(package)
}

fn backup(count: u64) -> Vec<u8> {
    let mut writer = BackupWriter::new(Vec::new(), Revision(7), Timestamp(9)).expect("into memory");
    for number in 0..count {
        let record = record(&format!("s{number}"), number);
        writer.entity(&record).expect("into memory");
    }
    let gone = Key::new(Kind::Site, "s0").expect("an id");
    writer.deleted(&gone).expect("into memory");
    writer.finish().expect("into memory").0
}

fn read(bytes: &[u8]) -> Result<Vec<BackupFrame>, String> {
    let mut reader = BackupReader::new(bytes).map_err(|error| error.to_string())?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().map_err(|error| error.to_string())? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn a_backup_is_read_back() {
    let bytes = backup(600);
    let reader = BackupReader::new(&bytes[..]).expect("a backup");
    assert_eq!(
        (reader.revision(), reader.at()),
        (Revision(7), Timestamp(9))
    );
    let frames = read(&bytes).expect("complete");
    assert_eq!(frames.len(), 601);
    for (number, frame) in (0..600).zip(&frames) {
        let BackupFrame::Entity(found) = frame else {
            panic!("{frame:?}");
        };
        let wanted = record(&format!("s{number}"), number);
        assert_eq!(encode(found), encode(&wanted));
        assert_eq!(found.package, wanted.package);
    }
    assert!(matches!(frames.last(), Some(BackupFrame::Deleted(_))));
}

#[test]
fn every_shorter_and_every_changed_backup_is_refused() {
    let bytes = backup(2);
    assert_eq!(bytes[11], VERSION);
    for length in 0..bytes.len() {
        assert!(read(&bytes[..length]).is_err(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(read(&changed).is_err(), "byte {at}");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(read(&longer).is_err());
}

#[test]
fn errors_say_what_is_wrong() {
    let said = read(b"PK\x03\x04").expect_err("no backup");
    assert!(said.contains("not a backup of TKO"), "{said}");
    let mut later = backup(1);
    later[11] = VERSION + 1;
    let said = read(&later).expect_err("later");
    assert!(said.contains("upgrade"), "{said}");
    let mut huge = backup(1)[..12].to_vec();
    huge.extend([1, 0xff, 0xff, 0xff, 0xff]);
    let said = read(&huge).expect_err("too large");
    assert!(said.contains("at most"), "{said}");
}
