//! Quantities, such as `500m` or `1.5Gi`.

/// Billionths in one.
const ONE: i128 = 1_000_000_000;

/// A quantity in billionths; very large ones are clamped to the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

impl Quantity {
    /// Parses a quantity. Kubernetes ignores spaces around it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = text
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (binary, decimal) = scale(suffix)?;
        let digits = whole.bytes().chain(fraction.bytes());
        let value = digits.fold(0_i128, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(i128::from(digit - b'0'))
        });
        let exponent = 9 + decimal - i32::try_from(fraction.len()).unwrap_or(i32::MAX / 2);
        let value = shift(value.saturating_mul(1 << binary), exponent);
        Some(Self(if negative { -value } else { value }))
    }

    pub(crate) fn of(number: i64) -> Self {
        Self(i128::from(number) * ONE)
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// Returns -1, 0 or 1.
    pub(crate) fn sign(self) -> i64 {
        i64::try_from(self.0.signum()).unwrap_or_default()
    }

    /// Returns the quantity if it is a whole number.
    pub(crate) fn integer(self) -> Option<i64> {
        (self.0 % ONE == 0).then(|| i64::try_from(self.0 / ONE).ok())?
    }

    #[allow(clippy::cast_precision_loss)] // It is approximate.
    pub(crate) fn double(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

/// Returns true if text is a quantity.
pub(crate) fn is_quantity(text: &str) -> bool {
    Quantity::parse(text).is_some()
}

/// Returns true for a quantity of at least zero. A text that is not a quantity is reported
/// elsewhere.
pub(super) fn is_not_negative(text: &str) -> bool {
    Quantity::parse(text).is_none_or(|quantity| quantity.sign() >= 0)
}

/// Returns the power of two and the power of ten that a suffix stands for.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    Some(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        other => {
            let exponent = other.strip_prefix(['e', 'E'])?;
            (
                0,
                exponent
                    .parse::<i32>()
                    .ok()
                    .filter(|exponent| exponent.abs() < 1000)?,
            )
        }
    })
}

/// Multiplies by a power of ten; a remainder is rounded up, as Kubernetes does.
fn shift(value: i128, exponent: i32) -> i128 {
    let power = 10_i128.checked_pow(exponent.unsigned_abs());
    match (power, exponent < 0) {
        (_, _) if value == 0 => 0,
        (Some(power), false) => value.saturating_mul(power),
        (None, false) => i128::MAX,
        (Some(power), true) => value / power + i128::from(value % power != 0),
        (None, true) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Quantity, is_quantity};

    #[test]
    fn quantities_have_known_suffixes_only() {
        for good in [
            "500m",
            "1.5Gi",
            "-1e3",
            "2",
            "+1",
            ".5",
            "1.",
            "1E",
            "1e-2",
            "128e6",
            "1Gi ",
            "0",
            "9999999999999999999999",
            "12E3",
            "5u",
            "5n",
            "1k",
            "1Ki",
            "4Ei",
        ] {
            assert!(is_quantity(good), "{good}");
        }
        for bad in [
            "lots", "", "1 Gi", "1.Gii", "1mi", "1..2", "1ki", "1K", "Gi", ".", "-", "1e", "1eM",
            "1e1.5", "1GiB", "1Mb", "--1", "1,5", "0x10",
        ] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }

    #[test]
    fn quantities_compare_by_value() {
        let parsed = |text| Quantity::parse(text).expect("a quantity");
        assert_eq!(parsed("1Ki"), parsed("1024"));
        assert_eq!(parsed("1"), parsed("1000m"));
        assert!(parsed("1G") < parsed("1Gi"));
        assert!(parsed("-1") < parsed("1n"));
        assert_eq!(parsed("2k").integer(), Some(2000));
        assert_eq!(parsed("500m").integer(), None);
        assert!(parsed("9E") < parsed("99999999999999999999999999999999999999999"));
    }
}
