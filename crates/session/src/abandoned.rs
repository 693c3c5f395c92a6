//! What a lost server still owed is answered here.

use std::task::Context;

use protocol::{Abandoned, Ledger};
use wire::message::{
    backend::{TxStatus, ready_for_query},
    error::ErrorMessage,
};

use crate::{
    io::send,
    local::Responder,
    lost::aborted,
    session::{End, Phase, Session},
};

impl Session {
    /// Answers everything that the server still owed, and counts it as a cost of the loss.
    pub(crate) fn tell_loss(
        &mut self,
        cx: &mut Context<'_>,
        ledger: &mut Ledger,
        error: Option<ErrorMessage>,
        status: TxStatus,
    ) -> Result<(), End> {
        let abandoned = ledger.abandon();
        let is_told = abandoned.ready_owed > 0 || abandoned.unit_open || status == TxStatus::Failed;
        if let Some(code) = error.as_ref().map(|error| error.code).filter(|_| is_told) {
            self.worker.charge(&self.pools, |toll| toll.fail(code, 1));
        }
        self.answer_abandoned(cx, abandoned, error, status)
    }

    /// The same for what is no cost of a loss.
    pub(crate) fn answer_abandoned(
        &mut self,
        cx: &mut Context<'_>,
        abandoned: Abandoned,
        mut error: Option<ErrorMessage>,
        status: TxStatus,
    ) -> Result<(), End> {
        let mut out = Vec::new();
        for _ in 0..abandoned.ready_owed {
            match (&error, status) {
                (Some(first), _) => first.write(&mut out),
                (None, _) => aborted().write(&mut out),
            }
            if status == TxStatus::Failed {
                error = None; // told; what follows fails as in any failed transaction
            }
            ready_for_query(status, &mut out);
        }
        let told = abandoned.ready_owed > 0;
        if abandoned.unit_open {
            error.take().unwrap_or_else(aborted).write(&mut out);
            self.phase = Phase::Local(Box::new(Responder::skip_to_sync(status)));
        } else if status == TxStatus::Failed {
            let untold = error.take().filter(|_| !told);
            self.phase = Phase::Local(Box::new(Responder::transaction_failed(untold)));
        }
        send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)
    }
}
