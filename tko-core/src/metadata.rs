//! Metadata: indexed key-value pairs for selections, gathered from packages.
//!
//! Keys and values are any text; this module limits neither their characters nor their number.
//!
//! The submodules are `gather`, which reads packages; `growing`, which builds the layout in memory;
//! and `lines`, the text form for storage.
//!
//! Invariants of the layout:
//! - keys are distinct and in byte order, so that a key is found by binary search;
//! - equal maps have equal layouts, so that comparing and hashing them is comparing and hashing
//!   text;
//! - an empty map has no layout at all.

mod gather;
mod growing;
mod lines;

pub use gather::leaf_text;

use growing::Growing;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Longest key, in bytes. A store [checks](crate::limits) it.
pub const MAX_METADATA_KEY: usize = 1_024;

/// The API group of the resources from which metadata is gathered.
pub const METADATA_GROUP: &str = "metadata.nephio.org";

/// The prefix of keys that TKO writes itself, such as the subscriptions of a deployment.
pub const RESERVED: &str = "nephio.org/";

/// The prefix of keys that are kept in [given](crate::Entity::given) metadata without being part of
/// the metadata that selections see. They hold data that other interfaces keep with an entity, and
/// the [schedulers of a site](crate::SiteScheduler).
pub const PRIVATE: &str = "nephio.org/_";

/// The prefixes of keys that record the origin of an entity: a catalog or an inventory.
///
/// Sites and deployments do not inherit them from their template, because they describe the template
/// itself. To select deployments by the origin of their template, filter by the metadata of the
/// template in a [`Select`](crate::Select).
pub const PROVENANCE: [&str; 2] = ["Catalog.", "Inventory."];

/// The given metadata key of a site that its inventory no longer has; placements skip such sites.
pub const INVENTORY_GONE: &str = "Inventory.gone";

/// A map of strings, in the byte order of its keys. Cloning copies a pointer.
///
/// All pairs are in one allocation, because stores hold and decode very many of these maps. An
/// empty map allocates nothing.
///
/// ```
/// use tko_core::Metadata;
///
/// let template = Metadata::from_iter([("rack", "r1"), ("vendor", "acme")]);
/// let given = Metadata::from_iter([("rack", "r2")]);
/// let metadata = template.overlaid(&given);
/// assert_eq!(metadata.get("rack"), Some("r2"));
/// assert_eq!(metadata.get("vendor"), Some("acme"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Option<Arc<str>>);

/// The layout of a [`Metadata`] that is not empty. All keys and values come in turn, with a
/// separator between each two, followed by [the end of each](TextEnd), encoded as characters.
///
/// The ends make every lookup a slice of the text. They also allow tabs and newlines within keys
/// and values, because the separators are never searched for.
#[derive(Clone, Copy, Debug)]
struct Texts<'a> {
    /// All keys and values in turn: key, tab, value, newline, and so on.
    text: &'a str,
    /// Two ends for each pair: the end of the key, then the end of the value, as byte offsets in
    /// `text`.
    ends: &'a [[u8; TextEnd::LENGTH]],
}

impl<'a> Texts<'a> {
    /// Splits a layout into its texts and their ends.
    ///
    /// The last end is that of the last value, so it is also the place where the ends begin.
    fn of(piece: &'a str) -> Self {
        let last = piece.as_bytes().last_chunk().copied().unwrap_or_default();
        let (text, ends) = piece.split_at(TextEnd::read(last));
        let (ends, _) = ends.as_bytes().as_chunks();
        Self { text, ends }
    }

    /// The number of pairs.
    fn len(self) -> usize {
        self.ends.len() / 2
    }

    /// The end of a key (index 2n) or value (index 2n + 1) of pair n.
    ///
    /// # Panics
    /// If there is no such pair.
    fn end(self, at: usize) -> usize {
        TextEnd::read(self.ends[at])
    }

    /// The key and value of a pair, counted from 0 in the order of the keys.
    ///
    /// # Panics
    /// If there is no such pair.
    fn pair(self, at: usize) -> (&'a str, &'a str) {
        let start = match at {
            0 => 0,
            _ => self.end(2 * at - 1) + 1,
        };
        let (middle, end) = (self.end(2 * at), self.end(2 * at + 1));
        (&self.text[start..middle], &self.text[middle + 1..end])
    }
}

/// The end of a text, in bytes. Encoded with seven bits in each character, the lowest first, so that
/// texts and ends share one string.
///
/// Bytes below 128 are characters of UTF-8 by themselves, so any such sequence is valid text.
struct TextEnd(usize);

impl TextEnd {
    /// The number of characters. Seven bits in each allow ends below 2^35.
    const LENGTH: usize = 5;

    /// Decodes an end.
    fn read(characters: [u8; Self::LENGTH]) -> usize {
        let from_the_highest = characters.iter().rev();
        from_the_highest.fold(0, |end, bits| end << 7 | usize::from(*bits))
    }

    /// Encodes an end.
    ///
    /// # Panics
    /// If the end is 2^35 bytes (32 GiB) or more.
    fn write(self) -> [u8; Self::LENGTH] {
        let Self(end) = self;
        assert!(end >> (7 * Self::LENGTH) == 0, "metadata of 32 GiB");
        std::array::from_fn(|at| u8::try_from(end >> (7 * at) & 0x7f).unwrap_or_default())
    }
}

impl Metadata {
    /// Creates metadata from pairs with distinct keys, in the order of the keys.
    fn of<K: AsRef<str>, V: AsRef<str>>(pairs: &[(K, V)]) -> Self {
        let mut growing = Growing::begin();
        for (key, value) in pairs {
            growing.push(key.as_ref(), value.as_ref());
        }
        growing.finish()
    }

    /// The layout, unless the map is empty.
    fn texts(&self) -> Option<Texts<'_>> {
        self.0.as_deref().map(Texts::of)
    }

    /// The index of a key, or the index at which it would be inserted.
    fn find(&self, key: &str) -> Result<usize, usize> {
        let Some(texts) = self.texts() else {
            return Err(0);
        };
        let (mut low, mut high) = (0, texts.len());
        while low < high {
            let middle = low.midpoint(high);
            match texts.pair(middle).0.cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// The number of keys.
    ///
    /// This takes constant time.
    pub fn len(&self) -> usize {
        self.texts().map_or(0, Texts::len)
    }

    /// An upper bound of the bytes of all keys and values, found in constant time.
    pub(crate) fn size(&self) -> usize {
        self.0.as_ref().map_or(0, |layout| layout.len())
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value of a key.
    ///
    /// The key is found by binary search.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.find(key).ok()?;
        self.texts().map(|texts| texts.pair(at).1)
    }

    /// Whether the map has this key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_ok()
    }

    /// Iterates over keys and values, in the order of the keys.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            texts: self.texts(),
            left: 0..self.len(),
        }
    }

    /// Iterates over the keys, in order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.iter().map(|(key, _)| key)
    }

    /// Sets one value. This rewrites the whole map; to set many values, collect an iterator.
    pub fn insert(&mut self, key: impl AsRef<str>, value: impl AsRef<str>) {
        let mut pairs: Vec<_> = self.iter().collect();
        let pair = (key.as_ref(), value.as_ref());
        match self.find(pair.0) {
            Ok(at) => pairs[at] = pair,
            Err(at) => pairs.insert(at, pair),
        }
        *self = Self::of(&pairs);
    }

    /// Whether another value shares this allocation. Pools that keep one copy of equal maps use
    /// this.
    ///
    /// An empty map has no allocation, so this is false for it.
    pub fn is_shared(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|texts| Arc::strong_count(texts) > 1)
    }

    /// Whether both share one allocation.
    ///
    /// This takes constant time, unlike `==`. Two empty maps count as sharing, although they have
    /// no allocation. Maps that are equal but were built separately do not.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.0.as_ref().map(Arc::as_ptr) == other.0.as_ref().map(Arc::as_ptr)
    }

    /// Keeps the pairs for which `keep` returns true.
    ///
    /// If it keeps all, the allocation stays shared; otherwise the whole map is rewritten.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        let pairs: Vec<_> = self
            .iter()
            .filter(|(key, value)| keep(key, value))
            .collect();
        if pairs.len() < self.len() {
            *self = Self::of(&pairs);
        }
    }

    /// Returns a copy in which the values of `over` replace or extend these.
    ///
    /// The result shares the allocation of this map if `over` changes nothing, and that of `over`
    /// if this map is empty. This saves memory for the many deployments that add nothing to their
    /// template.
    #[must_use]
    pub fn overlaid(&self, over: &Self) -> Self {
        if over.is_empty() || self.ptr_eq(over) {
            return self.clone();
        }
        if self.is_empty() {
            return over.clone();
        }
        if over.iter().all(|(key, value)| self.get(key) == Some(value)) {
            return self.clone();
        }
        self.iter().chain(over).collect()
    }
}

/// Formats the pairs like a map, in the order of the keys.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Metadata {
    /// Collects pairs; if a key has several values, the last one wins.
    ///
    /// Pairs whose keys ascend are written straight to the layout. At the first pair that does not
    /// ascend, all are sorted in a `BTreeMap` instead.
    fn from_iter<T: IntoIterator<Item = (K, V)>>(pairs: T) -> Self {
        let (mut growing, mut pairs) = (Growing::begin(), pairs.into_iter());
        while let Some((key, value)) = pairs.next() {
            let (key, value) = (key.as_ref(), value.as_ref());
            if growing.goes_on_with(key) {
                growing.push(key, value);
                continue;
            }
            // The pairs are not sorted.
            let sorted = growing.finish();
            let mut all: BTreeMap<String, String> = sorted.iter().map(owned).collect();
            all.insert(key.to_owned(), value.to_owned());
            all.extend(pairs.map(|(key, value)| owned((key.as_ref(), value.as_ref()))));
            return all.into();
        }
        growing.finish()
    }
}

/// Copies a pair, for the map that sorts pairs.
fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> From<[(K, V); N]> for Metadata {
    /// Collects pairs; if a key has several values, the last one wins.
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl From<BTreeMap<String, String>> for Metadata {
    /// Converts the map without sorting again.
    fn from(map: BTreeMap<String, String>) -> Self {
        map.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Metadata {
    type Item = (&'a str, &'a str);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// An iterator over keys and values, in the order of the keys.
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    /// The layout; `None` for an empty map.
    texts: Option<Texts<'a>>,
    /// The indices of the pairs that are not yet returned.
    left: Range<usize>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (texts, at) = (self.texts?, self.left.next()?);
        Some(texts.pair(at))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::Metadata;
    use std::collections::BTreeMap;

    #[test]
    fn it_is_what_a_map_of_the_same_pairs_is() {
        let pairs = [
            ("b", "1"),
            ("", "empty"),
            ("ä", ""),
            ("a", "2"),
            ("b", "3"),
            ("aa", "é"),
        ];
        let map = BTreeMap::from(pairs);
        let mut metadata = Metadata::from_iter(pairs);
        assert!(
            metadata
                .iter()
                .eq(map.iter().map(|(key, value)| (*key, *value)))
        );
        for (key, value) in &map {
            assert_eq!(metadata.get(key), Some(*value));
        }
        assert!(
            ["c", "ab", "Z"]
                .iter()
                .all(|key| !metadata.contains_key(key))
        );
        metadata.insert("ab", "new");
        metadata.insert("b", "other");
        metadata.retain(|key, _| key != "a");
        let expected = [
            ("", "empty"),
            ("aa", "é"),
            ("ab", "new"),
            ("b", "other"),
            ("ä", ""),
        ];
        assert_eq!(metadata, expected.into_iter().collect());
        assert!(metadata.iter().eq(expected));
    }

    #[test]
    fn texts_of_any_length_are_told_apart() {
        let lengths = [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152];
        let pairs = lengths.map(|length| (format!("{length:07}é"), "ü".repeat(length)));
        let metadata: Metadata = pairs.iter().map(|(key, value)| (key, value)).collect();
        assert_eq!(metadata.len(), pairs.len());
        for ((key, value), (read_key, read_value)) in pairs.iter().zip(&metadata) {
            assert!(key == read_key && value == read_value, "{key}");
            assert!(metadata.get(key) == Some(value), "{key}");
        }
    }

    #[test]
    fn what_is_laid_over_counts_and_memory_is_shared_where_that_says_it_all() {
        let below = Metadata::from_iter([("a", "1"), ("b", "2")]);
        let over = Metadata::from_iter([("b", "3"), ("c", "4")]);
        let both = below.overlaid(&over);
        assert!(both.iter().eq([("a", "1"), ("b", "3"), ("c", "4")]));
        assert!(!below.is_shared() && !both.is_shared());
        let same = both.overlaid(&over);
        assert!(same == both && both.is_shared());
        assert!(Metadata::default().overlaid(&over) == over && !over.is_shared());
    }
}
