//! What a server says that answers nothing of the client's: news of its own, and answers to what brings the client's
//! settings about.

use std::rc::Rc;

use pool::Server;
use wire::message::{backend::read_parameter_status, error::ErrorView};

use crate::{
    exchange::Entrance,
    io::Splice,
    lost::Loss,
    receive::{Fate, as_own},
    session::Session,
};

impl Session {
    /// A message that comes at any time: ParameterStatus, notice or notification.
    pub(crate) fn asynchronous(&mut self, server: &mut Server, tag: u8, body: &[u8]) -> Fate {
        let replaying = self.exchange().entrance != Entrance::Open;
        match tag {
            b'S' => {
                let Ok((name, value)) = read_parameter_status(body) else {
                    return Fate::Lost(Loss::Desynchronised);
                };
                if name == b"in_hot_standby" {
                    server.in_hot_standby = Some(value == b"on");
                    self.worker.report(&self.pools, self.exchange().node, topology::Report::RoleChanged);
                    return Fate::Swallow;
                }
                server.parameters = self.pools.parameters.with(&server.parameters, name, value);
                if replaying {
                    return Fate::Swallow;
                }
                if let Some(told) = &mut self.told {
                    *told = self.pools.parameters.with(told, name, value);
                }
                Fate::Forward
            }
            b'A' if self.pins().is_empty() || self.is_heard_elsewhere(body) => Fate::Swallow,
            b'N' if replaying => Fate::Swallow,
            _ => Fate::Forward,
        }
    }

    /// One message of the answer to what was sent to bring the client's settings about.
    pub(crate) fn replay_message(
        &mut self,
        server: &mut Server,
        tag: u8,
        body: &[u8],
        at: usize,
        end: usize,
        splice: &mut Splice<'_>,
    ) -> Fate {
        match tag {
            b'E' => self.exchange_mut().replay_error = Some(Box::new(as_own(&ErrorView::read(body)))),
            b'Z' => {
                let (Entrance::Replaying { left } | Entrance::Ahead { left }) =
                    &mut self.exchange_mut().entrance
                else {
                    return Fate::Swallow;
                };
                *left -= 1;
                if *left == 0 {
                    self.exchange_mut().entrance = Entrance::Open;
                    if let Some(error) = self.exchange_mut().replay_error.take() {
                        return Fate::Lost(Loss::Replay(error));
                    }
                    server.state = Rc::clone(&self.wanted);
                    server.state.prove(&server.parameters);
                    let out = splice.replace(at, end);
                    self.tell_parameters(server, out);
                    return Fate::Replaced;
                }
            }
            _ => {}
        }
        Fate::Swallow
    }
}
