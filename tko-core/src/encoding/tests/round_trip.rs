//! Every package is unchanged after encoding and decoding, in every format and between any two.

use proptest::prelude::{
    Just, ProptestConfig, Strategy, any, prop_assert_eq, prop_oneof, proptest,
};
use serde_json::{Map, Number, Value};

use super::{Dialect, Format, encode, read};

/// Texts that some readers or writers have got wrong.
const AWKWARD: &[&str] = &[
    "",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "\r",
    "\r\n",
    "a\r\nb",
    " a",
    "a ",
    "\ta",
    "a\t",
    "a\n",
    "a\n\n",
    "\na",
    "\n a",
    " \na",
    "a\n b\n  c",
    "  a\nb",
    "\ta\nb",
    "a\n\tb",
    "a \nb",
    "a\n \nb",
    "a\n#b",
    "#",
    "# a",
    "a #b",
    "a#b",
    "-",
    "- a",
    "-a",
    "--- a",
    "---",
    "...",
    "?",
    "? a",
    ":",
    ": a",
    "a: b",
    "a:b",
    "a:",
    "::",
    "&a",
    "*a",
    "!a",
    "!!str a",
    "|",
    ">",
    "|-",
    "%a",
    "@a",
    "`a",
    "'",
    "''",
    "\"",
    "\\",
    "\\n",
    "a'b",
    "a\"b",
    "[",
    "]",
    "[a]",
    "{",
    "}",
    "{a}",
    ",",
    "a,b",
    "~",
    "null",
    "Null",
    "true",
    "TRUE",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "N",
    "=",
    "<<",
    "0",
    "-0",
    "+1",
    "08",
    "0644",
    "0o7",
    "0x1F",
    "0b1",
    "1_000",
    "1.0",
    ".5",
    "1.",
    "1e3",
    "1E+3",
    "12e03",
    ".inf",
    "-.INF",
    ".nan",
    "NaN",
    "Infinity",
    "12:30",
    "12:30:00",
    "190:20:30.15",
    "2001-01-01",
    "2001-12-14T21:59:43.10-05:00",
    "2001-12-14 21:59:43",
    "1.2.3",
    "100m",
    "\0",
    "\u{7}",
    "\u{1b}",
    "\u{7f}",
    "\u{85}",
    "a\u{85}b",
    "\u{a0}",
    "\u{2028}",
    "\u{2029}",
    "\u{feff}",
    "\u{feff}a",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "😀",
    "\u{200b}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..AWKWARD.len()).prop_map(|index| AWKWARD[index].to_owned()),
        2 => (0..AWKWARD.len(), 0..AWKWARD.len())
            .prop_map(|(one, other)| AWKWARD[one].to_owned() + AWKWARD[other]),
        3 => "[a-z0-9 :#\\-\n\t'\"\\[\\]{},&*!|>%@`?~=<._]{0,12}",
        2 => "\\PC{0,20}",
        1 => any::<String>(),
        1 => (1..300_usize).prop_map(|words| "word ".repeat(words)),
        1 => (1..300_usize).prop_map(|length| "x".repeat(length * 8)),
    ]
}

fn number() -> impl Strategy<Value = Number> {
    let float = |value: f64| Number::from_f64(value);
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (-1000..1000_i64).prop_map(Number::from),
        any::<f64>().prop_filter_map("finite", float),
        (-1000..1000_i32).prop_map(|whole| Number::from_f64(f64::from(whole)).expect("finite")),
        prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(f64::MAX),
            Just(f64::MIN_POSITIVE),
            Just(1e21)
        ]
        .prop_filter_map("finite", float),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => number().prop_map(Value::Number),
        6 => text().prop_map(Value::String),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((text(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn package() -> impl Strategy<Value = Vec<Value>> {
    let resource = proptest::collection::vec((text(), value()), 0..6)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>()));
    proptest::collection::vec(resource, 0..5)
}

/// JSON text shows differences that `Value`'s equality ignores: the order of keys, and `0.0`
/// against `-0.0`.
fn exactly(package: &[Value]) -> String {
    serde_json::to_string(package).expect("memory")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn packages_survive_every_format_in_both_dialects(package in package()) {
        for format in Format::ALL {
            let bytes = encode(&package, format);
            for dialect in [Dialect::People, Dialect::Programs] {
                let read = read(&bytes, format, dialect);
                let read = read.unwrap_or_else(|error| panic!("{format}: {error}\n{bytes:?}"));
                prop_assert_eq!(exactly(&read), exactly(&package), "{} {:?}", format, dialect);
            }
        }
    }

    #[test]
    fn packages_survive_every_conversion(package in package()) {
        let [yaml, json, cbor] = Format::ALL;
        let mut current = package.clone();
        for format in [yaml, json, yaml, cbor, json, cbor, yaml] {
            current = read(&encode(&current, format), format, Dialect::Programs)
                .expect("what was written is read");
        }
        prop_assert_eq!(exactly(&current), exactly(&package));
        for format in Format::ALL {
            prop_assert_eq!(encode(&current, format), encode(&package, format), "{}", format);
        }
    }

    #[test]
    fn rubbish_is_refused_or_read_but_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "[a-c0-1 :#\\-\n\t'\"\\[\\]{},&*!|>%?~<.\\\\]{0,60}",
    ) {
        for format in Format::ALL {
            for dialect in [Dialect::People, Dialect::Programs] {
                for input in [&bytes[..], text.as_bytes()] {
                    if let Ok(package) = read(input, format, dialect) {
                        let again = read(&encode(&package, format), format, Dialect::Programs);
                        prop_assert_eq!(again, Ok(package));
                    }
                }
            }
        }
    }
}
