//! What operators have said that holds until they say otherwise, over restarts: a file of a few lines, beside what the
//! topology remembers.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{MemoryError, state_file};

/// Their standing orders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Standing {
    /// The failover manager does nothing by itself.
    pub(crate) is_maintenance: bool,
    /// Addresses (`host:port`) of detached nodes.
    pub(crate) detached: Vec<Arc<str>>,
}

/// Where it is, given where the topology's memory is.
pub(crate) fn path(state_file: &Path) -> PathBuf {
    state_file.with_extension("standing")
}

/// What held when an earlier run ended; nothing if there was none.
pub(crate) fn read(path: &Path) -> Result<Standing, MemoryError> {
    let Some(text) = state_file::read(path)? else { return Ok(Standing::default()) };
    parse(&text).ok_or_else(|| MemoryError::DamagedOrders { path: path.into() })
}

/// Replaces what was stored.
pub(crate) fn write(path: &Path, standing: &Standing) -> io::Result<()> {
    state_file::replace(path, &content(standing), || false)
}

fn parse(text: &str) -> Option<Standing> {
    let lines: Option<Vec<_>> = text.lines().map(|line| line.split_once(" = ")).collect();
    let lines = lines.filter(|_| text.ends_with('\n'))?;
    let [detached @ .., ("maintenance", maintenance)] = lines.as_slice() else { return None };
    let detached = detached.iter().map(|(name, address)| (*name == "detached").then(|| Arc::from(*address)));
    Some(Standing {
        is_maintenance: match *maintenance {
            "on" => true,
            "off" => false,
            _ => return None,
        },
        detached: detached.collect::<Option<_>>()?,
    })
}

/// What is always there stands last, so that a file which lacks its end is not taken for a whole one.
fn content(standing: &Standing) -> String {
    let detached: String =
        standing.detached.iter().map(|address| format!("detached = {address}\n")).collect();
    format!("{detached}maintenance = {}\n", if standing.is_maintenance { "on" } else { "off" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_a_file_cut_short_is_refused() {
        for detached in [vec![], vec!["a = b:5432".into(), "[::1]:5433".into()]] {
            for is_maintenance in [false, true] {
                let standing = Standing { is_maintenance, detached: detached.clone() };
                let whole = content(&standing);
                assert_eq!(parse(&whole), Some(standing));
                (0..whole.len()).for_each(|len| assert_eq!(parse(&whole[..len]), None, "{}", &whole[..len]));
            }
        }
    }
}
