//! What was done to the client's names and to the server's statements before the server confirmed it. It is taken back
//! when the server skips it after an error, newest first.

use std::rc::Rc;

use pool::{Evicted, Prepared, Server, Statement, StatementId, Under};
use protocol::{Owed, Owner};

use crate::{
    exchange::{Entrance, Exchange, Rerun},
    names::Names,
    session::Session,
};

/// One step whose confirmation is still to come, from the server or from the proxy in its turn.
#[derive(Debug)]
pub(crate) struct Unconfirmed {
    /// The unit that it belongs to.
    pub(crate) unit: u32,
    pub(crate) step: Step,
}

/// What was done.
#[derive(Debug)]
pub(crate) enum Step {
    /// The client's unnamed statement became another one or was dropped, which it was before.
    Unnamed { before: Option<Rc<Statement>> },
    /// The same by a simple query, which nothing confirms but its ReadyForQuery or what comes behind it.
    UnnamedByQuery { before: Option<Rc<Statement>> },
    /// The unnamed statement was sent ahead, or closed ahead.
    UnnamedAhead,
    /// A statement was sent under its server name; by the client if there is a `name`, else ahead.
    Parse { statement: Rc<Statement>, name: Option<Box<[u8]>>, under: Under },
    /// The client gave a name to a statement that the server has.
    Named(Box<[u8]>),
    /// The client gave a name that stands for another statement already: the server will say so of its own name.
    Taken(Box<[u8]>),
    /// The client closed the statement of this name.
    Closed { name: Box<[u8]>, statement: Rc<Statement> },
    /// The client closed a name that stood for nothing.
    ClosedNothing,
    /// A statement is closed to make room.
    Evicted(Evicted),
    /// All names and statements were dropped, by DISCARD ALL or DEALLOCATE ALL: these.
    Forgotten(Box<(Names, Prepared)>),
    /// A Parse or Close that nothing has to be done about, whatever the server answers.
    Other,
}

impl Step {
    fn is_of_unnamed(&self) -> bool {
        matches!(self, Self::Unnamed { .. } | Self::UnnamedByQuery { .. } | Self::UnnamedAhead)
    }

    /// What the client's unnamed statement was before, if this changed it.
    fn unnamed_before(&mut self) -> Option<&mut Option<Rc<Statement>>> {
        match self {
            Self::Unnamed { before } | Self::UnnamedByQuery { before } => Some(before),
            _ => None,
        }
    }

    fn is_of_statement(&self, id: StatementId) -> bool {
        match self {
            Self::Parse { statement, .. } => statement.id() == id,
            Self::Evicted(evicted) => evicted.id() == id,
            Self::Forgotten(_) => true,
            _ => false,
        }
    }

    fn is_of_name(&self, asked: &[u8]) -> bool {
        match self {
            Self::Parse { name: Some(name), .. } | Self::Named(name) | Self::Closed { name, .. } => {
                **name == *asked
            }
            Self::Forgotten(_) => true,
            _ => false,
        }
    }
}

impl Exchange {
    /// Notes a step of the unit that is being sent.
    pub(crate) fn note(&mut self, step: Step) {
        if let Step::Closed { name, statement } = &step {
            self.rerun.note_closed(name, statement);
        }
        self.unconfirmed.push_back(Unconfirmed { unit: self.units_sent, step });
    }

    fn of_earlier_units(&self) -> impl Iterator<Item = &Step> {
        let present = self.units_sent;
        self.unconfirmed.iter().take_while(move |one| one.unit < present).map(|one| &one.step)
    }

    /// Whether it depends on the answer to an earlier unit what the server has of a statement.
    pub(crate) fn is_undecided(&self, statement: StatementId) -> bool {
        self.of_earlier_units().any(|step| step.is_of_statement(statement))
    }

    /// Whether it depends on the answer to an earlier unit what a name of the client's stands for.
    pub(crate) fn is_name_undecided(&self, name: &[u8]) -> bool {
        self.of_earlier_units().any(|step| step.is_of_name(name))
    }

    /// What the unnamed statement was before the oldest step that changes it.
    fn first_change_of_unnamed(&mut self) -> Option<&mut Option<Rc<Statement>>> {
        self.unconfirmed.iter_mut().find_map(|one| one.step.unnamed_before())
    }

    /// Whether it depends on the answer to an earlier unit what the server's unnamed statement is.
    pub(crate) fn is_unnamed_undecided(&self) -> bool {
        let last = self.unconfirmed.iter().rev().find(|one| one.step.is_of_unnamed());
        last.is_some_and(|one| one.unit < self.units_sent)
    }
}

impl Rerun {
    /// The request took a name away that it had not given.
    fn note_closed(&mut self, name: &[u8], statement: &Rc<Statement>) {
        if let Self::Possible { names, closed, .. } = self
            && !names.iter().any(|given| **given == *name)
        {
            closed.push((name.into(), Rc::clone(statement)));
        }
    }
}

impl Session {
    /// Takes back what the server skips of `unit` and those before it after an error.
    pub(crate) fn take_back(&mut self, prepared: &mut Prepared, unit: u32) {
        let unconfirmed = &mut self.exchange_mut().unconfirmed;
        let skipped = unconfirmed.iter().take_while(|one| one.unit <= unit).count();
        let skipped: Vec<_> = unconfirmed.drain(..skipped).collect();
        for Unconfirmed { mut step, .. } in skipped.into_iter().rev() {
            // what a later unit makes of the unnamed statement stays; if it is skipped, too, it is what was there before both
            if let Some(before) = step.unnamed_before()
                && let Some(later) = self.exchange_mut().first_change_of_unnamed()
            {
                *later = before.take();
                continue;
            }
            self.names.take_back(step, prepared);
        }
        self.count_names();
    }

    /// The oldest step is confirmed.
    pub(crate) fn confirm(&mut self) {
        self.unnamed_at_ready(u32::MAX); // a query before it was answered
        if let Some(Unconfirmed { step: Step::Parse { statement, under: Under::Own, .. }, .. }) =
            self.exchange_mut().unconfirmed.pop_front()
        {
            statement.accept();
        }
    }

    /// A simple query is sent, which destroys the unnamed statement (manual, "Extended Query").
    pub(crate) fn drop_unnamed(&mut self, server: &Server) {
        let before = self.names.set_unnamed(None);
        let exchange = self.exchange_mut();
        if before.is_none() && exchange.first_change_of_unnamed().is_none() {
            return;
        }
        if server.ledger.may_skip() {
            if before.is_some() || exchange.is_unnamed_undecided() {
                exchange.note(Step::UnnamedByQuery { before });
            }
            return;
        }
        // whatever is skipped of what came before, it is gone
        for one in &mut exchange.unconfirmed {
            one.step.unnamed_before().into_iter().for_each(|before| *before = None);
        }
    }

    /// An error is about to be taken in. One that answers a Parse or a Query comes behind what these do to the unnamed
    /// statement: that is gone.
    pub(crate) fn unnamed_at_error(&mut self, server: &Server) {
        if self.exchange().entrance != Entrance::Open
            || !matches!(server.ledger.front(), Some((Owed::Parse | Owed::Query, Owner::Client)))
        {
            return;
        }
        let exchange = self.exchange_mut();
        let unit = exchange.units_done(&server.ledger);
        if let Some(one) = exchange.unconfirmed.front_mut().filter(|one| one.unit == unit) {
            one.step.unnamed_before().into_iter().for_each(|before| *before = None);
        }
    }

    /// Unit number `unit` was answered, and with it the simple query that it may have been.
    pub(crate) fn unnamed_at_ready(&mut self, unit: u32) {
        let unconfirmed = &mut self.exchange_mut().unconfirmed;
        let is_done = |one: &Unconfirmed| one.unit <= unit && matches!(one.step, Step::UnnamedByQuery { .. });
        while unconfirmed.front().is_some_and(is_done) {
            unconfirmed.pop_front();
        }
    }

    /// The request runs again, from the start: names stand for what they stood for then.
    pub(crate) fn put_names_back(
        &mut self,
        given: Vec<Box<[u8]>>,
        closed: Vec<(Box<[u8]>, Rc<Statement>)>,
        unnamed: Option<Rc<Statement>>,
    ) {
        given.iter().for_each(|name| drop(self.names.remove(name)));
        closed.into_iter().for_each(|(name, statement)| self.names.insert(&name, statement));
        self.names.set_unnamed(unnamed);
        self.count_names();
    }

    /// An Execute whose portal may be that of a DISCARD ALL or DEALLOCATE ALL: what follows in the same unit finds no
    /// statements then.
    pub(crate) fn forget_statements_ahead(&mut self, server: &mut Server, execute: &[u8]) {
        let portal = execute.split(|&b| b == 0).next();
        if server.ledger.is_skipping()
            || self.exchange_mut().forgets_at_execute.take_if(|forgets| Some(&**forgets) == portal).is_none()
        {
            return;
        }
        let dropped = (self.names.take_named(), std::mem::take(&mut server.prepared));
        self.exchange_mut().note(Step::Forgotten(Box::new(dropped)));
    }

    /// DISCARD ALL or DEALLOCATE ALL was executed.
    pub(crate) fn statements_forgotten(&mut self, server: &mut Server) {
        let unconfirmed = &mut self.exchange_mut().unconfirmed;
        if matches!(unconfirmed.front(), Some(Unconfirmed { step: Step::Forgotten(_), .. })) {
            unconfirmed.pop_front();
        } else {
            server.prepared.clear();
            self.names.take_named();
        }
        self.count_names();
    }

    /// Shows how many named statements the client has.
    pub(crate) fn count_names(&self) {
        self.handle.statements.set(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
    }
}

impl Names {
    /// Undoes one step, of which nothing has happened on the server.
    pub(crate) fn take_back(&mut self, step: Step, prepared: &mut Prepared) {
        match step {
            Step::Unnamed { before } | Step::UnnamedByQuery { before } => drop(self.set_unnamed(before)),
            Step::Parse { statement, name, .. } => {
                prepared.remove(statement.id());
                name.map(|name| self.remove(&name));
            }
            Step::Named(name) => drop(self.remove(&name)),
            Step::Closed { name, statement } => self.insert(&name, statement),
            Step::Evicted(evicted) => prepared.restore(evicted),
            Step::Forgotten(dropped) => {
                let (names, statements) = *dropped;
                self.put_named(names);
                *prepared = statements;
            }
            Step::UnnamedAhead | Step::Taken(_) | Step::ClosedNothing | Step::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use pool::{Interner, SessionStates};

    use super::*;

    fn statement(interner: &Interner, text: &str) -> Rc<Statement> {
        let empty = SessionStates::default().empty();
        interner.intern(text.as_bytes(), &[0, 0], &empty, 1, |text| sql::classify(text, &sql::NoFunctions))
    }

    /// A statement that was closed to make room and sent again in the same unit is there if all of it was skipped.
    #[test]
    fn steps_that_are_taken_back_newest_first_leave_what_was_before() {
        let interner = Interner::new(1 << 20);
        let (a, b) = (statement(&interner, "a"), statement(&interner, "b"));
        let (mut names, mut prepared) = (Names::default(), Prepared::default());
        names.insert(b"a", Rc::clone(&a));
        prepared.insert(&a, Under::Own);
        let mut steps = Vec::new();
        names.insert(b"b", Rc::clone(&b));
        prepared.insert(&b, Under::Own);
        steps.push(Step::Parse {
            statement: Rc::clone(&b),
            name: Some(b"b".as_slice().into()),
            under: Under::Own,
        });
        steps.push(Step::Evicted(prepared.evict(1, |id| id == a.id()).unwrap()));
        prepared.insert(&a, Under::Own);
        steps.push(Step::Parse { statement: Rc::clone(&a), name: None, under: Under::Own });
        let dropped = (names.take_named(), std::mem::take(&mut prepared));
        steps.push(Step::Forgotten(Box::new(dropped)));
        names.insert(b"a", Rc::clone(&b));
        steps.push(Step::Named(b"a".as_slice().into()));
        steps.into_iter().rev().for_each(|step| names.take_back(step, &mut prepared));
        assert!(prepared.contains(&a, Under::Own) && !prepared.contains(&b, Under::Own));
        assert!(names.find(b"a").is_some_and(|found| Rc::ptr_eq(found, &a)));
        assert_eq!(names.len(), 1);
    }
}
