//! The login to a server (manual, "Start-up").

use auth::{ScramClient, md5_response, scram::SentProof};
use tokio::io::AsyncWriteExt;
use wire::message::{
    backend::{Authentication, TxStatus, read_backend_key_data, read_parameter_status},
    frontend,
    startup::{self, PROTOCOL_3_0, STARTUP_LIMIT},
};
use zeroize::Zeroizing;

use crate::{
    AuthFailure, DialError, Login, ServerConnection, ServerError, Stream, fill_random,
    inbox::{Inbox, Message},
};

/// The longest message of a login, in bytes.
const MESSAGE_LIMIT: u32 = 64 * 1024;

/// Messages that a login may consist of; PostgreSQL 18 sends about 20.
const MESSAGES_LIMIT: u32 = 1000;

/// How far the authentication is.
///   Unasked --password--> Answered --ok--> Admitted
///      |--SASL--> Challenged --continue--> Proved --final--> Verified --ok--> Admitted
///      '--ok (trust)--> Admitted
enum Progress<'a> {
    Unasked,
    /// Our password or its MD5 answer is sent.
    Answered,
    Challenged(ScramClient<'a>),
    /// Our proof is sent.
    Proved(SentProof),
    /// The server has proven that it knows the password too.
    Verified,
    /// The server has let us in.
    Admitted,
}

/// Sends the startup packet and answers until the first ReadyForQuery.
pub(crate) async fn log_in(mut stream: Stream, login: &Login<'_>) -> Result<ServerConnection, DialError> {
    let packet = startup_packet(login)?;
    stream.write_all(&packet).await?;
    stream.flush().await?;
    let mut inbox = Inbox::default();
    let mut progress = Progress::Unasked;
    let mut parameters = Vec::new();
    let mut key: (u32, Box<[u8]>) = (0, Box::default());
    for _ in 0..MESSAGES_LIMIT {
        let Message { tag, body } = inbox.next(&mut stream, MESSAGE_LIMIT).await?;
        match (tag, &progress) {
            (b'E', _) => return Err(ServerError::read(&body).into()),
            (b'N', _) => {}
            (b'R', _) => {
                let request = Authentication::read(&body)?;
                progress = authenticate(&mut stream, progress, request, login).await?;
            }
            (b'S', Progress::Admitted) => {
                let (name, value) = read_parameter_status(&body)?;
                parameters.push((name.into(), value.into()));
            }
            (b'K', Progress::Admitted) => {
                let (pid, secret) = read_backend_key_data(&body)?;
                key = (pid, secret.into());
            }
            (b'Z', Progress::Admitted) => {
                return match TxStatus::read(&body)? {
                    TxStatus::Idle => Ok(ServerConnection::new(stream, key, parameters, inbox)),
                    TxStatus::InTransaction | TxStatus::Failed => Err(DialError::Protocol),
                };
            }
            _ => return Err(DialError::Protocol),
        }
    }
    Err(DialError::Protocol)
}

fn startup_packet(login: &Login<'_>) -> Result<Vec<u8>, DialError> {
    let given = login.parameters.iter().copied();
    let pairs: Vec<(&[u8], &[u8])> = [("user", login.user), ("database", login.database)]
        .into_iter()
        .chain(given)
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    // A NUL or an empty name would turn one parameter into another.
    if pairs.iter().any(|(name, value)| name.is_empty() || name.contains(&0) || value.contains(&0)) {
        return Err(DialError::Protocol);
    }
    let mut packet = Vec::new();
    startup::session(PROTOCOL_3_0, &pairs, &mut packet);
    if packet.len() > STARTUP_LIMIT as usize { Err(DialError::Protocol) } else { Ok(packet) }
}

async fn authenticate<'a>(
    stream: &mut Stream,
    progress: Progress<'a>,
    request: Authentication<'_>,
    login: &Login<'a>,
) -> Result<Progress<'a>, DialError> {
    let secret = || login.secret.ok_or(AuthFailure::NoSecret);
    match (progress, request) {
        (Progress::Unasked | Progress::Answered | Progress::Verified, Authentication::Ok) => {
            Ok(Progress::Admitted)
        }
        (Progress::Challenged(_) | Progress::Proved(_), Authentication::Ok) => {
            Err(AuthFailure::Unproven.into())
        }
        (Progress::Unasked, Authentication::Cleartext) => {
            let secret = secret()?;
            if !stream.is_tls() {
                return Err(AuthFailure::ClearTextWithoutTls.into());
            }
            let password = secret.clear_text().ok_or(auth::Unable::ScramOnly)?;
            let mut body = Zeroizing::new(Vec::with_capacity(password.len().saturating_add(1)));
            body.extend_from_slice(password.as_bytes());
            body.push(0);
            send(stream, &body).await?;
            Ok(Progress::Answered)
        }
        (Progress::Unasked, Authentication::Md5 { salt }) => {
            send(stream, &md5_response(secret()?, login.user, salt)?).await?;
            Ok(Progress::Answered)
        }
        (Progress::Unasked, Authentication::Sasl { mechanisms }) => {
            let (client, body) = ScramClient::new(secret()?, mechanisms, &mut fill_random)?;
            send(stream, &body).await?;
            Ok(Progress::Challenged(client))
        }
        (Progress::Challenged(client), Authentication::SaslContinue(data)) => {
            let challenge = client.server_first(data)?;
            let derived = match challenge.derivation() {
                // Milliseconds of hashing would stop every session of this thread. If the pool of blocking threads
                // is shut down, the hashing is done here.
                Some(derivation) => tokio::task::spawn_blocking(|| derivation.run()).await.ok(),
                None => None,
            };
            let (sent, body) = challenge.respond(derived);
            send(stream, &body).await?;
            Ok(Progress::Proved(sent))
        }
        (Progress::Proved(sent), Authentication::SaslFinal(data)) => {
            sent.server_final(data)?;
            Ok(Progress::Verified)
        }
        (_, Authentication::Other(code)) => Err(AuthFailure::Method(code).into()),
        _ => Err(DialError::Protocol),
    }
}

async fn send(stream: &mut Stream, body: &[u8]) -> Result<(), DialError> {
    let mut message = Zeroizing::new(Vec::with_capacity(body.len().saturating_add(5)));
    frontend::password(body, &mut message);
    stream.write_all(&message).await?;
    stream.flush().await?;
    Ok(())
}
