//! Timestamps differ between judges. Each judge notes the start of each of its
//! transactions under a symbol (`<t3>`); wherever a judge shows that moment,
//! the symbol takes its place. So `created_at` must be the start of exactly
//! the transaction that created the row, in every row and every message.

/// The moments a judge knows.
#[derive(Debug, Default)]
pub struct Clock {
    known: Vec<(String, String)>,
}

impl Clock {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Notes a moment, as the server writes it.
    pub fn note(&mut self, moment: &str, symbol: &str) {
        if !self.known.iter().any(|(known, _)| known == moment) {
            self.known.push((moment.to_owned(), symbol.to_owned()));
        }
    }

    /// Replaces known moments.
    #[must_use]
    pub fn apply(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((start, end)) = find_moment(rest) {
            result.push_str(&rest[..start]);
            let moment = &rest[start..end];
            match self.known.iter().find(|(known, _)| known == moment) {
                Some((_, symbol)) => result.push_str(symbol),
                None => result.push_str(moment),
            }
            rest = &rest[end..];
        }
        result.push_str(rest);
        result
    }

    /// Replaces known moments, and those that nobody noted by `<now>`: the
    /// start of a single-statement transaction that failed is known to nobody.
    #[must_use]
    pub fn apply_to_error(&self, text: &str) -> String {
        without_moments(&self.apply(text))
    }
}

/// Replaces every moment by `<now>`.
#[must_use]
pub fn without_moments(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, end)) = find_moment(rest) {
        result.push_str(&rest[..start]);
        result.push_str("<now>");
        rest = &rest[end..];
    }
    result.push_str(rest);
    result
}

/// The first `2026-01-31 12:34:56[.789]+00` in a text.
fn find_moment(text: &str) -> Option<(usize, usize)> {
    const PATTERN: &[u8] = b"dddd-dd-dd dd:dd:dd";
    let bytes = text.as_bytes();
    let matches_at = |at: usize| {
        bytes.len() >= at + PATTERN.len()
            && PATTERN.iter().enumerate().all(|(i, wanted)| match wanted {
                b'd' => bytes[at + i].is_ascii_digit(),
                other => bytes[at + i] == *other,
            })
    };
    let mut from = 0;
    while let Some(found) = memchr_dash(bytes, from) {
        from = found + 1;
        let Some(start) = found.checked_sub(4) else {
            continue;
        };
        if !matches_at(start) {
            continue;
        }
        let mut end = start + PATTERN.len();
        if bytes.get(end) == Some(&b'.') {
            end += 1;
            while bytes.get(end).is_some_and(u8::is_ascii_digit) {
                end += 1;
            }
        }
        if text[end..].starts_with("+00") {
            return Some((start, end + 3));
        }
    }
    None
}

fn memchr_dash(bytes: &[u8], from: usize) -> Option<usize> {
    bytes
        .get(from..)?
        .iter()
        .position(|byte| *byte == b'-')
        .map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_become_symbols() {
        let mut clock = Clock::default();
        clock.note("2026-01-31 12:34:56.789+00", "<t1>");
        assert_eq!(
            clock.apply("(a,\"2026-01-31 12:34:56.789+00\",2020-01-01 00:00:00+00)"),
            "(a,\"<t1>\",2020-01-01 00:00:00+00)"
        );
        assert_eq!(
            clock.apply_to_error("x 2020-01-01 00:00:00+00."),
            "x <now>."
        );
        assert_eq!(
            clock.apply("2026-01-31 12:34:56.78"),
            "2026-01-31 12:34:56.78"
        );
        assert_eq!(clock.apply("é-2026-01-31"), "é-2026-01-31");
    }
}
