//! Pieces of which the page is made.

use crate::bar::Verdict;
use crate::stats::Figure;
use crate::terminal::mark;

/// The class of a verdict.
pub(super) fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::None => "none",
        Verdict::Met => "met",
        Verdict::Near => "near",
        Verdict::Missed { .. } => "missed",
        Verdict::Noisy => "noisy",
    }
}

/// Text for HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// `100,000` for 100000.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// A number that is judged, with the mark of its verdict.
pub(super) fn judged(number: &str, verdict: Verdict) -> String {
    format!(
        "<span class=\"{}\">{number} {}</span>",
        class(verdict),
        mark(verdict)
    )
}

/// A ratio ± its spread, and what came of it.
pub(super) fn ratio(ratio: &Figure, verdict: Verdict) -> String {
    judged(&plus_minus(ratio), verdict)
}

/// `0.42 ± 0.02`.
fn plus_minus(figure: &Figure) -> String {
    format!("{:.2} ± {:.2}", figure.median, figure.spread)
}

/// What is allowed.
pub(super) fn at_most(allowed: f64) -> String {
    format!("≤ {allowed:.2}")
}

/// A share in per cent, which no line break tears.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", share * 100.0)
}

/// Words with others below them, softer.
pub(super) fn above(words: &str, below: &str) -> String {
    if below.is_empty() {
        words.to_owned()
    } else {
        format!("{words}<small>{below}</small>")
    }
}

/// What a line stands for: drawn like the line itself, since a browser prints no backgrounds.
pub(super) fn key(class: &str, words: &str) -> String {
    format!(
        "<span class=\"key\"><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path class=\"{class}\" d=\"M1 4H25\"/></svg>{words}</span>"
    )
}

/// A table; the first column is words.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    let body: String = rows
        .iter()
        .map(|row| {
            let cells: String = row.iter().map(|cell| format!("<td>{cell}</td>")).collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    format!("<div class=\"wide\"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
