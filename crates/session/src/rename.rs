//! Names of prepared statements: what clients call them becomes what servers call them, and what a server lacks is
//! sent ahead.

use std::{collections::VecDeque, rc::Rc};

use pool::{Server, Statement};
use protocol::{Local, Origin, Owed};
use sql::Effect;
use wire::{
    frame::{HEADER_LEN, Header},
    message::{
        backend::TxStatus,
        error::ErrorMessage,
        frontend::{self, BindNames, Parse, Target},
    },
};

use crate::{
    effects::Place,
    exchange::{Rerun, Unnamed},
    io::Splice,
    refusal::REFUSED,
    scan::Scanned,
    session::{End, Session},
    sql_prepared::ByName,
    stats::count,
    unconfirmed::Step,
};

/// A statement name that no server has, for names that must not be found.
const NO_STATEMENT: &[u8] = b"pgherd_0";

/// One message of the client's input.
pub(crate) struct Message<'a> {
    pub(crate) header: Header,
    pub(crate) body: &'a [u8],
    pub(crate) whole: bool,
    /// Where it begins in the input.
    pub(crate) at: usize,
}

impl Message<'_> {
    /// Where it ends in the input.
    pub(crate) fn end(&self) -> usize {
        debug_assert!(self.whole, "only a whole message has its end in the input");
        self.at + self.header.total_len()
    }
}

impl Session {
    pub(crate) fn parse(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        splice: &mut Splice<'_>,
        scanned: &mut VecDeque<Scanned>,
    ) -> Result<bool, End> {
        let parse = Parse::read(message.body).map_err(|_| End::protocol("invalid Parse message"))?;
        if sql::may_name_statements(parse.query) || self.names.are_in_code(parse.query) {
            if let Some(error) = self.names_another(parse.query) {
                scanned.pop_front();
                self.refuse_parse(server, error, splice.replace(message.at, message.end()));
                return Ok(true);
            }
            match self.parse_by_name(server, message, parse.query, splice) {
                ByName::No => {}
                ByName::Sent => {
                    scanned.pop_front();
                    return Ok(true);
                }
                ByName::Waits => return Ok(false),
            }
        }
        let statement = match scanned.pop_front() {
            Some(Scanned::Parse(statement)) => statement,
            Some(Scanned::Query(_)) | None => {
                self.pools.intern(parse.query, parse.parameter_types, &self.wanted)
            }
        };
        // as for a Bind; here nothing of the unit has been sent, as a rule, that would have to be answered
        if statement.class().effect == Effect::Listen && !self.may_listen(statement.text()) {
            return Ok(false);
        }
        if parse.statement.is_empty() {
            count(&self.pools.stats.client_parses, 1);
            server.prepared.set_unnamed(self.is_unnamed_reusable(&statement).then(|| statement.id()));
            let before = self.names.set_unnamed(Some(statement));
            self.owe_parse(server, Step::Unnamed { before }, Origin::Client);
            return Ok(true);
        }
        if self.must_wait_for(parse.statement, Some(&statement)) {
            return Ok(false);
        }
        count(&self.pools.stats.client_parses, 1);
        if self.names.find(parse.statement).is_some() {
            // the name is taken: make sure that the server says so
            self.ensure_prepared(server, &statement, splice.replace(message.at, message.end()));
            let again = Parse { statement: statement.server_name(), ..parse };
            again.write(splice.replace(message.end(), message.end()));
            self.owe_parse(server, Step::Taken(parse.statement.into()), Origin::Client);
            return Ok(true);
        }
        if let Some(error) = self.has_too_many_statements(parse.statement, &statement) {
            self.refuse_parse(server, error, splice.replace(message.at, message.end()));
            return Ok(true);
        }
        self.names.insert(parse.statement, Rc::clone(&statement));
        self.count_names();
        if let Rerun::Possible { names, .. } = &mut self.exchange_mut().rerun {
            names.push(parse.statement.into());
        }
        let out = splice.replace(message.at, message.end());
        let under = self.under(&statement);
        if server.prepared.contains(&statement, under) && !self.transaction_may_have_failed(server) {
            self.exchange_mut().note(Step::Named(parse.statement.into()));
            server.ledger.answer_locally(Local::ParseComplete);
        } else {
            self.displace(server, &statement, out);
            let renamed = Parse { statement: statement.server_name(), ..parse };
            renamed.write(out);
            server.prepared.insert(&statement, under);
            let (id, name) = (statement.id(), Some(parse.statement.into()));
            self.owe_parse(server, Step::Parse { statement, name, under }, Origin::Client);
            self.evict(server, id, out);
        }
        Ok(true)
    }

    /// Whether the server may be in a failed transaction, so that it has to say itself whether it takes a text.
    fn transaction_may_have_failed(&self, server: &Server) -> bool {
        let is_behind_others = server.ledger.ready_owed() > 0;
        match server.ledger.status() {
            TxStatus::Failed => true,
            TxStatus::InTransaction => is_behind_others,
            TxStatus::Idle => is_behind_others && self.exchange().block.is_open(),
        }
    }

    /// Whether the answer to an earlier unit decides what a name, or the statement under it, is. Nothing is assumed of
    /// it: the message waits.
    pub(crate) fn must_wait_for(&self, name: &[u8], statement: Option<&Rc<Statement>>) -> bool {
        let exchange = self.exchange();
        if name.is_empty() {
            return exchange.is_unnamed_undecided();
        }
        exchange.is_name_undecided(name)
            || statement.is_some_and(|statement| exchange.is_undecided(statement.id()))
    }

    /// Sends what fails in place of a Parse.
    pub(crate) fn refuse_parse(&mut self, server: &mut Server, error: ErrorMessage, out: &mut Vec<u8>) {
        self.note_refusal(error);
        Target::Statement(REFUSED).write(b'D', out);
        server.ledger.owe(Owed::DescribeStatement, Origin::Client);
    }

    pub(crate) fn owe_parse(&mut self, server: &mut Server, step: Step, origin: Origin) {
        count(&self.pools.stats.server_parses, 1);
        server.ledger.owe(Owed::Parse, origin);
        self.exchange_mut().note(step);
    }

    pub(crate) fn bind(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        splice: &mut Splice<'_>,
    ) -> bool {
        if let Ok(names) = BindNames::read(message.body) {
            let found = self.names.find(names.statement).map(Rc::clone);
            if self.must_wait_for(names.statement, found.as_ref()) {
                return false;
            }
            found.iter().for_each(|statement| self.pools.reclassify(statement));
            // its LISTEN is sent once the shared connection listens
            if let Some(statement) = &found
                && statement.class().effect == Effect::Listen
                && !self.may_listen(statement.text())
            {
                return false;
            }
            self.note_portal(names.portal, found.as_deref());
            let judged = found.as_ref().map(|statement| {
                let text = statement.text();
                let (class, lost) = self.with_sequence_values(server, statement.class(), text);
                let refusal = lost.or_else(|| self.refusal(class));
                (class, refusal.or_else(|| self.unsuited_statement(class, text)))
            });
            let (class, refusal) = judged.unzip();
            let refused = refusal.flatten().map(|error| self.note_refusal(error)).is_some();
            let bound = found.as_deref().zip(class).filter(|_| !refused);
            self.witness_bind(names.portal, bound.map(|(statement, class)| (class, statement.text())));
            if let (Some(statement), Some(class), false) = (&found, class, refused) {
                let place = Place::Execute(self.exchange().executes);
                self.note_class(class, place, statement.text());
                if !names.statement.is_empty() {
                    self.exchange_mut().note_bound(statement);
                }
            }
            let after_names = message.at + HEADER_LEN + names.len;
            let name = if refused {
                Named::Otherwise(Name::Refused)
            } else {
                self.server_name(server, names.statement, found, message.at, splice)
            };
            match name {
                Named::AsItIs => {}
                Named::Otherwise(name) => {
                    let body_len = message.header.body_len as usize - names.statement.len() + name.len();
                    let out = splice.replace(message.at, after_names);
                    frontend::header(b'B', body_len, out);
                    out.extend_from_slice(names.portal);
                    out.push(0);
                    out.extend_from_slice(&name);
                    out.push(0);
                }
            }
        }
        count(&self.pools.stats.binds, 1);
        server.ledger.owe(Owed::Bind, Origin::Client);
        true
    }

    /// Remembers a portal that drops all statements when it is executed.
    fn note_portal(&mut self, portal: &[u8], statement: Option<&Statement>) {
        let effect = statement.map(|statement| statement.class().effect);
        let forgets = &mut self.exchange_mut().forgets_at_execute;
        if matches!(effect, Some(Effect::DiscardAll | Effect::DeallocateAll)) {
            *forgets = Some(portal.into());
        } else {
            forgets.take_if(|forgetting| **forgetting == *portal);
        }
    }

    /// The name under which the server knows, or will know when it comes to it, what the client calls `name`.
    fn server_name(
        &mut self,
        server: &mut Server,
        name: &[u8],
        found: Option<Rc<Statement>>,
        at: usize,
        splice: &mut Splice<'_>,
    ) -> Named {
        match found {
            Some(statement) if name.is_empty() => {
                if server.prepared.unnamed() != Some(statement.id()) {
                    let out = splice.replace(at, at);
                    Parse {
                        statement: b"",
                        query: statement.text(),
                        parameter_types: statement.parameter_types(),
                    }
                    .write(out);
                    let reusable = self.is_unnamed_reusable(&statement);
                    server.prepared.set_unnamed(reusable.then(|| statement.id()));
                    self.owe_parse(server, Step::UnnamedAhead, Origin::Proxy);
                }
                Named::AsItIs
            }
            Some(statement) => {
                if !server.prepared.contains(&statement, self.under(&statement)) {
                    let out = splice.replace(at, at);
                    self.ensure_prepared(server, &statement, out);
                }
                Named::Otherwise(Name::Statement(statement))
            }
            // somebody else's statement must not be found under a name that this client never gave
            None if name.is_empty() && self.exchange().unnamed == Unnamed::Named => {
                Target::Statement(b"").write(b'C', splice.replace(at, at));
                server.prepared.set_unnamed(None);
                server.ledger.owe(Owed::Close, Origin::Proxy);
                self.exchange_mut().note(Step::UnnamedAhead);
                Named::AsItIs
            }
            None if name.starts_with(b"pgherd_") => Named::Otherwise(Name::Nobody),
            None => Named::AsItIs,
        }
    }

    pub(crate) fn describe_or_close(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        splice: &mut Splice<'_>,
    ) -> Result<bool, End> {
        let tag = message.header.tag;
        let target =
            Target::read(message.body).map_err(|_| End::protocol("invalid Describe or Close message"))?;
        match (tag, target) {
            (b'D', Target::Statement(name)) => {
                let found = self.names.find(name).map(Rc::clone);
                if self.must_wait_for(name, found.as_ref()) {
                    return Ok(false);
                }
                if let Named::Otherwise(name) = self.server_name(server, name, found, message.at, splice) {
                    Target::Statement(&name).write(b'D', splice.replace(message.at, message.end()));
                }
                server.ledger.owe(Owed::DescribeStatement, Origin::Client);
            }
            (_, Target::Statement(name)) if self.is_own_name(name) => {
                server.ledger.owe(Owed::Close, Origin::Client);
            }
            (b'D', Target::Portal(_)) => server.ledger.owe(Owed::DescribePortal, Origin::Client),
            (_, Target::Statement(name)) if !name.is_empty() => {
                if self.must_wait_for(name, None) {
                    return Ok(false);
                }
                let step = match self.names.take_entry(name) {
                    Some((name, statement)) => Step::Closed { name, statement },
                    None => Step::ClosedNothing,
                };
                self.exchange_mut().note(step);
                self.count_names();
                splice.replace(message.at, message.end());
                server.ledger.answer_locally(Local::CloseComplete);
            }
            (_, Target::Statement(_)) => {
                let before = self.names.set_unnamed(None);
                self.exchange_mut().note(Step::Unnamed { before });
                server.prepared.set_unnamed(None);
                server.ledger.owe(Owed::Close, Origin::Client);
            }
            (_, Target::Portal(_)) => {
                self.exchange_mut().note(Step::Other);
                server.ledger.owe(Owed::Close, Origin::Client);
            }
        }
        Ok(true)
    }
}

enum Named {
    AsItIs,
    Otherwise(Name),
}

enum Name {
    Statement(Rc<Statement>),
    Nobody,
    Refused,
}

impl std::ops::Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Statement(statement) => statement.server_name(),
            Self::Nobody => NO_STATEMENT,
            Self::Refused => REFUSED,
        }
    }
}
