//! Statements with named arguments: `:name` stands for an argument, `:id` for the id that the
//! function makes, `==` for the operator `=` of pg_catalog (a plain `=` is an assignment).

/// The equality that no search_path can capture.
const EQUAL: &str = "OPERATOR(pg_catalog.=)";

/// Replaces every `:name` by what `value` says of it, and `==` by the qualified operator.
///
/// ```
/// let sql = benches::template::fill("SELECT x.a::text WHERE x.k == :k", |_| "$1".to_owned());
/// assert_eq!(sql, "SELECT x.a::text WHERE x.k OPERATOR(pg_catalog.=) $1");
/// ```
#[must_use]
pub fn fill(template: &str, value: impl Fn(&str) -> String) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some(at) = rest.find([':', '=']) {
        let (before, found) = rest.split_at(at);
        text.push_str(before);
        let taken = if found.starts_with("==") {
            text.push_str(EQUAL);
            2
        } else if found.starts_with("::") {
            text.push_str("::");
            2
        } else if let Some(after) = found.strip_prefix(':') {
            let name: String = after
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            if name.is_empty() {
                text.push(':');
            } else {
                text.push_str(&value(&name));
            }
            1 + name.len()
        } else {
            text.push('=');
            1
        };
        rest = &found[taken..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::fill;

    #[test]
    fn names_are_replaced_and_casts_are_not() {
        let upper = |name: &str| name.to_uppercase();
        assert_eq!(fill("a :b, c::d, :e_f", upper), "a B, c::d, E_F");
        assert_eq!(fill("'x: y' = :z", upper), "'x: y' = Z");
        assert_eq!(fill("a == :b", upper), "a OPERATOR(pg_catalog.=) B");
    }
}
