//! Numbers of JSON: compared by value, and read as `updates` reads them.

/// A decimal number as `[-]digits e exponent`, without leading or trailing zeros.
#[must_use]
pub fn canonical_number(text: &str) -> String {
    let (digits, exponent) = decimal(text);
    let negative = digits.starts_with('-');
    let magnitude = digits.trim_start_matches('-').trim_start_matches('0');
    let stripped = magnitude.trim_end_matches('0');
    if stripped.is_empty() {
        return "0".to_owned();
    }
    let exponent = exponent + i64::try_from(magnitude.len() - stripped.len()).unwrap_or(0);
    format!("{}{stripped}e{exponent}", if negative { "-" } else { "" })
}

/// Sign and all digits of a JSON number, and the power of ten they are scaled by.
fn decimal(text: &str) -> (String, i64) {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (
            &text[..at],
            text[at + 1..].trim_start_matches('+').parse().unwrap_or(0),
        ),
        None => (text, 0),
    };
    match mantissa.find('.') {
        Some(at) => {
            let fraction = &mantissa[at + 1..];
            let shift = i64::try_from(fraction.len()).unwrap_or(0);
            (format!("{}{fraction}", &mantissa[..at]), exponent - shift)
        }
        None => (mantissa.to_owned(), exponent),
    }
}

/// How `updates` reads a JSON number for an integer column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// A value that fits.
    Fits(i64),
    /// Whole, but outside `integer`.
    TooLarge,
    /// Has a fraction.
    Fraction,
}

/// Reads a JSON number as a PostgreSQL `integer` (`8`, `8.0` and `1e3` are whole).
#[must_use]
pub fn whole_number(text: &str) -> Whole {
    let canonical = canonical_number(text);
    if canonical == "0" {
        return Whole::Fits(0);
    }
    let Some((digits, exponent)) = canonical.split_once('e') else {
        return Whole::Fraction;
    };
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX);
    if exponent < 0 {
        return Whole::Fraction;
    }
    if exponent > 12 {
        return Whole::TooLarge;
    }
    let scaled = format!(
        "{digits}{}",
        "0".repeat(usize::try_from(exponent).unwrap_or(0))
    );
    match scaled.parse::<i64>() {
        Ok(value) if i32::try_from(value).is_ok() => Whole::Fits(value),
        _ => Whole::TooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_follow_the_update_rule() {
        assert_eq!(whole_number("8"), Whole::Fits(8));
        assert_eq!(whole_number("8.0"), Whole::Fits(8));
        assert_eq!(whole_number("1e3"), Whole::Fits(1000));
        assert_eq!(whole_number("-2147483648"), Whole::Fits(-2_147_483_648));
        assert_eq!(whole_number("2147483648"), Whole::TooLarge);
        assert_eq!(whole_number("1e400"), Whole::TooLarge);
        assert_eq!(whole_number("0.5"), Whole::Fraction);
    }
}
