//! Rows to facts.

use wire::{Lsn, TimelineId, message::backend::timeline_of_wal_file};

use super::{Archiver, Facts, Receiver, Sender, Setting, Slot};
use crate::Privilege;

/// A row: the values' text, `None` for NULL.
type Row = Vec<Option<String>>;

/// What the rows of [`super::Question::base`] say; `None` if they are not its rows. `privileges` are those that were
/// asked about, and `asked_at` is when, by our clock, in seconds since 1970.
#[must_use]
pub fn read(rows: &[Row], privileges: &[Privilege], asked_at: f64) -> Option<Facts> {
    let mut facts = None;
    for row in rows {
        let cells = Cells(row);
        if cells.text(0) == "node" {
            facts = Some(node(&cells, asked_at)?);
            continue;
        }
        let facts = facts.as_mut()?;
        match cells.text(0) {
            "setting" => {
                let setting = Setting {
                    value: cells.owned(2),
                    restart_pending: cells.is_true(3),
                    source: cells.owned(4),
                };
                facts.settings.insert(cells.owned(1), setting);
            }
            "slot" => facts.slots.push(Slot {
                name: cells.owned(1),
                logical: cells.text(2) == "logical",
                active: cells.is_true(3),
                wal_status: cells.owned(4),
                retained: cells.text(5).parse().unwrap_or_default(),
                failover: cells.is_true(6),
            }),
            "sender" => facts.senders.push(Sender {
                name: cells.owned(1),
                state: cells.owned(2),
                sync_state: cells.owned(3),
                user: cells.owned(4),
                address: cells.owned(5),
            }),
            "receiver" => {
                facts.receiver = Some(Receiver {
                    status: cells.owned(1),
                    host: cells.owned(2),
                    port: cells.owned(3),
                    slot: cells.owned(4),
                });
            }
            "archiver" => {
                facts.archiver = Archiver {
                    failed: cells.text(1).parse().unwrap_or_default(),
                    failed_file: cells.owned(2),
                    failing: cells.is_true(3),
                };
            }
            "tablespace" => facts.tablespaces.push((cells.owned(1), cells.owned(2))),
            "privileges" => {
                facts.privileges =
                    privileges.iter().zip(1..).map(|(&one, at)| (one, cells.is_true(at))).collect();
            }
            _ => return None,
        }
    }
    facts
}

fn node(cells: &Cells<'_>, asked_at: f64) -> Option<Facts> {
    let in_recovery = cells.is_true(1);
    let written = timeline_of_wal_file(cells.text(3));
    let number = |at: usize| cells.text(at).parse::<u32>().ok().map(TimelineId);
    let timeline = if in_recovery { number(4).or_else(|| number(5))? } else { written? };
    let lsn = |at: usize| cells.text(at).parse::<Lsn>().unwrap_or_default();
    Some(Facts {
        version: cells.text(12).parse().ok()?,
        in_recovery,
        system_id: cells.text(2).parse().ok()?,
        timeline,
        checksums: cells.is_true(6),
        clock_ahead: cells.text(7).parse::<f64>().ok()? - asked_at,
        received: lsn(8),
        replayed: lsn(9),
        replay_paused: cells.is_true(10),
        role_connections: cells.text(11).parse().unwrap_or(-1),
        ..Facts::default()
    })
}

/// A row whose cells are asked for one by one; what is missing or NULL is empty.
struct Cells<'a>(&'a Row);

impl Cells<'_> {
    fn text(&self, at: usize) -> &str {
        self.0.get(at).and_then(Option::as_deref).unwrap_or_default()
    }

    fn owned(&self, at: usize) -> String {
        self.text(at).to_owned()
    }

    fn is_true(&self, at: usize) -> bool {
        self.text(at) == "t" || self.text(at) == "true"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rows of a server that lies, but begin as such rows do.
    fn hostile() -> impl Strategy<Value = Vec<Row>> {
        let tags =
            ["node", "setting", "slot", "sender", "receiver", "archiver", "tablespace", "privileges", "x"];
        let number =
            prop_oneof![Just(i64::MIN), Just(i64::MAX), any::<i64>()].prop_map(|number| number.to_string());
        let names =
            prop::sample::select(vec!["t", "f", "max_connections", "superuser_reserved_connections", "lost"]);
        let cell = prop_oneof![number, names.prop_map(str::to_owned), ".*", Just("NaN".to_owned())];
        let row = (prop::sample::select(tags.to_vec()), prop::collection::vec(prop::option::of(cell), 0..15));
        let row = row.prop_map(|(tag, cells)| [vec![Some(tag.to_owned())], cells].concat());
        let node = rows("node|f|7|000000030000000000000001|-|1|t|1|-|-|f|-1|150020");
        prop::collection::vec(row, 0..20).prop_map(move |rows| [node.clone(), rows].concat())
    }

    proptest! {
        #[test]
        fn a_server_that_lies_is_judged_all_the_same(rows in hostile()) {
            let Some(facts) = read(&rows, &[Privilege::Monitor], 0.0) else { return Ok(()) };
            let node = crate::Node {
                name: "a".to_owned(),
                host: "a".to_owned(),
                port: 1,
                region: "a".to_owned(),
                spare: false,
                addresses: Vec::new(),
                seen: Ok(facts),
                replication: None,
                lookup: None,
            };
            let purpose = crate::Purpose {
                user: "a".to_owned(),
                database: "a".to_owned(),
                mode: crate::Mode::Manage,
                lookup: None,
                memory: crate::Memory::Kept,
                demand: Some(u64::MAX),
            };
            let findings = crate::judge(&crate::Subject { purpose, nodes: vec![node.clone(), node] });
            let text = crate::report("a", &findings, crate::Extent::Everything, crate::Style::Plain);
            prop_assert!(text.starts_with("a: "));
        }
    }

    fn rows(text: &str) -> Vec<Row> {
        let cell = |text: &str| (text != "-").then(|| text.to_owned());
        text.lines().map(|line| line.split('|').map(cell).collect()).collect()
    }

    #[test]
    fn a_primarys_rows_are_read() {
        let rows = rows(
            "node|f|7|000000030000000000000001|-|1|t|100.5|-|-|f|-1|150020\n\
             setting|wal_level|replica|f|default\n\
             slot|s|physical|f|reserved|4096|f\n\
             sender|us|streaming|async|pgherd|10.0.0.2\n\
             archiver|3|000000010000000000000007|t\n\
             privileges|t|f",
        );
        let asked = [Privilege::Replication, Privilege::Checkpoint];
        let facts = read(&rows, &asked, 100.0).unwrap();
        assert_eq!((facts.timeline, facts.in_recovery, facts.checksums), (TimelineId(3), false, true));
        assert_eq!((facts.clock_ahead, facts.major(), facts.setting("wal_level")), (0.5, 15, "replica"));
        assert_eq!((facts.slots[0].retained, facts.senders[0].name.as_str()), (4096, "us"));
        assert!(facts.archiver.failing);
        assert_eq!(facts.privileges, [(Privilege::Replication, true), (Privilege::Checkpoint, false)]);
    }

    #[test]
    fn a_standbys_timeline_is_that_which_it_receives() {
        let facts = |received: &str| {
            read(&rows(&format!("node|t|7|-|{received}|1|f|0|0/5|0/4|t|-1|170000")), &[], 0.0)
        };
        assert_eq!(facts("2").unwrap().timeline, TimelineId(2));
        let facts = facts("-").unwrap();
        assert_eq!((facts.timeline, facts.replayed, facts.replay_paused), (TimelineId(1), Lsn(4), true));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        assert_eq!(read(&[], &[], 0.0), None);
        assert_eq!(read(&rows("slot|x"), &[], 0.0), None);
        assert_eq!(read(&rows("node|f"), &[], 0.0), None);
        assert_eq!(
            read(&rows("node|f|7|000000030000000000000001|-|1|t|1|-|-|f|-1|150020\nwhat"), &[], 0.0),
            None
        );
    }
}
