use testkit::{Batch, Client, Message};
use wire::message::backend::TxStatus;

/// All that came back for a request.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// First columns of its rows.
    pub(super) rows: Vec<String>,
    /// SQLSTATEs of its errors.
    pub(super) errors: Vec<String>,
    /// The last status; `None`: the connection has ended.
    pub(super) status: Option<TxStatus>,
}

impl Answer {
    /// Sends a request and reads until the server is ready as often as it has to be, or hangs up.
    pub(super) async fn to(client: &mut Client, batch: &Batch, times: usize) -> Self {
        // It may have hung up with a last word, which is read all the same.
        let _ = client.send(batch.bytes()).await;
        Self::read(client, times).await
    }

    /// The same for a request that was sent.
    pub(super) async fn read(client: &mut Client, times: usize) -> Self {
        let mut answer = Self::default();
        for _ in 0..times {
            let messages = client.until_ready().await;
            messages.iter().for_each(|message| answer.take(message));
            answer.status =
                messages.last().filter(|message| message.tag == b'Z').map(|message| message.status());
            if answer.status.is_none() {
                break;
            }
        }
        answer
    }

    /// This, and what came behind it.
    pub(super) fn and(mut self, rest: Self) -> Self {
        self.rows.extend(rest.rows);
        self.errors.extend(rest.errors);
        Self { status: rest.status, ..self }
    }

    fn take(&mut self, message: &Message) {
        match message.tag {
            b'D' => self.rows.push(message.row().swap_remove(0).unwrap_or_default()),
            b'E' => self.errors.push(message.sqlstate().unwrap_or_default()),
            _ => {}
        }
    }
}
