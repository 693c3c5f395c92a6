use crate::api::Control;

/// Reads what `pg_controldata` prints in the C locale; `None` if something is missing.
pub(crate) fn parse(text: &str) -> Option<Control> {
    let value = |name: &str| {
        text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    let hints = value("wal_log_hints setting")? == "on";
    let checksums = value("Data page checksum version")? != "0";
    Some(Control {
        state: value("Database cluster state")?,
        system_identifier: value("Database system identifier")?,
        timeline: value("Latest checkpoint's TimeLineID")?.parse().ok()?,
        checkpoint_lsn: value("Latest checkpoint location")?,
        min_recovery_lsn: value("Minimum recovery ending location")?,
        can_rewind: hints || checksums,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_matter_are_read() {
        let text = "\
pg_control version number:            1300
Database system identifier:           7400000000000000001
Database cluster state:               shut down in recovery
Latest checkpoint location:           0/30000D8
Latest checkpoint's TimeLineID:       2
Minimum recovery ending location:     0/3000150
wal_log_hints setting:                on
Data page checksum version:           0
";
        let control = parse(text).unwrap();
        assert_eq!(control.state, "shut down in recovery");
        assert_eq!(control.system_identifier, "7400000000000000001");
        assert_eq!((control.timeline, control.can_rewind), (2, true));
        assert_eq!(control.checkpoint_lsn, "0/30000D8");
        assert!(!parse(&text.replace("setting:                on", "setting: off")).unwrap().can_rewind);
        assert_eq!(parse("pg_controldata: fatal"), None);
    }
}
