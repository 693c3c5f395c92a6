//! Units of client input: what is answered with one ReadyForQuery, or asked for with a Flush.

use wire::frame::{Direction, FrameError, Peek, peek};

/// What closes a unit of client messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitEnd {
    /// Query, FunctionCall or Sync: one ReadyForQuery answers it.
    Ready,
    /// Flush: the answers so far are wanted, the unit goes on.
    Flush,
    /// Terminate.
    Terminate,
}

/// What a message of this type means for the unit it is in; `None`: more is to come.
#[must_use]
#[inline]
pub fn unit_end(tag: u8) -> Option<UnitEnd> {
    match tag {
        b'Q' | b'F' | b'S' => Some(UnitEnd::Ready),
        b'H' => Some(UnitEnd::Flush),
        b'X' => Some(UnitEnd::Terminate),
        _ => None,
    }
}

/// Length in bytes of the whole messages at the start of `input`, up to and with the first that ends a unit.
///
/// # Errors
/// [`FrameError`] at the first head that is none.
pub fn first_unit(input: &[u8], limit: u32) -> Result<Option<usize>, FrameError> {
    let mut at = 0_usize;
    loop {
        match peek(input.get(at..).unwrap_or_default(), Direction::Frontend, limit)? {
            Peek::Whole { header, .. } => {
                at = at.saturating_add(header.total_len());
                if unit_end(header.tag).is_some() {
                    return Ok(Some(at));
                }
            }
            Peek::Partial { .. } | Peek::Nothing => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_ends_with_its_sync_and_not_before() {
        let batch = b"P\0\0\0\x08\0\0\0\0S\0\0\0\x04Q\0\0\0\x05\0";
        assert_eq!(first_unit(batch, 100), Ok(Some(14)));
        assert_eq!(first_unit(batch.get(..13).unwrap(), 100), Ok(None));
    }
}
