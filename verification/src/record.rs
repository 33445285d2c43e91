//! The text form of a composite value, as `record_out` writes it.

/// Splits `(a,"b ""c""",)` into its fields; `None` is NULL. Returns `None` if
/// the text is not a composite value.
#[must_use]
pub fn fields(text: &str) -> Option<Vec<Option<String>>> {
    let mut rest = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut fields = Vec::new();
    let mut current = String::new();
    let mut present = false;
    let mut quoted = false;
    while let Some(at) = memchr::memchr3(b'"', b'\\', b',', rest.as_bytes()) {
        let (plain, special) = rest.split_at(at);
        current.push_str(plain);
        present |= at > 0;
        rest = &special[1..];
        match special.as_bytes()[0] {
            b'"' if quoted && rest.starts_with('"') => {
                rest = &rest[1..];
                current.push('"');
            }
            b'"' => {
                quoted = !quoted;
                present = true;
            }
            b'\\' => {
                let escaped = rest.chars().next()?;
                current.push(escaped);
                rest = &rest[escaped.len_utf8()..];
                present = true;
            }
            _ if quoted => current.push(','),
            _ => {
                fields.push(present.then(|| std::mem::take(&mut current)));
                present = false;
            }
        }
    }
    current.push_str(rest);
    fields.push((present || !rest.is_empty()).then_some(current));
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_record_out_writes() {
        let parsed = fields(r#"(1,,"","a ""b"", \\c",é\ü",",x)"#).unwrap();
        assert_eq!(
            parsed,
            vec![
                Some("1".to_owned()),
                None,
                Some(String::new()),
                Some(r#"a "b", \c"#.to_owned()),
                Some("éü,".to_owned()),
                Some("x".to_owned())
            ]
        );
        assert_eq!(fields("no record"), None);
    }
}
