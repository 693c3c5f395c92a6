use std::{future::poll_fn, io, pin::Pin, rc::Rc, task::Poll, time::Duration};

use bytes::Buf;
use protocol::{Origin, Owed, Verdict};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use wire::{
    frame::{Direction, Peek, peek},
    message::{
        backend::{TxStatus, read_parameter_status},
        frontend,
    },
};

use crate::{CleanServer, ParameterSets, SequenceValues, Server, SessionState};

/// Messages that come while a connection is cleaned are short; a longer one is not worth keeping the connection for.
const MESSAGE_LIMIT: u32 = 1 << 20;

/// How long the cleaning of one connection may take before it is closed instead.
const DEADLINE: Duration = Duration::from_secs(5);

/// How much has to go before another client may have the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// An open transaction, and channels that are listened to.
    Transaction,
    /// Everything: transaction, settings, temporary tables, locks, prepared statements.
    Session,
}

/// Waits until everything that was asked of `server` has been answered, and discards the answers.
///
/// # Errors
/// When the connection ends, loses its place, answers at great length or with an error. Then it must be closed.
///
/// # Cancel safety
/// Dropped half-way, it leaves the server not clean; the server must then be closed.
pub async fn settle(server: &mut Server, parameters: &ParameterSets) -> io::Result<()> {
    while !server.ledger.is_answered() || !server.output.is_empty() {
        if !server.output.is_empty() {
            let mut output = std::mem::take(&mut server.output);
            server.stream.write_all_buf(&mut output).await?;
            server.stream.flush().await?;
        }
        take_messages(server, parameters)?;
        if !server.ledger.is_answered() {
            read_more(server).await?;
        }
    }
    Ok(())
}

async fn read_more(server: &mut Server) -> io::Result<()> {
    let mut chunk = [0_u8; 4096];
    let n = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut chunk);
        match Pin::new(&mut server.stream).poll_read(cx, &mut buffer) {
            Poll::Ready(result) => Poll::Ready(result.map(|()| buffer.filled().len())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    if n == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    server.input.extend_from_slice(&chunk[..n]);
    Ok(())
}

fn take_messages(server: &mut Server, parameters: &ParameterSets) -> io::Result<()> {
    loop {
        let peeked = peek(&server.input, Direction::Backend, MESSAGE_LIMIT).map_err(io::Error::other)?;
        let Peek::Whole { header, body } = peeked else { return Ok(()) };
        match server.ledger.receive(header.tag, body).map_err(io::Error::other)? {
            // what was to be undone may still be there
            Verdict::Error(_) => return Err(io::Error::other("the cleaning failed")),
            Verdict::Asynchronous if header.tag == b'S' => {
                if let Ok((name, value)) = read_parameter_status(body) {
                    server.parameters = parameters.with(&server.parameters, name, value);
                }
            }
            Verdict::Reply(_) | Verdict::Ready(_) | Verdict::Asynchronous => {}
        }
        while server.ledger.take_local().is_some() {}
        server.input.advance(header.total_len());
    }
}

/// Makes `server` fit for the next client, or closes it: waits for the answers under way, rolls an open transaction
/// back and, if asked, discards the whole session state.
pub(crate) async fn clean(
    mut server: Box<Server>,
    reset: Reset,
    empty: Rc<SessionState>,
    parameters: &ParameterSets,
) -> Option<CleanServer> {
    let cleaning = async {
        settle(&mut server, parameters).await?;
        if server.ledger.status() != TxStatus::Idle {
            run(&mut server, "ROLLBACK", parameters).await?;
        } else if !server.ledger.is_settled() {
            run(&mut server, "", parameters).await?; // what its answer comes behind is all that comes
        }
        if reset == Reset::Session {
            run(&mut server, "DISCARD ALL", parameters).await?;
            server.prepared.clear();
            server.sequence_values = SequenceValues::default();
            server.state = empty;
        } else if server.listens {
            run(&mut server, "UNLISTEN *", parameters).await?;
        }
        server.listens = false;
        Ok::<_, io::Error>(())
    };
    match tokio::time::timeout(DEADLINE, cleaning).await {
        Ok(Ok(())) => server.prove_clean().ok(),
        Ok(Err(_)) | Err(_) => None,
    }
}

async fn run(server: &mut Server, sql: &str, parameters: &ParameterSets) -> io::Result<()> {
    let mut request = Vec::new();
    frontend::query(sql.as_bytes(), &mut request);
    // a simple query destroys the unnamed statement (manual, "Extended Query")
    server.prepared.set_unnamed(None);
    server.ledger.owe(Owed::Query, Origin::Proxy);
    server.output.extend_from_slice(&request);
    settle(server, parameters).await?;
    match server.ledger.status() {
        TxStatus::Idle => Ok(()),
        TxStatus::InTransaction | TxStatus::Failed => Err(io::Error::other("still in a transaction")),
    }
}
