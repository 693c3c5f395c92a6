//! Statements that are not sent, because their client would have to keep its server connection and may not.

use std::rc::Rc;

use pool::{Pool, PoolMode, Server, StatePolicy, Statement};
use sql::{Class, Effect, NameVerb};
use wire::{
    SqlState,
    message::{
        backend::TxStatus,
        error::{ErrorMessage, ErrorView},
    },
};

use crate::{
    handle::{Awaits, ClientState},
    lost::aborted,
    names::cost,
    pin::Pins,
    scan::Seeks,
    serve::Turn,
    session::{Phase, Session},
    wait::queue_full,
};

/// A statement name that no server has. What is sent in place of a refused statement uses it, so that the server
/// itself fails the transaction, skips to the Sync and refuses what follows; the client is told the reason instead.
pub(crate) const REFUSED: &[u8] = b"pgherd_refused";

/// The text that takes the place of a refused one.
pub(crate) const REFUSED_TEXT: &[u8] = b"EXECUTE pgherd_refused";

impl Session {
    /// What a statement of this class does to the pin: nothing, or these reasons come.
    pub(crate) fn pins_of(&self, class: Class) -> Option<Pins> {
        let Effect::Pin(causes) = class.effect else { return None };
        let policy = self.pools.settings.borrow().pool.session_state;
        (policy != StatePolicy::Allow).then(|| causes.into())
    }

    /// Why a statement of this class must not run; `None`: it may.
    pub(crate) fn refusal(&self, class: Class) -> Option<ErrorMessage> {
        let pins = self.pins_of(class)?;
        let settings = self.pools.settings.borrow();
        if settings.pool.mode == PoolMode::Session {
            return None;
        }
        match settings.pool.session_state {
            StatePolicy::Refuse => Some(
                ErrorMessage::error(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    format!("session state is not supported in transaction pooling: {pins}"),
                )
                .with_detail("What the statement leaves behind would be lost at the end of the transaction.")
                .with_hint("Connect to the database directly, or set session_state = \"pin\" for the pool."),
            ),
            StatePolicy::Pin if !self.pins().last() => {
                let pool = self.worker.pool(&self.pools, self.exchange().node);
                is_full(&pool, &settings.pool).then(|| too_many(&pool, &settings.pool, &pins.to_string()))
            }
            StatePolicy::Pin | StatePolicy::Allow => None,
        }
    }

    /// Whether a request that pins has to wait, since as many clients as may do keep a connection of `pool`.
    pub(crate) fn must_await_pin(&self, pool: &Pool, seeks: Seeks) -> bool {
        let settings = self.pools.settings.borrow();
        let pins = settings.pool.mode != PoolMode::Session && settings.pool.session_state == StatePolicy::Pin;
        let some_may = settings.pool.pinned_max() > 0;
        seeks == Seeks::Pin && pins && some_may && is_full(pool, &settings.pool)
    }

    /// Waits, without a server connection, until a client that keeps one is done.
    pub(crate) fn await_pin(&mut self, pool: Rc<Pool>) {
        self.begin_wait();
        let waited = self.worker.now().duration_since(self.waiting_since());
        if waited >= self.pools.settings.borrow().pool.wait_timeout {
            let error = too_many(&pool, &self.pools.settings.borrow().pool, "session state");
            self.fail_request(error);
            return;
        }
        if !self.worker.hold(&self.waiter) {
            self.fail_request(queue_full(self.worker.settings().session.max_held as usize));
            return;
        }
        self.worker.note_pin_awaited();
        self.note_hold(&"too many clients keep their server connections", Awaits::Room);
        self.awaits_pin = Some(pool);
        self.handle.state.set(ClientState::Waiting);
        self.phase = Phase::Held;
    }

    /// Looks whether it may go on. `None`: it does not wait for a pin, or goes on to wait.
    pub(crate) fn turn_awaiting_pin(&mut self) -> Option<Turn> {
        let pool = self.awaits_pin.as_ref()?;
        let waited = self.worker.now().duration_since(self.waiting_since());
        let settings = self.pools.settings.borrow();
        if is_full(pool, &settings.pool) && waited < settings.pool.wait_timeout {
            self.worker.note_pin_awaited();
            return None;
        }
        drop(settings);
        self.leave_queue();
        Some(Turn::Again)
    }

    /// Why the client may not give one more statement a name; `None`: it may.
    pub(crate) fn has_too_many_statements(&self, name: &[u8], statement: &Statement) -> Option<ErrorMessage> {
        let (settings, count) = (self.worker.settings(), self.names.len());
        let bytes = self.names.bytes() + cost(name, statement);
        let (max, max_bytes) = (settings.session.max_statements, settings.session.max_statement_bytes);
        (count >= max as usize || bytes > max_bytes as usize).then(|| {
            let text = "too many prepared statements on this connection";
            let detail = format!(
                "There are {count}, and max_statements is {max}; with this one they would have {bytes} bytes, and \
                 max_statement_bytes is {max_bytes}."
            );
            ErrorMessage::error(SqlState::CONFIGURATION_LIMIT_EXCEEDED, text)
                .with_detail(detail)
                .with_hint("Close statements that are not used any more, or DEALLOCATE ALL.")
        })
    }

    /// Why a text must not run that names a prepared statement as servers do, and none of the client's; `None`: it does not.
    /// What it would find there is somebody else's.
    pub(crate) fn names_another(&self, text: &[u8]) -> Option<ErrorMessage> {
        const PREFIX: &[u8] = b"pgherd_";
        if !text.windows(PREFIX.len()).any(|part| part.eq_ignore_ascii_case(PREFIX)) {
            return None;
        }
        let name = sql::statement_names(text)
            .filter(|found| found.verb != NameVerb::Prepare && found.name.starts_with(PREFIX))
            .find(|found| self.names.find(&found.name).is_none())?
            .name;
        let text = format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(&name));
        Some(ErrorMessage::error(SqlState::INVALID_SQL_STATEMENT_NAME, text))
    }

    /// In the present unit something was sent in place of a statement that is refused with `error`.
    pub(crate) fn note_refusal(&mut self, error: ErrorMessage) {
        let exchange = self.exchange_mut();
        exchange.refused.push_back((exchange.units_sent, Box::new(error)));
    }

    /// The error that the client is told instead of one that came of a refusal.
    pub(crate) fn refused_in_own_words(
        &mut self,
        server: &Server,
        view: &ErrorView<'_>,
    ) -> Option<ErrorMessage> {
        let exchange = self.exchange_mut();
        let done = exchange.units_done(&server.ledger);
        let (unit, _) = exchange.refused.front()?;
        let ours = *unit == done
            && view.code == Some(SqlState::INVALID_SQL_STATEMENT_NAME)
            && view.message.windows(REFUSED.len()).any(|part| part == REFUSED);
        if !ours {
            return None;
        }
        let (_, error) = exchange.refused.pop_front()?;
        Some(if server.ledger.status() == TxStatus::Failed { aborted() } else { *error })
    }

    /// The refusals of this unit and those before are dealt with.
    pub(crate) fn forget_refusals(&mut self, unit: u32) {
        let refused = &mut self.exchange_mut().refused;
        while refused.front().is_some_and(|(of, _)| *of <= unit) {
            refused.pop_front();
        }
    }
}

fn is_full(pool: &Pool, settings: &pool::Settings) -> bool {
    pool.pinned() >= settings.pinned_max()
}

fn too_many(pool: &Pool, settings: &pool::Settings, pins: &str) -> ErrorMessage {
    let (pinned, max) = (pool.pinned(), settings.pinned_max());
    ErrorMessage::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        format!("too many clients keep their server connections: {pins}"),
    )
    .with_detail(format!("{pinned} connections of this pool are pinned, and max_pinned is {max}."))
    .with_hint("SHOW PINNED in the console tells which, and why. Try again when one of them is done.")
}
