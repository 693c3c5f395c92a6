//! The protocol loop of one console client.

use std::{io, sync::Arc};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tracing::debug;
use wire::{
    SqlState,
    frame::{Direction, Peek, peek},
    message::{
        backend::{
            Authentication, TxStatus, backend_key_data, bare, command_complete, finish, parameter_status,
            ready_for_query,
        },
        error::ErrorMessage,
        frontend::{Parse, Target, query_text},
    },
};

use crate::{
    Console, ConsoleClient,
    command::{Command, PARAMETERS, next_statement, parse},
    console::Answer,
    extended::{Execute, Names, Portal, malformed},
    show::columns,
    table::{Formats, Table, row_description},
};

/// Longest message taken from a client, in bytes. Commands are short; a text for EXPLAIN ROUTE may be less so.
const MESSAGE_MAX: u32 = 1 << 20;

/// Most bytes read ahead while a command runs.
const READ_AHEAD_MAX: usize = 2 << 20;

/// Answers are sent when so many bytes have gathered, even if the client has not asked for them by Sync or Flush.
const SEND_AT: usize = 64 * 1024;

/// Serves a console client from AuthenticationOk, which it sends, until it leaves.
///
/// # Cancel safety
/// Dropping it ends the connection. A command that was under way may have been done; a PAUSE stays.
pub async fn serve<S>(stream: S, client: ConsoleClient, console: Arc<Console>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let id = client.id;
    let mut session = Session {
        stream,
        input: Vec::new(),
        out: Vec::new(),
        client,
        console,
        names: Names::default(),
        status: TxStatus::Idle,
        skipping: false,
    };
    if let Err(error) = session.run().await {
        debug!(client = id, %error, "console connection lost");
    }
}

struct Session<S> {
    stream: S,
    /// Read and not consumed.
    input: Vec<u8>,
    /// To be sent.
    out: Vec<u8>,
    client: ConsoleClient,
    console: Arc<Console>,
    names: Names,
    /// Only what BEGIN and COMMIT say; an error leaves it, as nothing is ever rolled back.
    status: TxStatus,
    /// A message of the extended protocol failed: everything up to the next Sync is skipped.
    skipping: bool,
}

/// Why a request fails; the connection goes on.
type Refused = ErrorMessage;

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(&mut self) -> io::Result<()> {
        self.welcome();
        self.send().await?;
        while let Some((tag, body)) = self.next_message().await? {
            match tag {
                b'X' => return Ok(()),
                b'Q' => self.simple_query(&body).await?,
                b'S' => self.sync(),
                b'H' => {}
                b'F' => {
                    let text = "the console has no functions to call";
                    ErrorMessage::error(SqlState::FEATURE_NOT_SUPPORTED, text).write(&mut self.out);
                    ready_for_query(self.status, &mut self.out);
                }
                // What is left of a COPY that never was, or a password nobody asked for.
                b'd' | b'c' | b'f' | b'p' => {}
                _ if self.skipping => {}
                _ => {
                    if let Err(error) = self.extended_query(tag, &body).await? {
                        error.write(&mut self.out);
                        self.skipping = true;
                    }
                }
            }
            if matches!(tag, b'Q' | b'S' | b'H' | b'F') || self.out.len() >= SEND_AT {
                self.send().await?;
            }
        }
        Ok(())
    }

    fn welcome(&mut self) {
        let out = &mut self.out;
        Authentication::Ok.write(out);
        for parameter in &PARAMETERS {
            if let Some(name) = parameter.reported {
                parameter_status(name.as_bytes(), parameter.value.as_bytes(), out);
            }
        }
        parameter_status(b"session_authorization", self.client.user.as_bytes(), out);
        // There is nothing to cancel: this key is in no one's book.
        let process_id = u32::try_from(self.client.id).unwrap_or(u32::MAX);
        backend_key_data(process_id, &[0; 4], out);
        ready_for_query(TxStatus::Idle, out);
    }

    /// The next whole message; `None` when the client has gone, or said something that is no message.
    async fn next_message(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            match peek(&self.input, Direction::Frontend, MESSAGE_MAX) {
                Ok(Peek::Whole { header, body }) => {
                    let body = body.to_vec();
                    self.input.drain(..header.total_len());
                    return Ok(Some((header.tag, body)));
                }
                Ok(Peek::Partial { .. } | Peek::Nothing) => {}
                Err(error) => {
                    let text = error.to_string();
                    ErrorMessage::fatal(SqlState::PROTOCOL_VIOLATION, text).write(&mut self.out);
                    self.send().await?;
                    return Ok(None);
                }
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn send(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.out).await?;
        self.stream.flush().await?;
        self.out.clear();
        self.out.shrink_to(SEND_AT);
        Ok(())
    }

    fn sync(&mut self) {
        self.skipping = false;
        if self.status == TxStatus::Idle {
            self.names.close_portals();
        }
        ready_for_query(self.status, &mut self.out);
    }

    /// Runs the statements of a Query one after the other, up to the first that fails.
    async fn simple_query(&mut self, body: &[u8]) -> io::Result<()> {
        self.skipping = false;
        let text = String::from_utf8_lossy(query_text(body).unwrap_or_default()).into_owned();
        let mut rest = text.as_str();
        let mut empty = true;
        while let Some((statement, behind)) = next_statement(rest) {
            (rest, empty) = (behind, false);
            if let Err(error) = self.simple_statement(statement).await? {
                error.write(&mut self.out);
                break;
            }
        }
        if empty {
            bare(b'I', &mut self.out);
        }
        ready_for_query(self.status, &mut self.out);
        Ok(())
    }

    async fn simple_statement(&mut self, statement: &str) -> io::Result<Result<(), Refused>> {
        let command = match parse(statement) {
            Ok(command) => command,
            Err(error) => return Ok(Err(error)),
        };
        let table = match self.execute(&command).await? {
            Ok(table) => table,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(table) = table {
            row_description(&table.columns, &Formats::default(), &mut self.out);
            self.send_rows(&table, 0, table.rows.len(), &Formats::default()).await?;
        }
        command_complete(command.name(), &mut self.out);
        Ok(Ok(()))
    }

    async fn extended_query(&mut self, tag: u8, body: &[u8]) -> io::Result<Result<(), Refused>> {
        Ok(match tag {
            b'P' => Parse::read(body)
                .map_err(malformed)
                .and_then(|parse| self.names.parse(parse.statement, parse.query))
                .map(|()| bare(b'1', &mut self.out)),
            b'B' => self.names.bind(body).map(|()| bare(b'2', &mut self.out)),
            b'D' => Target::read(body).map_err(malformed).and_then(|target| self.describe(target)),
            b'C' => Target::read(body).map_err(malformed).map(|target| {
                match target {
                    Target::Statement(name) => self.names.close_statement(name),
                    Target::Portal(name) => self.names.close_portal(name),
                }
                bare(b'3', &mut self.out);
            }),
            b'E' => match Execute::read(body) {
                Ok(execute) => return self.execute_portal(execute).await,
                Err(error) => Err(malformed(error)),
            },
            _ => Err(malformed(wire::Malformed)),
        })
    }

    fn describe(&mut self, target: Target<'_>) -> Result<(), Refused> {
        let text = Formats::default();
        let (columns, formats) = match target {
            Target::Statement(name) => {
                let columns = self.names.statement(name)?.and_then(columns);
                finish(&mut self.out, b't', |out| out.extend_from_slice(&[0; 2])); // no parameters
                (columns, &text)
            }
            Target::Portal(name) => match self.names.portal(name)? {
                Portal::Ready(command, formats) => (command.as_ref().and_then(columns), &*formats),
                Portal::Open { table, formats, .. } => (Some(table.columns.clone()), &*formats),
                Portal::Done => (None, &text),
            },
        };
        match columns {
            Some(columns) => row_description(&columns, formats, &mut self.out),
            None => bare(b'n', &mut self.out),
        }
        Ok(())
    }

    async fn execute_portal(&mut self, execute: Execute<'_>) -> io::Result<Result<(), Refused>> {
        let portal = match self.names.portal(execute.portal) {
            Ok(portal) => std::mem::replace(portal, Portal::Done),
            Err(error) => return Ok(Err(error)),
        };
        let (table, first, formats, tag) = match portal {
            Portal::Ready(None, _) => {
                bare(b'I', &mut self.out);
                return Ok(Ok(()));
            }
            Portal::Ready(Some(command), formats) => match self.execute(&command).await? {
                Ok(Some(table)) => (table, 0, formats, command.name()),
                Ok(None) => {
                    command_complete(command.name(), &mut self.out);
                    return Ok(Ok(()));
                }
                Err(error) => return Ok(Err(error)),
            },
            Portal::Open { table, next, formats } => (table, next, formats, "SHOW"),
            Portal::Done => {
                command_complete("SHOW", &mut self.out);
                return Ok(Ok(()));
            }
        };
        let rows = table.rows.len();
        let end = match execute.rows_max {
            0 => rows,
            limit => rows.min(first.saturating_add(limit as usize)),
        };
        self.send_rows(&table, first, end, &formats).await?;
        if end < rows {
            bare(b's', &mut self.out);
            if let Ok(portal) = self.names.portal(execute.portal) {
                *portal = Portal::Open { table, next: end, formats };
            }
        } else {
            command_complete(tag, &mut self.out);
        }
        Ok(Ok(()))
    }

    async fn send_rows(
        &mut self,
        table: &Table,
        first: usize,
        end: usize,
        formats: &Formats,
    ) -> io::Result<()> {
        for at in first..end {
            table.write_row(at, formats, &mut self.out);
            if self.out.len() >= SEND_AT {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Runs a command and takes note of what it means for this connection; its rows.
    async fn execute(&mut self, command: &Command) -> io::Result<Result<Option<Table>, Refused>> {
        let Answer { notices, table } = match self.execute_watching(command).await? {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        notices.iter().for_each(|notice| notice.write(&mut self.out));
        match command {
            Command::Begin => self.status = TxStatus::InTransaction,
            Command::EndTransaction(_) => self.status = TxStatus::Idle,
            Command::Ignore("DISCARD ALL" | "DEALLOCATE") => self.names.close_statements(),
            _ => {}
        }
        Ok(Ok(table))
    }

    /// What waits for clients may take long, and whoever asked for it may leave meanwhile; other commands run to their
    /// end.
    async fn execute_watching(&mut self, command: &Command) -> io::Result<Result<Answer, Refused>> {
        let console = Arc::clone(&self.console);
        if !matches!(command, Command::Pause(_) | Command::Suspend | Command::WaitClose(_)) {
            return Ok(console.execute(command, &self.client).await);
        }
        self.send().await?;
        let before = console.stopped();
        let gone = {
            let mut work = std::pin::pin!(console.execute(command, &self.client));
            loop {
                tokio::select! {
                    biased;
                    answer = &mut work => return Ok(answer),
                    read = self.stream.read_buf(&mut self.input), if self.input.len() < READ_AHEAD_MAX => match read {
                        Ok(0) => break io::ErrorKind::UnexpectedEof.into(),
                        Ok(_) => {}
                        Err(error) => break error,
                    },
                }
            }
        };
        console.abandon(command, &before).await;
        Err(gone)
    }
}
