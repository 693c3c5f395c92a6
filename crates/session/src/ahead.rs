//! What is prepared, and closed to make room, ahead of the client's own messages.

use std::rc::Rc;

use pool::{Evicted, Server, Statement, StatementId};
use protocol::{Origin, Owed};
use wire::message::frontend::{Parse, Target};

use crate::{exchange::Exchange, session::Session, unconfirmed::Step};

impl Session {
    /// Sends the statement ahead if the server does not have it.
    pub(crate) fn ensure_prepared(
        &mut self,
        server: &mut Server,
        statement: &Rc<Statement>,
        out: &mut Vec<u8>,
    ) {
        let under = self.under(statement);
        if server.prepared.contains(statement, under) {
            return;
        }
        self.displace(server, statement, out);
        let parse = Parse {
            statement: statement.server_name(),
            query: statement.text(),
            parameter_types: statement.parameter_types(),
        };
        parse.write(out);
        server.prepared.insert(statement, under);
        let statement = Rc::clone(statement);
        let id = statement.id();
        self.owe_parse(server, Step::Parse { statement, name: None, under }, Origin::Proxy);
        self.evict(server, id, out);
    }

    /// Closes what was prepared under the name of `statement` in other circumstances.
    pub(crate) fn displace(&mut self, server: &mut Server, statement: &Statement, out: &mut Vec<u8>) {
        if let Some(displaced) = server.prepared.displace(statement.id()) {
            self.close_ahead(server, displaced, out);
        }
    }

    /// Closes what has not been used for longest if there is too much; but neither `latest`, for what comes next needs it,
    /// nor what a unit that is not answered yet has bound: a portal ends with its statement.
    pub(crate) fn evict(&mut self, server: &mut Server, latest: StatementId, out: &mut Vec<u8>) {
        let limit = self.pools.settings.borrow().pool.max_prepared_statements;
        let is_needed = |exchange: &Exchange, id| {
            id == latest
                || exchange.is_undecided(id)
                || exchange.bound.iter().any(|(_, statement)| statement.id() == id)
        };
        while let Some(evicted) = server.prepared.evict(limit, |id| !is_needed(self.exchange(), id)) {
            self.close_ahead(server, evicted, out);
        }
    }

    fn close_ahead(&mut self, server: &mut Server, closed: Evicted, out: &mut Vec<u8>) {
        Target::Statement(closed.server_name()).write(b'C', out);
        server.ledger.owe(Owed::Close, Origin::Proxy);
        self.exchange_mut().note(Step::Evicted(closed));
    }
}
