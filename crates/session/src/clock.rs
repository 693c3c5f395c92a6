//! What of a session is timed, and what happens when the time is over. No session has a timer of its own: the worker
//! looks at all of them on its tick.

use std::{cell::Cell, task::Context, time::Duration};

use pool::Body;
use wire::{
    SqlState,
    message::error::{ErrorMessage, ErrorView},
};

use crate::{
    Timeouts,
    sequence_values::KEPT_MAX,
    session::{End, Phase, Session},
};

/// Time between two looks at everything that is timed.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// How long a statement that was cancelled for its time may take to end; then its connections are closed.
const CANCELLED_MAX: Duration = Duration::from_secs(5);

/// What a session's time counts for at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Timed {
    /// Nothing: it logs in, or stands in a queue that has a limit of its own.
    #[default]
    Nothing,
    /// It has no transaction and no request.
    Idle,
    /// A server works on its request.
    Query,
    /// As before, and it was cancelled because it took too long.
    Cancelled,
    /// It has a transaction, and its server waits for it.
    IdleTransaction,
    /// It has no transaction and no request, and keeps its server for the values that it may have got from sequences.
    Kept,
}

/// Since when a session does what it does, in ticks of its worker: a whole clock would make each idle client larger.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    timed: Cell<Timed>,
    since: Cell<u32>,
    is_over: Cell<bool>,
}

impl Clock {
    /// Counts for `timed` from now on.
    #[inline]
    pub(crate) fn start(&self, timed: Timed, tick: u32) {
        self.timed.set(timed);
        self.since.set(tick);
        self.is_over.set(false);
    }

    /// What it counts for.
    #[inline]
    pub(crate) fn timed(&self) -> Timed {
        self.timed.get()
    }

    /// Whether the time is over by now; the session then asks [`Clock::take_over`]. Never too early: ticks are at
    /// least [`TICK`] apart, and of the first one only a part may have passed.
    pub(crate) fn is_over(&self, tick: u32, timeouts: &Timeouts) -> bool {
        let limit = match self.timed.get() {
            Timed::Nothing => None,
            Timed::Idle => timeouts.client_idle,
            Timed::Query => timeouts.query,
            Timed::Cancelled => Some(CANCELLED_MAX),
            Timed::IdleTransaction => timeouts.idle_transaction,
            Timed::Kept => Some(KEPT_MAX),
        };
        let whole_ticks = tick.wrapping_sub(self.since.get()).saturating_sub(1);
        let over = limit.is_some_and(|limit| TICK.saturating_mul(whole_ticks) >= limit);
        self.is_over.set(over);
        over
    }

    /// What the time is over for, once.
    #[inline]
    fn take_over(&self) -> Option<Timed> {
        self.is_over.replace(false).then(|| self.timed.get())
    }
}

impl Session {
    /// Counts for `timed` from now on.
    #[inline]
    pub(crate) fn time(&self, timed: Timed) {
        self.handle.clock.start(timed, self.worker.ticks());
    }

    /// Acts if a time is over. Called when a turn has found nothing more to do, so that what has arrived in time
    /// counts, however late the thread comes to read it.
    #[inline]
    pub(crate) fn obey_clock(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        match self.handle.clock.take_over() {
            None => Ok(()),
            Some(timed) => self.time_is_over(cx, timed),
        }
    }

    #[cold]
    fn time_is_over(&mut self, cx: &mut Context<'_>, timed: Timed) -> Result<(), End> {
        let (fatal, code) = match timed {
            Timed::Nothing => return Ok(()),
            Timed::Idle => ("idle-session timeout", SqlState::IDLE_SESSION_TIMEOUT),
            Timed::Query => {
                self.query_takes_too_long(cx);
                return Ok(());
            }
            Timed::Kept => {
                self.keep_no_longer(cx);
                return Ok(());
            }
            Timed::Cancelled => ("query timeout", SqlState::QUERY_CANCELED),
            Timed::IdleTransaction => {
                ("idle-in-transaction timeout", SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT)
            }
        };
        if let Phase::Linked(server) = &self.phase
            && matches!(server.body, Body::Forward(_))
        {
            return Err(End::CutOff);
        }
        let error = ErrorMessage::fatal(code, format!("terminating connection due to {fatal}"));
        Err(End::Refused(Box::new(error.with_hint(setting_of(timed)))))
    }

    fn query_takes_too_long(&mut self, cx: &mut Context<'_>) {
        let Phase::Linked(server) = &self.phase else { return };
        if server.ledger.is_settled() {
            // everything is answered, only the Sync is to come: the server waits for the client
            self.time(Timed::IdleTransaction);
            return;
        }
        tracing::debug!(client = %self.handle.id, "a statement takes longer than query_timeout");
        self.worker.cancel_on_server(server, &self.handle);
        self.time(Timed::Cancelled);
        self.worker.note_timed();
        cx.waker().wake_by_ref();
    }

    /// The client's words for a cancel that it did not ask for. `None`: the error is none of these.
    pub(crate) fn cancelled_for_time(&self, view: &ErrorView<'_>) -> Option<ErrorMessage> {
        if self.handle.clock.timed() != Timed::Cancelled || view.code != Some(SqlState::QUERY_CANCELED) {
            return None;
        }
        let error = ErrorMessage::error(SqlState::QUERY_CANCELED, "canceling statement due to query timeout");
        Some(error.with_hint(setting_of(Timed::Query)))
    }
}

fn setting_of(timed: Timed) -> &'static str {
    match timed {
        Timed::Nothing | Timed::Kept => "",
        Timed::Idle => "The limit is [pool] client_idle_timeout.",
        Timed::Query | Timed::Cancelled => "The limit is [pool] query_timeout.",
        Timed::IdleTransaction => "The limit is [pool] idle_transaction_timeout.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Timeouts =
        Timeouts { query: Some(Duration::from_secs(1)), idle_transaction: None, client_idle: None };

    #[track_caller]
    fn check(timed: Timed, ticks: u32, over: bool) {
        let clock = Clock::default();
        let began = u32::MAX - 3; // it may wrap around
        clock.start(timed, began);
        assert_eq!(clock.is_over(began.wrapping_add(ticks), &SECOND), over, "{timed:?} after {ticks}");
        assert_eq!(clock.take_over(), over.then_some(timed));
        assert_eq!(clock.take_over(), None);
    }

    #[test]
    fn a_time_is_over_when_it_has_passed_whole() {
        check(Timed::Query, 0, false);
        check(Timed::Query, 10, false);
        check(Timed::Query, 11, true);
        check(Timed::Cancelled, 50, false);
        check(Timed::Cancelled, 51, true);
    }

    #[test]
    fn what_has_no_limit_is_never_over() {
        for timed in [Timed::Nothing, Timed::Idle, Timed::IdleTransaction] {
            check(timed, 1_000_000, false);
        }
    }

    #[test]
    fn news_start_the_time_anew() {
        let clock = Clock::default();
        clock.start(Timed::Query, 0);
        assert!(clock.is_over(11, &SECOND));
        clock.start(Timed::Query, 11);
        assert_eq!(clock.take_over(), None);
    }
}
