//! `postgresql.auto.conf`, which is read after all other files and belongs to `ALTER SYSTEM` while the server runs.

/// The text with other values for some settings; `None` forgets one. All else stays as it is.
pub(crate) fn with(text: &str, settings: &[(&str, Option<&str>)]) -> String {
    let is_replaced = |line: &str| {
        let name =
            line.trim_start().split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or_default();
        settings.iter().any(|(its, _)| its.eq_ignore_ascii_case(name))
    };
    let mut new: String =
        text.lines().filter(|line| !is_replaced(line)).flat_map(|line| [line, "\n"]).collect();
    for (name, value) in settings {
        if let Some(value) = value {
            // as PostgreSQL itself writes it: quotes are doubled, and so are backslashes, which the reader unescapes
            let quoted = value.replace('\\', "\\\\").replace('\'', "''");
            new.push_str(&format!("{name} = '{quoted}'\n"));
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_replaced_and_others_stay() {
        let old = "# Do not edit\nwork_mem = '4MB'\nPrimary_Conninfo='host=a'\n primary_slot_name = 'x'\n";
        let new = with(old, &[("primary_conninfo", Some(r"password='it\'s'")), ("primary_slot_name", None)]);
        assert_eq!(new, "# Do not edit\nwork_mem = '4MB'\nprimary_conninfo = 'password=''it\\\\''s'''\n");
    }
}
