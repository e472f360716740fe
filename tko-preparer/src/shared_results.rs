//! Results of pure preparers that processes share through the data service.
//!
//! A shared result has its key and the hash of its package. A result that does not match is refused
//! and counted, and the preparer runs. This detects damage, not forgery: all workers are trusted. A
//! failure of the data service also costs at most one run.

use std::time::Duration;
use tko_core::{ContentHash, Limits, Package, SharedLimits, WorkerApi, codec, error::chain};

/// Time limit for reading or keeping one result: running the preparer may be faster.
const PATIENCE: Duration = Duration::from_secs(2);

/// The bytes of a hash.
const HASH: usize = 32;

/// The data service through which results are shared, and the limits.
#[derive(Clone, Copy)]
pub(crate) struct SharedResults<'a> {
    pub(crate) data: &'a dyn WorkerApi,
    pub(crate) limits: SharedLimits,
}

/// The answer to a search for a shared result.
#[derive(Debug, PartialEq)]
pub(crate) enum SharedAnswer {
    Found(Package),
    Nothing,
    /// The value is not one that this program would have shared under this key.
    Refused,
    /// The data service did not answer.
    Failed,
}

impl SharedResults<'_> {
    pub(crate) async fn find(&self, key: ContentHash) -> SharedAnswer {
        let found = self.data.get_shared(key, self.limits.age);
        let bytes = match tokio::time::timeout(PATIENCE, found).await {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Ok(None)) => return SharedAnswer::Nothing,
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "cannot read a shared result");
                return SharedAnswer::Failed;
            }
            Err(_) => return SharedAnswer::Failed,
        };
        let unpacked = tokio::task::spawn_blocking(move || unpack(key, &bytes)).await;
        if let Ok(Some(package)) = unpacked {
            SharedAnswer::Found(package)
        } else {
            tracing::warn!(%key, "a shared result is damaged or of another version; recomputing");
            SharedAnswer::Refused
        }
    }

    /// Shares a result. Returns whether the data service took it.
    pub(crate) async fn put(&self, key: ContentHash, package: Package) -> bool {
        let Ok(bytes) = tokio::task::spawn_blocking(move || pack(key, &package)).await else {
            return false;
        };
        if !self.limits.admit(bytes.len()) {
            return true;
        }
        let put = self.data.put_shared(key, &bytes, self.limits);
        match tokio::time::timeout(PATIENCE, put).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(error = chain(&error), "cannot share a result");
                false
            }
            Err(_) => false,
        }
    }
}

fn pack(key: ContentHash, package: &Package) -> Vec<u8> {
    let mut bytes = Vec::from(key.0);
    bytes.extend(package.hash().0);
    bytes.extend(codec::encode(package));
    bytes
}

/// `None`: the bytes are not a result for this key.
fn unpack(key: ContentHash, bytes: &[u8]) -> Option<Package> {
    let (own, rest) = bytes.split_at_checked(HASH)?;
    let (hash, encoded) = rest.split_at_checked(HASH)?;
    if own != key.0 {
        return None;
    }
    let package: Package = codec::decode(encoded, &Limits::default()).ok()?;
    // The decoded package may still break the rules of packages, such as unique identifiers.
    let package = Package::new(package.resources().to_vec()).ok()?;
    (package.hash().0 == hash).then_some(package)
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use serde_json::json;
    use tko_core::{ContentHash, Package};

    #[test]
    fn only_the_result_of_the_key_is_taken() {
        let value = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
            "data": {"n": 1, "x": 1.0, "text": "\u{1f600}"},
        });
        let package = Package::from_values([value]).expect("a package");
        let (key, other) = (ContentHash([1; 32]), ContentHash([2; 32]));
        let bytes = pack(key, &package);
        let found = unpack(key, &bytes).expect("it is whole");
        assert_eq!(found, package);
        assert_eq!(found.hash(), package.hash());
        assert_eq!(unpack(other, &bytes), None, "a result of other input");
        assert_eq!(unpack(key, b""), None);
        for end in 0..bytes.len() {
            assert_eq!(unpack(key, &bytes[..end]), None, "{end} bytes");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(unpack(key, &damaged), None, "byte {at}");
        }
    }
}
