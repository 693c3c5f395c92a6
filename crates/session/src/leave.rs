//! A server connection with which nothing is wrong, but which is not to be used any more.

use pool::Server;

use crate::{exchange::Side, lost::Loss, session::Session};

impl Session {
    /// Why this session is to part with its server connection now: the primary was replaced, or the standby was set
    /// aside. What is under way may go on for as long as it makes a difference, and for `drain_timeout` at most.
    pub(crate) fn reason_to_leave(&mut self, server: &Server) -> Option<Loss> {
        let (side, node) = (self.exchange().side, self.exchange().node);
        let loss = match side {
            Side::Primary if self.worker.is_deposed(&self.pools, &server.stamp()) => Loss::Deposed,
            Side::Replica if self.worker.is_set_aside(&self.pools, node) => Loss::SetAside,
            Side::Primary | Side::Replica => return None,
        };
        let now = self.worker.now();
        let since = *self.exchange_mut().leaving_since.get_or_insert(now);
        // of a replaced primary a transaction cannot commit any more; what is read from a standby is as good as ever
        let is_of_no_use = side == Side::Primary
            && self.exchange().may_be_cut(server.ledger.status(), server.ledger.is_answered());
        if is_of_no_use || now.duration_since(since) >= self.worker.settings().session.drain_timeout {
            return Some(loss);
        }
        self.worker.note_leaving();
        None
    }
}
