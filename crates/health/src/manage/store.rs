//! The manager's record in a file of a few lines, beside what the topology remembers.

use std::{io, path::Path, sync::Arc};

use failover::{Phase, Record};
use topology::Epoch;
use wire::TimelineId;

use crate::{MemoryError, state_file};

/// What a predecessor stored; the default if there was none.
pub(crate) fn read(path: &Path) -> Result<Record, MemoryError> {
    let Some(text) = state_file::read(path)? else { return Ok(Record::default()) };
    parse(&text).ok_or_else(|| MemoryError::Damaged { path: path.into() })
}

fn parse(text: &str) -> Option<Record> {
    let lines: Option<Vec<_>> = text.lines().map(|line| line.split_once(" = ")).collect();
    let lines = lines.filter(|_| text.ends_with('\n'))?;
    let [middle @ .., ("epoch", epoch)] = lines.as_slice() else { return None };
    let (deposed, phase): (Vec<_>, Vec<_>) = middle.iter().partition(|(name, _)| *name == "deposed");
    let timeline = |text: &str| text.parse().ok().map(TimelineId);
    let phase = match phase.as_slice() {
        [("phase", "vacant")] => Phase::Vacant,
        [("phase", "serving"), ("node", node), ("timeline", number)] => {
            Phase::Serving { node: (*node).into(), timeline: timeline(number)? }
        }
        [("phase", "halting"), ("from", from)] => Phase::Halting { from: (*from).into() },
        [("phase", "fencing")] => Phase::Fencing { from: None },
        [("phase", "fencing"), ("from", from)] => Phase::Fencing { from: Some((*from).into()) },
        [("phase", "promoting"), ("node", node), ("above", above), rest @ ..] => {
            let (from, earlier) = match rest {
                [("from", from), earlier @ ..] => (Some((*from).into()), earlier),
                earlier => (None, earlier),
            };
            let earlier = earlier.iter().map(|(name, node)| (*name == "earlier").then(|| Arc::from(*node)));
            Phase::Promoting {
                node: (*node).into(),
                above: timeline(above)?,
                from,
                earlier: earlier.collect::<Option<_>>()?,
            }
        }
        _ => return None,
    };
    let deposed = deposed.into_iter().map(|(_, address)| Arc::<str>::from(address.to_owned())).collect();
    Some(Record { epoch: Epoch(epoch.parse().ok()?), phase, deposed })
}

/// The epoch stands last, so that a file which lacks its end is not taken for a whole one.
fn content(record: &Record) -> String {
    let phase = match &record.phase {
        Phase::Vacant => "phase = vacant\n".to_owned(),
        Phase::Serving { node, timeline } => {
            format!("phase = serving\nnode = {node}\ntimeline = {timeline}\n")
        }
        Phase::Halting { from } => format!("phase = halting\nfrom = {from}\n"),
        Phase::Fencing { from } => format!("phase = fencing\n{}", line("from", from.as_deref())),
        Phase::Promoting { node, above, from, earlier } => {
            let earlier: String = earlier.iter().map(|node| line("earlier", Some(node))).collect();
            let from = line("from", from.as_deref());
            format!("phase = promoting\nnode = {node}\nabove = {above}\n{from}{earlier}")
        }
    };
    let deposed: String = record.deposed.iter().map(|node| line("deposed", Some(node))).collect();
    format!("{phase}{deposed}epoch = {}\n", record.epoch)
}

fn line(name: &str, value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!("{name} = {value}\n"))
}

/// Replaces what was stored: unlike what the topology remembers, a record is never older than the one before.
pub(crate) fn write(path: &Path, record: &Record) -> io::Result<()> {
    state_file::replace(path, &content(record), || false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let (node, from): (Arc<str>, _) = ("a = b:5432".into(), Some("c:5433".into()));
        let above = TimelineId(3);
        let phases = [
            Phase::Vacant,
            Phase::Serving { node: Arc::clone(&node), timeline: above },
            Phase::Halting { from: "c:5433".into() },
            Phase::Fencing { from: None },
            Phase::Fencing { from: from.clone() },
            Phase::Promoting {
                node: Arc::clone(&node),
                above,
                from: None,
                earlier: vec!["d:1".into(), "e:2".into()],
            },
            Phase::Promoting { node: Arc::clone(&node), above, from: None, earlier: Vec::new() },
            Phase::Promoting { node, above, from, earlier: vec!["d:1".into()] },
        ];
        let deposed = [vec![], vec!["d:1".into(), "e:2".into()]];
        let record = |phase: &Phase, deposed: &Vec<Arc<str>>| Record {
            epoch: Epoch(12),
            phase: phase.clone(),
            deposed: deposed.clone(),
        };
        phases.iter().flat_map(|phase| deposed.iter().map(move |deposed| record(phase, deposed))).collect()
    }

    #[test]
    fn what_is_written_is_read_back_and_a_file_cut_short_is_refused() {
        for record in records() {
            let whole = content(&record);
            assert_eq!(parse(&whole), Some(record));
            for len in 0..whole.len() {
                assert_eq!(parse(&whole[..len]), None, "{}", &whole[..len]);
            }
        }
    }
}
