//! Messages that are longer than the proxy keeps.

use pool::Server;
use protocol::{Origin, Owed};
use wire::message::frontend::BindNames;

use crate::{
    exchange::{Next, Unnamed},
    pin::PinReason,
    session::{End, Session},
    unconfirmed::Step,
};

/// Names at the head of a Bind that is longer than is kept are looked for in this many bytes.
pub(crate) const BIND_NAMES_MAX: usize = 8 * 1024;

/// Whether a message that is longer than the proxy keeps goes on in pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// It does.
    Pass,
    /// More of its body has to be seen first.
    More,
    /// Nothing of this type is so long.
    Refuse,
}

/// What becomes of a message over the limit, of whose body so much has arrived.
pub(crate) fn in_pieces(tag: u8, body: &[u8]) -> Pieces {
    match tag {
        b'Q' | b'F' | b'd' => Pieces::Pass,
        // whether it is the unnamed statement shows in its first byte
        b'P' if body.is_empty() => Pieces::More,
        b'P' => Pieces::Pass,
        b'B' if BindNames::read(body).is_ok() => Pieces::Pass,
        b'B' if body.len() < BIND_NAMES_MAX => Pieces::More,
        _ => Pieces::Refuse,
    }
}

/// A message that nobody sends at such a length.
pub(crate) fn too_long() -> End {
    End::protocol("invalid message length")
}

impl Session {
    /// A text that is too long to be read here passes in pieces: whatever it is, its client is pinned.
    pub(crate) fn unread_text(&mut self, server: &mut Server, tag: u8, body: &[u8]) {
        let is_unnamed = tag == b'P' && body.first() == Some(&0);
        if tag == b'Q' || is_unnamed {
            // the server's unnamed statement is this one, or none
            server.prepared.set_unnamed(None);
            self.exchange_mut().unnamed = if is_unnamed { Unnamed::Unread } else { Unnamed::Named };
        }
        self.pin(PinReason::LongStatement);
        self.note_write();
        self.exchange_mut().next = Next::Waits;
        let owed = if tag == b'Q' { Owed::Query } else { Owed::Parse };
        if tag == b'Q' {
            self.drop_unnamed(server);
        } else if is_unnamed {
            let before = self.names.set_unnamed(None);
            self.exchange_mut().note(Step::Unnamed { before });
        } else {
            self.exchange_mut().note(Step::Other);
        }
        server.ledger.owe(owed, Origin::Client);
    }
}
