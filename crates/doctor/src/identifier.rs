//! Names and texts as SQL writes them.

/// A name in double quotes, so that it means itself whatever is in it.
#[must_use]
pub fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes; with an `E` in front if there is a backslash in it, so that it means the same whatever
/// `standard_conforming_strings` says.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A `DO` block around PL/pgSQL, with a dollar quote that does not occur in it.
pub(crate) fn do_block(body: &str) -> String {
    let mut tag = "$pgherd$".to_owned();
    while body.contains(&tag) {
        tag.insert(tag.len() - 1, '_');
    }
    format!("DO {tag}\n{body}\n{tag};\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled_and_backslashes_mean_themselves() {
        assert_eq!(quote_identifier("pg\"herd"), "\"pg\"\"herd\"");
        assert_eq!(quote_literal("o'clock"), "'o''clock'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn a_dollar_quote_never_ends_inside_its_body() {
        assert_eq!(do_block("BEGIN END"), "DO $pgherd$\nBEGIN END\n$pgherd$;\n");
        assert!(do_block("a $pgherd$ b").starts_with("DO $pgherd_$\n"));
    }
}
