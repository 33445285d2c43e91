//! The text form of a composite value, as `record_out` writes it.

/// Splits `(a,"b ""c""",)` into its fields; `None` is NULL. Returns `None` if
/// the text is not a composite value.
#[must_use]
pub fn fields(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut fields = Vec::new();
    let mut current = String::new();
    let mut present = false;
    let mut quoted = false;
    let mut chars = inner.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                current.push('"');
            }
            '"' => {
                quoted = !quoted;
                present = true;
            }
            '\\' => {
                current.push(chars.next()?);
                present = true;
            }
            ',' if !quoted => {
                fields.push(present.then(|| std::mem::take(&mut current)));
                current.clear();
                present = false;
            }
            _ => {
                current.push(c);
                present = true;
            }
        }
    }
    fields.push(present.then_some(current));
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_record_out_writes() {
        let parsed = fields(r#"(1,,"","a ""b"", \\c",x)"#).unwrap();
        assert_eq!(
            parsed,
            vec![
                Some("1".to_owned()),
                None,
                Some(String::new()),
                Some(r#"a "b", \c"#.to_owned()),
                Some("x".to_owned())
            ]
        );
        assert_eq!(fields("no record"), None);
    }
}
