//! SQL PREPARE and EXECUTE. PostgreSQL has one namespace for the statements of PREPARE and of Parse, so a PREPARE is
//! carried out by a Parse, and its statement is one like any other: shared, renamed, and prepared wherever it is missing.
//! An EXECUTE gets the server's name for its statement. What names statements in any other way, several in one text or
//! within the extended protocol or code, finds them under the client's own names, on a connection that the client keeps. In
//! session pooling a PREPARE is the server's own.

use std::rc::Rc;

use pool::{Server, SessionState, StatePolicy, Statement};
use protocol::{Local, Origin, Owed};
use sql::{Class, Effect, Kind, NameVerb, PinCause, PinCauses, Preparation, Statements};
use wire::message::{
    backend::{TxStatus, command_complete},
    error::ErrorMessage,
    frontend::{self, Parse},
};

use crate::{
    effects::Place,
    exchange::Rerun,
    io::Splice,
    lost::aborted,
    names::Names,
    pin::PinReason,
    pool_set::PoolSet,
    refusal::REFUSED_TEXT,
    rename::Message,
    reworded::{Ahead, Reworded, characters},
    session::Session,
    stats::count,
    unconfirmed::Step,
};

/// What became of a text that may name prepared statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ByName {
    /// It goes its way like any other.
    No,
    /// It was sent.
    Sent,
    /// The answer to an earlier unit decides what becomes of it.
    Waits,
}

/// What `class`, which [`PoolSet::classify`] gave `text`, is for a client with these names.
pub(crate) fn class_by_name(
    text: &[u8],
    class: Class,
    names: &Names,
    state: &Rc<SessionState>,
    pools: &PoolSet,
) -> Class {
    if !sql::may_name_statements(text) {
        return match names.are_in_code(text) {
            true => Class { kind: Kind::Write, replayable: false, ..class }, // the client keeps the connection for them
            false => class,
        };
    }
    if class.statements != Statements::One {
        return class;
    }
    if let Some(preparation) = sql::preparation(text) {
        let statement = pools.intern(preparation.body, &preparation.parameter_types, state);
        let kind = if statement.class().kind == Kind::Read { Kind::Read } else { Kind::Write };
        return Class { kind, effect: Effect::None, replayable: true, ..class };
    }
    let Some(statement) = executed(text, names) else { return class };
    let prepared = statement.class();
    let effect = if class.effect == Effect::None { prepared.effect } else { class.effect };
    let kind = pools.kind_of_execute(prepared.kind, text);
    let replayable = prepared.replayable && effect == Effect::None && kind == prepared.kind;
    Class { kind, effect, replayable, ..class }
}

/// The statement that the first EXECUTE of a text runs.
pub(crate) fn executed<'a>(text: &[u8], names: &'a Names) -> Option<&'a Rc<Statement>> {
    if names.len() == 0 || !sql::may_name_statements(text) {
        return None;
    }
    let found = sql::statement_names(text).find(|found| found.verb == NameVerb::Execute)?;
    names.find(&found.name)
}

impl Session {
    /// Deals with a simple query that names prepared statements. `class` is that of its text alone.
    pub(crate) fn query_by_name(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        text: &[u8],
        class: Class,
        splice: &mut Splice<'_>,
    ) -> ByName {
        if server.ledger.may_skip() || self.exchange().unit_open {
            return ByName::No; // it may not be read, and then what stands in its place must not be either
        }
        let one = class.statements == Statements::One && !self.wanted.breaks_lexing();
        if one
            && !self.has_own_names()
            && let Some(preparation) = sql::preparation(text)
        {
            return self.prepare_by_name(server, message, text, &preparation, splice);
        }
        let first = sql::statement_names(text).next();
        if one && first.as_ref().is_some_and(|found| found.verb == NameVerb::Execute) {
            return self.execute_by_name(server, message, text, class, splice);
        }
        // answered below, if it is the client's
        if class.effect == Effect::Deallocate {
            return ByName::No;
        }
        let mut out = Vec::new();
        let before = server.ledger.is_answered();
        let named = self.known_names(text);
        if named.is_empty() {
            return ByName::No;
        }
        if !before {
            return ByName::Waits;
        }
        if let Some(error) = self.refusal_of_own_names(class) {
            self.begin_simple(server);
            self.refuse_query(server, error, splice.replace(message.at, message.end()));
            return ByName::Sent;
        }
        self.give_own_names(server, named, &mut out);
        self.sync_ahead(server, &mut out);
        splice.replace(message.at, message.at).extend_from_slice(&out);
        ByName::No
    }

    /// Prepares ahead what the text of a Parse names.
    pub(crate) fn parse_by_name(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        text: &[u8],
        splice: &mut Splice<'_>,
    ) -> ByName {
        let named = self.known_names(text);
        if named.iter().any(|name| self.must_wait_for(name, None)) {
            return ByName::Waits;
        }
        if named.is_empty() {
            return ByName::No;
        }
        if let Some(error) = self.refusal_of_own_names(self.pools.classify(text)) {
            self.refuse_parse(server, error, splice.replace(message.at, message.end()));
            return ByName::Sent;
        }
        self.give_own_names(server, named, splice.replace(message.at, message.at));
        ByName::No
    }

    /// Statements that SQL names are on the connection under names of the client's own, as always in session pooling:
    /// what else it prepares by SQL joins them there.
    fn has_own_names(&self) -> bool {
        use PinReason::{LongStatement, Mixed, SessionPooling, Settings, SqlPrepare};
        [SqlPrepare, Mixed, Settings, LongStatement, SessionPooling]
            .into_iter()
            .any(|reason| self.pins().has(reason))
    }

    /// Whether the server alone knows what this name stands for.
    pub(crate) fn is_own_name(&self, name: &[u8]) -> bool {
        !name.is_empty() && self.has_own_names() && self.names.find(name).is_none()
    }

    /// The names in `text` that stand for statements which the client's server may lack.
    fn known_names(&self, text: &[u8]) -> Vec<Box<[u8]>> {
        let allows = self.pools.settings.borrow().pool.session_state == StatePolicy::Allow;
        if self.names.len() == 0 || allows {
            return Vec::new();
        }
        if !sql::may_name_statements(text) && self.names.are_in_code(text) {
            return self.names.iter().map(Box::from).collect(); // one may run another
        }
        let mut names: Vec<Box<[u8]>> = sql::statement_names(text)
            .filter(|found| !found.name.is_empty() && self.names.find(&found.name).is_some())
            .map(|found| found.name.into_owned().into())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Why the client may not keep its connection for its own names; `None`: it may.
    fn refusal_of_own_names(&self, class: Class) -> Option<ErrorMessage> {
        self.refusal(Class { effect: Effect::Pin(PinCauses::of(PinCause::SqlPrepare)), ..class })
    }

    /// Prepares statements under the client's own names for them, which the client then keeps its connection for.
    fn give_own_names(&mut self, server: &mut Server, names: Vec<Box<[u8]>>, out: &mut Vec<u8>) {
        for name in names {
            let Some((name, statement)) = self.names.take_entry(&name) else { continue };
            let (query, parameter_types) = (statement.text(), statement.parameter_types());
            Parse { statement: &name, query, parameter_types }.write(out);
            self.owe_parse(server, Step::Closed { name, statement: Rc::clone(&statement) }, Origin::Proxy);
        }
        self.count_names();
        self.pin(PinReason::Mixed);
    }

    fn sync_ahead(&mut self, server: &mut Server, out: &mut Vec<u8>) {
        frontend::header(b'S', 0, out);
        server.ledger.owe(Owed::Sync, Origin::Proxy);
        self.exchange_mut().ahead = Ahead::Awaited(self.exchange().units_sent);
    }

    /// The unnamed statement is gone, as after any simple query.
    fn begin_simple(&mut self, server: &mut Server) {
        count(&self.pools.stats.queries, 1);
        server.prepared.set_unnamed(None);
        self.drop_unnamed(server);
    }

    /// Sends what fails in place of a simple query.
    fn refuse_query(&mut self, server: &mut Server, error: ErrorMessage, out: &mut Vec<u8>) {
        self.note_refusal(error);
        frontend::query(REFUSED_TEXT, out);
        server.ledger.owe(Owed::Query, Origin::Client);
    }

    fn prepare_by_name(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        text: &[u8],
        preparation: &Preparation<'_>,
        splice: &mut Splice<'_>,
    ) -> ByName {
        let (name, query) = (&*preparation.name, preparation.body);
        let parameter_types = &*preparation.parameter_types;
        let statement = self.pools.intern(query, parameter_types, &self.wanted);
        if self.must_wait_for(name, Some(&statement)) {
            return ByName::Waits;
        }
        self.begin_simple(server);
        let taken = self.names.find(name).is_some();
        if let Some(error) = self.has_too_many_statements(name, &statement).filter(|_| !taken) {
            self.refuse_query(server, error, splice.replace(message.at, message.end()));
            return ByName::Sent;
        }
        self.note_reworded(Reworded {
            unit: self.exchange().units_sent,
            statement: Rc::clone(&statement),
            name: name.into(),
            after: 0,
            shift: characters(text.get(..preparation.body_at).unwrap_or_default()),
        });
        let out = splice.replace(message.at, message.end());
        let parse = Parse { statement: statement.server_name(), query, parameter_types };
        let under = self.under(&statement);
        if taken {
            // make sure that the server says so
            self.ensure_prepared(server, &statement, out);
            parse.write(out);
            self.owe_parse(server, Step::Taken(name.into()), Origin::Client);
        } else {
            self.names.insert_by_sql(name, Rc::clone(&statement));
            self.count_names();
            if let Rerun::Possible { names, .. } = &mut self.exchange_mut().rerun {
                names.push(name.into());
            }
            if server.prepared.contains(&statement, under) {
                self.exchange_mut().note(Step::Named(name.into()));
                server.ledger.answer_locally(Local::Prepared);
            } else {
                self.displace(server, &statement, out);
                parse.write(out);
                server.prepared.insert(&statement, under);
                let id = statement.id();
                let step = Step::Parse { statement, name: Some(name.into()), under };
                self.owe_parse(server, step, Origin::Proxy);
                self.exchange_mut().note(Step::Other);
                server.ledger.answer_locally(Local::Prepared);
                self.evict(server, id, out);
            }
        }
        frontend::header(b'S', 0, out);
        server.ledger.owe(Owed::Sync, Origin::Client);
        ByName::Sent
    }

    fn execute_by_name(
        &mut self,
        server: &mut Server,
        message: &Message<'_>,
        text: &[u8],
        class: Class,
        splice: &mut Splice<'_>,
    ) -> ByName {
        let executed = sql::statement_names(text).next();
        let Some((found, statement)) =
            executed.and_then(|found| self.names.find(&found.name).map(Rc::clone).map(|s| (found, s)))
        else {
            return ByName::No;
        };
        let lacks = !server.prepared.contains(&statement, self.under(&statement));
        if self.must_wait_for(&found.name, Some(&statement)) || (lacks && !server.ledger.is_answered()) {
            return ByName::Waits;
        }
        self.begin_simple(server);
        let out = splice.replace(message.at, message.end());
        let (prepared, lost) = self.with_sequence_values(server, statement.class(), statement.text());
        let (class, lost_by_arguments) = self.with_sequence_values(server, class, text);
        let refusal = lost.or(lost_by_arguments).or_else(|| self.refusal(prepared));
        if let Some(error) = refusal.or_else(|| self.refusal(class)) {
            self.refuse_query(server, error, out);
            return ByName::Sent;
        }
        if lacks {
            self.ensure_prepared(server, &statement, out);
            self.sync_ahead(server, out);
        }
        let before = text.get(..found.written.start).unwrap_or_default();
        let behind = text.get(found.written.end..).unwrap_or_default();
        frontend::query(&[before, statement.server_name(), behind].concat(), out);
        server.ledger.owe(Owed::Query, Origin::Client);
        let kind = self.pools.kind_of_execute(statement.class().kind, text);
        self.note_class(Class { kind, ..class }, Place::Query, text);
        if prepared.effect != Effect::None {
            let effect = Class { kind: Kind::Read, ..prepared };
            self.note_class(effect, Place::Query, statement.text());
        }
        self.exchange_mut().note_bound(&statement);
        let written = text.get(found.written.clone()).unwrap_or_default();
        self.note_reworded(Reworded {
            unit: self.exchange().units_sent,
            name: found.name.into_owned().into(),
            after: usize::try_from(characters(before)).unwrap_or_default() + 1,
            shift: characters(written) - characters(statement.server_name()),
            statement,
        });
        ByName::Sent
    }

    /// The turn of a PREPARE has come whose statement is there.
    pub(crate) fn prepared_by_name(&mut self, server: &mut Server, out: &mut Vec<u8>) {
        if server.ledger.status() == TxStatus::Failed {
            self.unit_error(server);
            aborted().write(out);
        } else {
            self.confirm();
            command_complete("PREPARE", out);
        }
    }
}
