//! Label selectors: the whole grammar of Kubernetes, and `*` in the value after `=`.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::names::{self, is_label_key, metadata_key};
use crate::stored::StoredMetadata;
use std::collections::BTreeSet;
use tko_core::{Pattern, Record, Select, kubernetes_name};

/// Maximum number of requirements of a selector.
const MAX_REQUIREMENTS: usize = 256;

/// A label selector: all requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LabelSelector(Vec<LabelRequirement>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct LabelRequirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Test {
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Like(Pattern),
    Exists,
    Absent,
    Above(i64),
    Below(i64),
}

impl LabelSelector {
    pub(super) fn parse(text: &str) -> KrmAnswer<Self> {
        let mut reader = Reader { text, at: 0 };
        let mut all = Vec::new();
        reader.skip_space();
        while !reader.is_at_end() {
            let requirement = reader.requirement();
            all.push(requirement.map_err(|why| {
                KrmFailure::bad_request(format!("unable to parse label selector {text:?}: {why}"))
            })?);
            if all.len() > MAX_REQUIREMENTS {
                return Err(KrmFailure::bad_request(format!(
                    "a label selector has at most {MAX_REQUIREMENTS} requirements"
                )));
            }
        }
        Ok(Self(all))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn matches(&self, record: &Record) -> bool {
        if self.is_empty() {
            return true;
        }
        let stored = StoredMetadata::of(&record.entity);
        let labels = names::labels(&record.entity.metadata, &stored);
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key).map(String::as_str);
            requirement.test.holds(value)
        })
    }

    /// Adds the requirements that the index of metadata can answer.
    pub(super) fn narrow(&self, mut select: Select) -> Select {
        for LabelRequirement { key, test } in &self.0 {
            let pattern = match test {
                Test::In(values) if values.len() == 1 => values
                    .first()
                    .map(|value| Pattern::literal(&names::metadata_value(value))),
                Test::Like(pattern) => decoded(pattern),
                _ => None,
            };
            let key = metadata_key(key);
            if let Some(pattern) = pattern
                && !select.metadata.contains_key(&key)
            {
                select = select.metadata(key, pattern);
            }
        }
        select
    }
}

/// The pattern for stored metadata that is equivalent to this pattern for labels, if there
/// certainly is one.
fn decoded(pattern: &Pattern) -> Option<Pattern> {
    let pieces = pattern
        .as_str()
        .split('*')
        .map(|piece| kubernetes_name::decode(piece).ok())
        .map(|piece| piece.map(|piece| piece.replace('\\', "\\\\").replace('*', "\\*")))
        .collect::<Option<Vec<_>>>()?;
    Pattern::value(&pieces.join("*")).ok()
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Like(pattern) => value.is_some_and(|value| pattern.matches(value)),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Above(bound) => number().is_some_and(|value| value > *bound),
            Self::Below(bound) => number().is_some_and(|value| value < *bound),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.rest().is_empty()
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes this text and the space after it.
    fn take(&mut self, text: &str) -> bool {
        let takes = self.rest().starts_with(text);
        if takes {
            self.at += text.len();
            self.skip_space();
        }
        takes
    }

    /// Takes a key, value or operator of letters, and the space after it.
    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let ends =
            |c: char| c.is_whitespace() || matches!(c, ',' | '=' | '!' | '(' | ')' | '<' | '>');
        let end = rest.find(ends).unwrap_or(rest.len());
        self.at += end;
        self.skip_space();
        &rest[..end]
    }

    fn requirement(&mut self) -> Result<LabelRequirement, String> {
        let absent = self.take("!");
        let key = self.word().to_owned();
        if !is_label_key(&key) {
            return Err(format!("{key:?} is not a valid label key"));
        }
        let test = if absent {
            Test::Absent
        } else if self.is_at_end() || self.rest().starts_with(',') {
            Test::Exists
        } else if self.take("==") || self.take("=") {
            match self.word() {
                pattern if pattern.contains('*') => {
                    Test::Like(Pattern::value(pattern).map_err(|error| error.to_string())?)
                }
                value => Test::In([checked(value)?].into()),
            }
        } else if self.take("!=") {
            Test::NotIn([checked(self.word())?].into())
        } else if self.take(">") {
            Test::Above(number(self.word())?)
        } else if self.take("<") {
            Test::Below(number(self.word())?)
        } else {
            match self.word() {
                "in" => Test::In(self.set()?),
                "notin" => Test::NotIn(self.set()?),
                other => {
                    return Err(format!(
                        "found {other:?}; expected in, notin, =, ==, != or ,"
                    ));
                }
            }
        };
        if !self.is_at_end() && !self.take(",") {
            return Err(format!("found {:?}; expected \",\"", self.rest()));
        }
        Ok(LabelRequirement { key, test })
    }

    fn set(&mut self) -> Result<BTreeSet<String>, String> {
        if !self.take("(") {
            return Err("expected \"(\"".to_owned());
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(checked(self.word())?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err("expected \",\" or \")\"".to_owned());
            }
        }
    }
}

fn checked(value: &str) -> Result<String, String> {
    if names::is_label_value(value) {
        Ok(value.to_owned())
    } else {
        Err(format!("{value:?} is not a valid label value"))
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an integer"))
}

#[cfg(test)]
mod tests {
    use super::LabelSelector;
    use crate::names::from_labels;
    use crate::stored::StoredMetadata;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use tko_core::{Entity, Facts, Key, Kind, Metadata, Record, Select};

    fn record(labels: &[(&str, &str)]) -> Record {
        let labels: BTreeMap<String, String> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let read = from_labels(&labels).expect("valid labels");
        let stored = StoredMetadata {
            labels: read.literal,
            ..StoredMetadata::default()
        };
        let metadata: Metadata = read.metadata.into_iter().collect();
        let mut given = metadata.clone();
        stored.write_into(&mut given);
        let key = Key::new(Kind::Template, "t").expect("an id");
        let entity = Entity::new(key, Facts::Template);
        Record::new(entity.metadata(metadata).given(given))
    }

    #[test]
    fn every_operator_selects_as_in_kubernetes() {
        let labels = [("tier", "front-end"), ("a.b/c", "UPF"), ("n", "7")];
        let record = record(&labels);
        for (selector, expected) in [
            ("", true),
            ("tier", true),
            ("!tier", false),
            ("!other", true),
            ("tier=front-end", true),
            ("tier == front-end , n", true),
            ("tier!=front-end", false),
            ("other!=x", true),
            ("tier in (a, front-end)", true),
            ("tier notin (a,b)", true),
            ("other notin (a)", true),
            ("n>6,n<8", true),
            ("n>7", false),
            ("a.b/c=U*", true),
            ("tier=*-end", true),
            ("a.b/c=u*", false),
            ("other in ()", false),
        ] {
            let parsed = LabelSelector::parse(selector).expect("well formed");
            assert_eq!(parsed.matches(&record), expected, "{selector}");
            let narrowed = parsed.narrow(Select::all(Kind::Template));
            assert!(
                !expected || narrowed.matches(&record.entity),
                "{selector}: narrowing must not lose it"
            );
        }
    }

    #[test]
    fn malformed_selectors_are_refused() {
        for bad in [
            "=", "a in b", "a in (b", "a b", "a=b c", "a>x", "a=b=c", "a=-", "(", "!",
        ] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_selector_breaks_it(text in "[a-z!=,() *<>ü-]{0,30}|\\PC{0,30}") {
            let _ = LabelSelector::parse(&text);
        }
    }
}
