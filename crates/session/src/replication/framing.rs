use wire::frame::HEADER_LEN;

/// How far bytes may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// All of them.
    End,
    /// To the end of the message that they are part of.
    MessageEnd,
}

/// Where in a server's stream of messages its next byte belongs. Only heads are looked at.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// The beginning of a head.
    head: [u8; HEADER_LEN],
    have: usize,
    /// Bytes of the present body to come.
    left: u32,
    /// The type of the present message, or of the last one.
    tag: u8,
}

impl Framing {
    /// Whether a message may be put in here.
    pub(super) fn is_between_messages(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    /// Whether the last whole message was an ErrorResponse: if nothing follows, the server has said why.
    pub(super) fn ended_with_an_error(&self) -> bool {
        self.is_between_messages() && self.tag == b'E'
    }

    /// Takes note of bytes from the server; the number of those that pass.
    pub(super) fn pass(&mut self, bytes: &[u8], until: Until) -> usize {
        let mut rest = bytes;
        while let Some((&byte, behind)) = rest.split_first() {
            if until == Until::MessageEnd && self.is_between_messages() {
                break;
            }
            if self.left > 0 {
                let here = u32::try_from(rest.len()).unwrap_or(u32::MAX).min(self.left);
                self.left -= here;
                rest = rest.get(here as usize..).unwrap_or_default();
                continue;
            }
            rest = behind;
            if let Some(place) = self.head.get_mut(self.have) {
                *place = byte;
            }
            self.have += 1;
            if self.have == HEADER_LEN {
                let [tag, length @ ..] = self.head;
                self.have = 0;
                self.tag = tag;
                // a length counts itself
                self.left = u32::from_be_bytes(length).saturating_sub(4);
            }
        }
        bytes.len() - rest.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"d\0\0\0\x07abcE\0\0\0\x04Z\0\0\0\x05I";

    #[test]
    fn message_ends_are_found_however_the_stream_is_cut() {
        for cut in 1..STREAM.len() {
            let mut framing = Framing::default();
            let mut ends = Vec::new();
            for (at, byte) in STREAM.iter().enumerate() {
                assert_eq!(framing.pass(&[*byte], Until::End), 1);
                if framing.is_between_messages() {
                    ends.push(at + 1);
                }
            }
            assert_eq!(ends, [8, 13, 19]);
            let mut framing = Framing::default();
            let (first, second) = STREAM.split_at(cut);
            assert_eq!(framing.pass(first, Until::End), cut);
            let end = ends.iter().find(|end| **end >= cut).unwrap();
            assert_eq!(cut + framing.pass(second, Until::MessageEnd), *end);
            assert!(framing.is_between_messages());
            assert_eq!(framing.pass(second, Until::MessageEnd), 0);
            assert_eq!(framing.ended_with_an_error(), *end == 13);
        }
    }

    #[test]
    fn a_length_that_is_none_is_survived() {
        let mut framing = Framing::default();
        framing.pass(b"x\0\0\0\0y\xff\xff\xff\xff", Until::End);
        assert!(!framing.is_between_messages());
    }
}
