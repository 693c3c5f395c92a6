//! HTTP for load balancers and orchestrators that ask whether the proxy is well. One question a connection.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Longest request that is read, in bytes: a line and the headers of a probe.
const REQUEST_MAX: usize = 8 * 1024;

/// How long a question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether new clients should come here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Readiness {
    /// Not yet: nothing is known of the nodes.
    #[default]
    Starting,
    /// Yes.
    Ready,
    /// Not any more: it is about to stop, or another process has taken over.
    Draining,
}

/// Answers one request: `/livez` (the process runs), `/startupz` (it has started), `/readyz` (new clients should come
/// here), with 200 or 503 and a word.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub async fn answer_health(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), readiness: Readiness) {
    // who does not ask in time, or has gone, needs no answer
    let _ = timeout(PATIENCE, async {
        let mut request = Vec::new();
        while !request.windows(4).any(|window| window == b"\r\n\r\n") && request.len() < REQUEST_MAX {
            if stream.read_buf(&mut request).await? == 0 {
                break;
            }
        }
        stream.write_all(response(&request, readiness).as_bytes()).await?;
        stream.shutdown().await
    })
    .await;
}

fn response(request: &[u8], readiness: Readiness) -> String {
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, word) = match (path, readiness) {
        _ if method != b"GET" && method != b"HEAD" => ("405 Method Not Allowed", "only GET and HEAD"),
        (b"/livez", _) => ("200 OK", "alive"),
        (b"/startupz", Readiness::Ready | Readiness::Draining) => ("200 OK", "started"),
        (b"/readyz", Readiness::Ready) => ("200 OK", "ready"),
        (b"/startupz" | b"/readyz", Readiness::Starting) => ("503 Service Unavailable", "starting"),
        (b"/readyz", Readiness::Draining) => ("503 Service Unavailable", "draining"),
        _ => ("404 Not Found", "there are /livez, /readyz and /startupz"),
    };
    let (length, body) =
        (word.len() + 1, if method == b"HEAD" { String::new() } else { format!("{word}\n") });
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(request: &str, readiness: Readiness, status: &str, word: &str) {
        let text = response(request.as_bytes(), readiness);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {text}");
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        assert_eq!(body.trim_end(), word, "{request}");
    }

    #[test]
    fn each_question_has_its_answer() {
        use Readiness::{Draining, Ready, Starting};
        check("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n", Ready, "200", "ready");
        check("GET /readyz?verbose HTTP/1.0\r\n\r\n", Starting, "503", "starting");
        check("GET /readyz HTTP/1.1\r\n\r\n", Draining, "503", "draining");
        check("GET /startupz HTTP/1.1\r\n\r\n", Starting, "503", "starting");
        check("GET /startupz HTTP/1.1\r\n\r\n", Draining, "200", "started");
        check("GET /livez HTTP/1.1\r\n\r\n", Starting, "200", "alive");
        check("HEAD /readyz HTTP/1.1\r\n\r\n", Ready, "200", "");
        check("POST /readyz HTTP/1.1\r\n\r\n", Ready, "405", "only GET and HEAD");
        check("GET / HTTP/1.1\r\n\r\n", Ready, "404", "there are /livez, /readyz and /startupz");
        check("", Ready, "405", "only GET and HEAD");
        check("\0\r\n\r\n", Ready, "405", "only GET and HEAD");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (_far, mut near) = tokio::io::duplex(64);
        answer_health(&mut near, Readiness::Ready).await;
    }

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off() {
        let (mut far, mut near) = tokio::io::duplex(64);
        let asking = async move {
            let mut text = String::new();
            let endless = "GET /livez HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(2 * REQUEST_MAX);
            let _ = far.write_all(endless.as_bytes()).await;
            let _ = far.read_to_string(&mut text).await;
            text
        };
        let answering = async move { answer_health(&mut near, Readiness::Ready).await };
        let (text, ()) = tokio::join!(asking, answering);
        assert!(text.starts_with("HTTP/1.1 200") || text.is_empty(), "{text}");
    }
}
