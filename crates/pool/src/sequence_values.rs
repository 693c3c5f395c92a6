/// A use of a server connection in which a client wrote: any write may get values from sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    /// The client.
    pub client: u64,
    /// Its uses for writes, counted from 1 over all server connections.
    pub serial: u32,
}

/// Whose values from sequences a server connection has, as far as its writers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SequenceValues {
    /// Nobody's: nobody wrote since it was dialed, or since they were discarded.
    #[default]
    Nobodys,
    /// Those of the client whose use this was, and who wrote nowhere else between that and its first write here.
    Of(Writing),
    /// Somebody's; others may be among them.
    Mixed,
}

impl SequenceValues {
    /// Whether they are what this client got last from sequences, if it got any. `serial`: of its last use for writes.
    #[must_use]
    pub fn are_of(self, client: u64, serial: u32) -> bool {
        self == Self::Of(Writing { client, serial })
    }

    /// What they are after another such use.
    #[must_use]
    pub fn then(self, Writing { client, serial }: Writing) -> Self {
        let goes_on = self == Self::Nobodys || self.are_of(client, serial.wrapping_sub(1));
        if goes_on { Self::Of(Writing { client, serial }) } else { Self::Mixed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_a_clients_while_it_writes_here_alone_and_nowhere_else() {
        let by = |client, serial| Writing { client, serial };
        let first = SequenceValues::default().then(by(7, 1));
        assert!(first.are_of(7, 1) && !first.are_of(8, 1) && !first.are_of(7, 2));
        assert!(first.then(by(7, 2)).are_of(7, 2));
        assert_eq!(first.then(by(8, 1)), SequenceValues::Mixed);
        assert_eq!(first.then(by(7, 3)), SequenceValues::Mixed, "it wrote elsewhere in between");
        assert_eq!(SequenceValues::Mixed.then(by(7, 1)), SequenceValues::Mixed);
    }
}
