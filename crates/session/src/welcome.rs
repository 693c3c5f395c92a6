//! From the end of authentication to the first ReadyForQuery: the client hears what a server would tell it.

use std::{rc::Rc, task::Context};

use pool::{ParameterSet, Replay, Server};
use routing::{Policy, Wants};
use wire::message::backend::{Authentication, TxStatus, backend_key_data, parameter_status, ready_for_query};

use crate::{
    io::send,
    route::LONG_UNIT,
    scan::Seeks,
    serve::Turn,
    session::{End, Phase, Session, Work},
};

impl Session {
    /// Welcomes the client at once if some server was in its startup state before; else takes a server to that
    /// state first, so that a wrong startup parameter fails here, as it would with PostgreSQL itself.
    pub(crate) fn greet(&mut self, cx: &mut Context<'_>) -> Result<Turn, End> {
        if let Some(parameters) = self.startup.reported() {
            return self.welcome_with(cx, parameters).map(|()| Turn::Again);
        }
        let wants = match self.policy {
            _ if self.primary_only => Wants::Primary,
            Policy::ReadOnly | Policy::Sync | Policy::Async => Wants::Replica,
            Policy::Smart | Policy::ReadWrite => Wants::Any,
        };
        if let Some(server) = self.check_out(wants, None, Seeks::Any) {
            self.link(cx, server, LONG_UNIT, &mut Work::default())?;
        } else if matches!(self.phase, Phase::Held)
            && let Some(parameters) = self.likely_parameters()
        {
            self.leave_queue();
            self.welcome_with(cx, parameters)?;
        }
        Ok(Turn::Again)
    }

    /// What a server would most likely report: what one reported with nothing set, and what the client asked for.
    /// Serves logins while no server can be reached.
    fn likely_parameters(&self) -> Option<Rc<ParameterSet>> {
        let mut parameters =
            self.pools.states.empty().reported().or_else(|| self.pools.last_reported.borrow().clone())?;
        for (name, replay) in self.startup.iter() {
            if let (Replay::Value(value), true) = (replay, parameters.value(name).is_some()) {
                parameters = self.pools.parameters.with(&parameters, name, value);
            }
        }
        Some(parameters)
    }

    /// Welcomes the client with what `server` reports in the client's startup state.
    pub(crate) fn welcome(&mut self, cx: &mut Context<'_>, server: &Server) -> Result<(), End> {
        self.worker.note_role_report(server.in_hot_standby.is_some());
        if Rc::ptr_eq(&self.startup, &server.state) {
            // the next client that begins like this one needs no server to be welcomed
            self.startup.prove(&server.parameters);
        }
        self.welcome_with(cx, Rc::clone(&server.parameters))
    }

    fn welcome_with(&mut self, cx: &mut Context<'_>, parameters: Rc<ParameterSet>) -> Result<(), End> {
        let mut out = Vec::new();
        Authentication::Ok.write(&mut out);
        for (name, value) in parameters.iter() {
            parameter_status(name, value, &mut out);
        }
        if self.worker.servers_report_their_role() {
            // the truth about this endpoint, not about the server that happened to answer
            let standby = self.policy.is_read_only();
            parameter_status(b"in_hot_standby", if standby { b"on" } else { b"off" }, &mut out);
        }
        backend_key_data(self.handle.key.pid, &self.handle.key.secret, &mut out);
        ready_for_query(TxStatus::Idle, &mut out);
        *self.pools.last_reported.borrow_mut() = Some(Rc::clone(&parameters));
        self.told = Some(parameters);
        self.request_over();
        send(cx, &mut self.stream, &mut self.output, &out).map_err(End::ClientIo)
    }
}
