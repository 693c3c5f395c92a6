//! One of many clients: whatever it asks for, the answer holds a tag that nobody else asked for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use testkit::{Batch, Client, ConnectionParameters, Message};
use wire::message::backend::TxStatus;

use super::dice::Dice;

/// What all clients did together.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) requests: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) copied: AtomicU64,
    pub(crate) wrong: AtomicU64,
    pub(crate) deaths: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) waited_too_long: AtomicU64,
}

impl Figures {
    pub(crate) fn report(&self) -> String {
        let load = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        format!(
            "{} requests, {} rows verified, {} wrong; {} rows copied in; {} clients died, {} statements cancelled, \
             {} timed out, {} waited too long",
            load(&self.requests),
            load(&self.rows),
            load(&self.wrong),
            load(&self.copied),
            load(&self.deaths),
            load(&self.cancelled),
            load(&self.timed_out),
            load(&self.waited_too_long),
        )
    }
}

/// What a request has to be answered with.
struct Request {
    batch: Batch,
    /// How often the server becomes ready.
    times: usize,
    /// What every row, or line of a COPY, begins with.
    tag: String,
    /// How many rows there are if nothing goes wrong.
    rows: usize,
    /// How long to wait with a cancel, in milliseconds.
    cancel_after: Option<u64>,
}

/// One client.
pub(crate) struct Actor {
    id: u64,
    dice: Dice,
    parameters: ConnectionParameters,
    figures: Arc<Figures>,
    over: Arc<AtomicBool>,
    sequence: u64,
}

impl Actor {
    pub(crate) fn new(
        id: u64,
        seed: u64,
        parameters: ConnectionParameters,
        figures: Arc<Figures>,
        over: Arc<AtomicBool>,
    ) -> Self {
        Self { id, dice: Dice::new(seed, id + 1), parameters, figures, over, sequence: 0 }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Connects, asks, dies, and connects again until it is told that it is over.
    pub(crate) async fn play(mut self) {
        while !self.is_over() {
            let mut client =
                self.parameters.connect().await.unwrap_or_else(|error| panic!("c{}: {error}", self.id));
            let name = format!("c{}", self.id);
            let prepare = Batch::new()
                .parse(
                    "s",
                    &format!("select '{name}-' || $1::text || ': ' || g from generate_series(1, $2::int) g"),
                )
                .parse(
                    "t",
                    "select 'c' || client || '-' || $2::text || ': ' || n from tagged where client = $1::int",
                )
                .sync();
            let answers = client.run(&prepare).await;
            self.check_errors(&answers);
            if !self.live(&mut client).await {
                client.terminate().await;
                continue;
            }
            self.die(client).await;
        }
    }

    /// Sends requests until it is over (then false) or the client shall die.
    async fn live(&mut self, client: &mut Client) -> bool {
        while !self.is_over() {
            if self.dice.once_in(40) {
                return true;
            }
            let request = self.request();
            self.figures.requests.fetch_add(1, Ordering::Relaxed);
            client.send(request.batch.bytes()).await.expect("the proxy is there");
            if let Some(milliseconds) = request.cancel_after {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                client.cancel().await.expect("the proxy is there");
            }
            self.verify(client, &request).await;
        }
        false
    }

    /// Sends a part of a request and vanishes, or leaves before the answer.
    async fn die(&mut self, mut client: Client) {
        let request = self.request();
        let bytes = request.batch.bytes();
        let cut = self.dice.below(bytes.len() as u64 + 1);
        let cut = usize::try_from(cut).expect("it is below a length");
        client.send(&bytes[..cut]).await.expect("the proxy is there");
        if self.dice.once_in(2) {
            tokio::time::sleep(Duration::from_millis(self.dice.below(10))).await;
        }
        self.figures.deaths.fetch_add(1, Ordering::Relaxed);
        if self.dice.once_in(3) { drop(client) } else { client.reset() }
    }

    fn request(&mut self) -> Request {
        self.sequence += 1;
        let tag = format!("c{}-{}", self.id, self.sequence);
        let rows = if self.dice.once_in(10) { 500 } else { 1 + self.dice.below(20) };
        let count = usize::try_from(rows).expect("it is small");
        let plain = |batch: Batch, rows: usize, times: usize| Request {
            batch,
            times,
            tag: tag.clone(),
            rows,
            cancel_after: None,
        };
        let series = format!("select '{tag}: ' || g from generate_series(1, {rows}) g");
        let bound =
            |batch: Batch| batch.bind("", "s", &[Some(&self.sequence.to_string()), Some(&rows.to_string())]);
        match self.dice.below(12) {
            0 => plain(Batch::new().query(&series), count, 1),
            1 => plain(bound(Batch::new()).execute("", 0).sync(), count, 1),
            2 => {
                let values = [Some(self.id.to_string()), Some(self.sequence.to_string())];
                let values = values.each_ref().map(Option::as_deref);
                plain(Batch::new().bind("", "t", &values).execute("", 0).sync(), 20, 1)
            }
            3 => plain(bound(bound(Batch::new()).execute("", 0)).execute("", 0).sync(), 2 * count, 1),
            4 => {
                let pipeline = bound(Batch::new()).execute("", 0).sync().query(&series);
                plain(bound(pipeline).execute("", 0).sync(), 3 * count, 3)
            }
            5 => {
                let batch =
                    Batch::new().parse("", &series).bind("", "", &[]).describe_portal("").execute("", 0);
                plain(batch.sync(), count, 1)
            }
            6 => plain(Batch::new().query(&format!("copy ({series}) to stdout")), count, 1),
            7 => self.copy_in(&tag, count),
            8 => {
                let batch =
                    Batch::new().query("begin").query(&series).query("insert into sink values (-1, 'c-1-x')");
                plain(batch.query("rollback"), count, 4)
            }
            9 => {
                let text = format!("select '{tag}: ' || pg_sleep(0.2)");
                let cancel_after = Some(self.dice.below(20));
                Request { batch: Batch::new().query(&text), times: 1, tag, rows: 1, cancel_after }
            }
            10 => {
                let text = format!(
                    "begin; set local statement_timeout = {}; select '{tag}: ' || g || pg_sleep(0.002) \
                     from generate_series(1, 5) g",
                    1 + self.dice.below(12)
                );
                plain(Batch::new().query(&text).query("rollback"), 5, 2)
            }
            _ => {
                // An error in the middle of rows, and a pipeline that goes on after it.
                let failing = format!("select '{tag}: ' || 1 / (5 - g) from generate_series(1, 9) g");
                let batch = Batch::new().parse("", &failing).bind("", "", &[]).execute("", 0).sync();
                plain(bound(batch).execute("", 0).sync(), 4 + count, 2)
            }
        }
    }

    fn copy_in(&self, tag: &str, rows: usize) -> Request {
        let mut batch = Batch::new().query("copy sink from stdin");
        for n in 0..rows {
            batch = batch.message(b'd', format!("{}\t{tag}: {n}\n", self.id).as_bytes());
        }
        self.figures.copied.fetch_add(rows as u64, Ordering::Relaxed);
        Request {
            batch: batch.message(b'c', b""),
            times: 1,
            tag: tag.to_owned(),
            rows: 0,
            cancel_after: None,
        }
    }

    /// Reads all answers to a request and looks at every row.
    async fn verify(&self, client: &mut Client, request: &Request) {
        let mut seen = 0;
        let mut failed = false;
        let mut status = None;
        for _ in 0..request.times {
            let answers = client.until_ready().await;
            failed |= self.check_errors(&answers);
            for message in &answers {
                let content = match message.tag {
                    b'D' => message.row()[0].clone().unwrap_or_default(),
                    b'd' => String::from_utf8_lossy(&message.body).into_owned(),
                    _ => continue,
                };
                seen += 1;
                self.figures.rows.fetch_add(1, Ordering::Relaxed);
                if !content.starts_with(&format!("{}: ", request.tag)) {
                    self.figures.wrong.fetch_add(1, Ordering::Relaxed);
                    panic!("c{} asked for {} and got {content:?}", self.id, request.tag);
                }
            }
            let last = answers.last().unwrap_or_else(|| panic!("c{}: the connection ended", self.id));
            assert_eq!(last.tag, b'Z', "c{}: the connection ended after {answers:?}", self.id);
            status = Some(last.status());
        }
        assert!(failed || seen == request.rows, "{}: {seen} rows instead of {}", request.tag, request.rows);
        if status != Some(TxStatus::Idle) {
            // What was skipped is over now; only a transaction that timed out before its ROLLBACK is left.
            let answers = client.query("rollback").await;
            assert_eq!(Client::status(&answers), TxStatus::Idle);
        }
    }

    /// Counts the errors that were asked for; others are none of this client's making.
    fn check_errors(&self, answers: &[Message]) -> bool {
        let mut failed = false;
        for error in answers.iter().filter(|message| message.tag == b'E') {
            failed = true;
            let counter = match error.sqlstate().as_deref() {
                Some("57014") if error.complaint().contains("statement timeout") => &self.figures.timed_out,
                Some("57014") => &self.figures.cancelled,
                Some("53300") => &self.figures.waited_too_long,
                Some("22012") | Some("25P02") => continue,
                // After a batch that came to nothing because nobody was free.
                Some("26000") if self.figures.waited_too_long.load(Ordering::Relaxed) > 0 => continue,
                other => panic!("c{}: {other:?} in {answers:?}", self.id),
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        failed
    }
}
