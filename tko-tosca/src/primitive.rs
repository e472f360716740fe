//! The types of values that TOSCA itself defines.

use crate::yaml::YamlNode;
use std::cmp::Ordering;

/// A type of values that TOSCA itself defines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Primitive {
    /// Text.
    String,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number.
    Float,
    /// True or false.
    Boolean,
    /// A date, or a date and a time, as in YAML 1.1.
    Timestamp,
    /// A version such as `1.2.3.beta-4`.
    Version,
    /// A lower and an upper bound.
    Range,
    /// A list of entries of one type.
    List,
    /// A map from text to entries of one type.
    Map,
    /// A number with one of some units.
    Scalar(&'static ScalarUnits),
}

/// The units of a scalar type, each with its factor to the smallest unit.
#[derive(Debug, PartialEq)]
pub(crate) struct ScalarUnits {
    name: &'static str,
    units: &'static [(&'static str, f64)],
}

impl Eq for ScalarUnits {}

static SIZE: ScalarUnits = ScalarUnits {
    name: "scalar-unit.size",
    units: &[
        ("B", 1.0),
        ("kB", 1e3),
        ("KiB", 1024.0),
        ("MB", 1e6),
        ("MiB", 1_048_576.0),
        ("GB", 1e9),
        ("GiB", 1_073_741_824.0),
        ("TB", 1e12),
        ("TiB", 1_099_511_627_776.0),
    ],
};
static TIME: ScalarUnits = ScalarUnits {
    name: "scalar-unit.time",
    units: &[
        ("d", 86_400e9),
        ("h", 3_600e9),
        ("m", 60e9),
        ("s", 1e9),
        ("ms", 1e6),
        ("us", 1e3),
        ("ns", 1.0),
    ],
};
static FREQUENCY: ScalarUnits = ScalarUnits {
    name: "scalar-unit.frequency",
    units: &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)],
};
static BITRATE: ScalarUnits = ScalarUnits {
    name: "scalar-unit.bitrate",
    units: &[
        ("bps", 1.0),
        ("Kbps", 1e3),
        ("Kibps", 1024.0),
        ("Mbps", 1e6),
        ("Mibps", 1_048_576.0),
        ("Gbps", 1e9),
        ("Gibps", 1_073_741_824.0),
        ("Tbps", 1e12),
        ("Tibps", 1_099_511_627_776.0),
    ],
};

/// Something that can be compared with another value of the same type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rank {
    /// A whole number.
    Integer(i64),
    /// Any other number; scalars in their smallest unit.
    Number(f64),
    /// Text in the order of its bytes; timestamps are also text.
    Text(String),
    /// Major, minor and fix version, qualifier, build.
    Version(u64, u64, u64, String, u64),
}

impl Rank {
    /// The order of two values; `None` if they are not of one type.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(b)),
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b),
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (
                Self::Version(major, minor, fix, qualifier, build),
                Self::Version(other_major, other_minor, other_fix, other_qualifier, other_build),
            ) => Some((major, minor, fix, qualifier, build).cmp(&(
                other_major,
                other_minor,
                other_fix,
                other_qualifier,
                other_build,
            ))),
            _ => None,
        }
    }
}

impl Primitive {
    /// The type with a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "string" => Self::String,
            "integer" => Self::Integer,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "timestamp" => Self::Timestamp,
            "version" => Self::Version,
            "range" => Self::Range,
            "list" => Self::List,
            "map" => Self::Map,
            "scalar-unit.size" => Self::Scalar(&SIZE),
            "scalar-unit.time" => Self::Scalar(&TIME),
            "scalar-unit.frequency" => Self::Scalar(&FREQUENCY),
            "scalar-unit.bitrate" => Self::Scalar(&BITRATE),
            _ => return None,
        })
    }

    /// The name of the type.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Version => "version",
            Self::Range => "range",
            Self::List => "list",
            Self::Map => "map",
            Self::Scalar(units) => units.name,
        }
    }

    /// The value of a scalar of this type; `None` if it is not of this type, or a list or map type.
    pub(crate) fn rank(self, value: &YamlNode) -> Option<Rank> {
        match self {
            Self::String => value.as_text().map(|text| Rank::Text(text.to_owned())),
            Self::Integer => value.as_integer().map(Rank::Integer),
            Self::Float => number(value).map(Rank::Number),
            Self::Boolean => value.as_boolean().map(|b| Rank::Integer(i64::from(b))),
            Self::Timestamp => {
                let text = value.as_scalar().filter(|text| is_timestamp(text))?;
                Some(Rank::Text(text.to_owned()))
            }
            Self::Version => version(value.as_scalar()?),
            Self::Scalar(units) => scalar(value.as_scalar()?, units).map(Rank::Number),
            Self::Range | Self::List | Self::Map => None,
        }
    }

    /// The form of a value of this type, for messages.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Timestamp => " such as 2024-01-31T12:30:00Z",
            Self::Version => " such as 1.2.3",
            Self::Range => " such as [1, 4] or [1, UNBOUNDED]",
            Self::Scalar(units) => match units.name {
                "scalar-unit.size" => " such as 10 GB",
                "scalar-unit.time" => " such as 30 s",
                "scalar-unit.frequency" => " such as 2.4 GHz",
                _ => " such as 100 Mbps",
            },
            _ => "",
        }
    }
}

fn number(value: &YamlNode) -> Option<f64> {
    #[allow(clippy::cast_precision_loss)] // YAML writes a float without a point too.
    let whole = || value.as_integer().map(|number| number as f64);
    value.as_float().or_else(whole)
}

/// A number and a unit, with or without space between them; case is ignored.
fn scalar(text: &str, units: &ScalarUnits) -> Option<f64> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let number: f64 = text[..end].parse().ok().filter(|n: &f64| n.is_finite())?;
    let unit = text[end..].trim();
    let factor = units
        .units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))?
        .1;
    Some(number * factor)
}

/// TOSCA 1.3, section 3.3.2: `major.minor[.fix[.qualifier[-build]]]`.
fn version(text: &str) -> Option<Rank> {
    let mut parts = text.splitn(4, '.');
    let major = digits(parts.next()?)?;
    let minor = digits(parts.next()?)?;
    let fix = parts.next().map_or(Some(0), digits)?;
    let (qualifier, build) = match parts.next() {
        None => ("", 0),
        Some(rest) => match rest.split_once('-') {
            None => (rest, 0),
            Some((qualifier, build)) => (qualifier, digits(build)?),
        },
    };
    if !qualifier.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    Some(Rank::Version(
        major,
        minor,
        fix,
        qualifier.to_owned(),
        build,
    ))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// Whether text is a date, or a date and a time with an optional zone.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(end) => (&text[..end], Some(text[end + 1..].trim())),
        None => (text, None),
    };
    let parts: Vec<Option<u64>> = date.split('-').map(digits).collect();
    let [Some(_), Some(1..=12), Some(1..=31)] = parts.as_slice() else {
        return false;
    };
    if date.find('-') != Some(4) {
        return false;
    }
    let Some(time) = time else {
        return true;
    };
    let zone = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let clock: Vec<&str> = time[..zone].trim().split(':').collect();
    let [hour, minute, second] = clock.as_slice() else {
        return false;
    };
    let second = second.split('.').next().unwrap_or_default();
    matches!(digits(hour), Some(0..=23))
        && matches!(digits(minute), Some(0..=59))
        && matches!(digits(second), Some(0..=60))
}
