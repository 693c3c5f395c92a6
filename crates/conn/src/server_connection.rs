use std::fmt;

use tokio::io::AsyncWriteExt;
use wire::message::{backend::read_parameter_status, frontend};

use crate::{
    ReadError, ServerError, Stream,
    inbox::{Inbox, Message},
};

/// Parameters that a server may report, beyond which it is not believed; PostgreSQL 18 reports 15.
const PARAMETERS_LIMIT: usize = 1000;

/// The longest message that is read between queries, in bytes.
const IDLE_MESSAGE_LIMIT: u32 = 64 * 1024;

/// Name and value of a parameter that a server reports.
pub type Parameter = (Box<[u8]>, Box<[u8]>);

/// Whether a query may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The last ReadyForQuery was read.
    Ready,
    /// A query was sent and its ReadyForQuery not read: the call was cancelled or failed half-way.
    Busy,
}

/// A server connection after its login. The proxy's pools take its parts; its own few queries run on it as it is.
pub struct ServerConnection {
    /// The connection, with nothing read past the first ReadyForQuery.
    pub stream: Stream,
    /// The server process's id, for cancel requests; 0 if the server gave no key.
    pub pid: u32,
    /// The secret that goes with it.
    pub cancel_key: Box<[u8]>,
    /// What the server reported about itself and the session: names and values in the server's order, the last one of
    /// a name is in force.
    pub parameters: Vec<Parameter>,
    pub(crate) inbox: Inbox,
    pub(crate) phase: Phase,
}

impl fmt::Debug for ServerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConnection").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What an idle server connection said.
#[derive(Debug)]
pub enum IdleMessage {
    /// A parameter changed, such as `in_hot_standby`; [`ServerConnection::parameters`] has the new value.
    Parameter(Box<[u8]>),
    /// The server ends the connection and says why: 57P01 when it shuts down.
    Ended(ServerError),
    /// The connection is gone, or no message could be read from it.
    Lost(ReadError),
}

impl ServerConnection {
    pub(crate) fn new(
        stream: Stream,
        (pid, cancel_key): (u32, Box<[u8]>),
        parameters: Vec<Parameter>,
        inbox: Inbox,
    ) -> Self {
        Self { stream, pid, cancel_key, parameters, inbox, phase: Phase::Ready }
    }

    /// The value in force of a reported parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let name = name.as_bytes();
        self.parameters.iter().rev().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    /// Whether the server said to be a standby; `None` before PostgreSQL 14, which does not say.
    #[must_use]
    pub fn in_hot_standby(&self) -> Option<bool> {
        self.parameter("in_hot_standby").map(|value| value == b"on")
    }

    /// Waits for the idle server to say something. A server that dies says so here within milliseconds, long before
    /// a query would find out.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn idle_message(&mut self) -> IdleMessage {
        loop {
            let message = match self.inbox.next(&mut self.stream, IDLE_MESSAGE_LIMIT).await {
                Ok(message) => message,
                Err(error) => return IdleMessage::Lost(error),
            };
            match message {
                Message { tag: b'E', body } => return IdleMessage::Ended(ServerError::read(&body)),
                Message { tag: b'S', body } => match read_parameter_status(&body) {
                    Ok((name, value)) => {
                        self.set_parameter(name, value);
                        return IdleMessage::Parameter(name.into());
                    }
                    Err(_) => return IdleMessage::Lost(out_of_turn(b'S')),
                },
                Message { tag: b'N' | b'A', .. } => {}
                Message { tag, .. } => return IdleMessage::Lost(out_of_turn(tag)),
            }
        }
    }

    pub(crate) fn set_parameter(&mut self, name: &[u8], value: &[u8]) {
        let room = self.parameters.len() < PARAMETERS_LIMIT;
        match self.parameters.iter_mut().rev().find(|(known, _)| **known == *name) {
            Some((_, known)) => *known = value.into(),
            None if room => self.parameters.push((name.into(), value.into())),
            None => {}
        }
    }

    /// Says goodbye and closes; a server that does not listen any more is closed all the same.
    pub async fn close(mut self) {
        let mut out = Vec::with_capacity(5);
        frontend::terminate(&mut out);
        let _ = self.stream.write_all(&out).await;
        let _ = self.stream.shutdown().await;
    }
}

fn out_of_turn(tag: u8) -> ReadError {
    wire::frame::FrameError::UnknownTag { tag }.into()
}
