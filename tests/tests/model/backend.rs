use std::collections::HashMap;

use wire::message::backend::TxStatus;

/// What a server says, as far as it matters whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// A message without content, by its type.
    Bare(u8),
    Row(String),
    Complete(String),
    Error(&'static str),
    Ready(TxStatus),
}

/// What happens in the middle of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It goes on until it is cancelled.
    Hangs,
    /// The server ends before it answers.
    Dies,
    /// The server ends in the middle of a row.
    Breaks,
}

/// What a message from a client comes to.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) replies: Vec<Reply>,
    /// Happens behind the replies, because of the statement with this tag.
    pub(super) fault: Option<(Fault, String)>,
    /// What comes behind the fault if it does not happen.
    pub(super) rest: Vec<Reply>,
}

/// A PostgreSQL backend as far as the flow of messages goes. It plays the server, and on the client's side it says what
/// a server of that client's own would have answered: the reference that the proxy is measured against.
#[derive(Debug)]
pub(super) struct Backend {
    statements: HashMap<Vec<u8>, String>,
    portals: HashMap<Vec<u8>, Portal>,
    status: TxStatus,
    skipping: bool,
    copying: bool,
}

#[derive(Debug, Clone)]
struct Portal {
    text: String,
    is_done: bool,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            statements: HashMap::new(),
            portals: HashMap::new(),
            status: TxStatus::Idle,
            skipping: false,
            copying: false,
        }
    }
}

/// The strings that a body begins with.
fn strings<const N: usize>(body: &[u8]) -> [Vec<u8>; N] {
    let mut parts = body.split(|&byte| byte == 0).map(<[u8]>::to_vec);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the test's texts are UTF-8")
}

impl Backend {
    /// Takes one message.
    pub(super) fn take(&mut self, tag: u8, body: &[u8]) -> Step {
        let mut step = Step::default();
        if self.skipping && tag != b'S' {
            return step;
        }
        match tag {
            b'd' | b'c' | b'f' => self.take_copy(tag, &mut step),
            b'Q' => {
                let [sql] = strings(body);
                self.statements.remove(&b""[..]);
                self.portals.clear();
                self.query(text(sql), &mut step);
            }
            b'S' => {
                self.skipping = false;
                if self.status == TxStatus::Idle {
                    self.portals.clear();
                }
                step.replies.push(Reply::Ready(self.status));
            }
            b'H' => {}
            _ => {
                let failed = self.extended(tag, body, &mut step).err();
                if let Some(code) = failed {
                    self.fail(code, &mut step);
                    self.skipping = true;
                }
            }
        }
        step
    }

    /// What it says when the statement that hangs was cancelled. `simple`: it came as a Query.
    pub(super) fn cancelled(&mut self, simple: bool) -> Vec<Reply> {
        let mut step = Step::default();
        self.fail("57014", &mut step);
        if simple {
            step.replies.push(Reply::Ready(self.status));
        } else {
            self.skipping = true;
        }
        step.replies
    }

    fn fail(&mut self, code: &'static str, step: &mut Step) {
        step.replies.push(Reply::Error(code));
        self.portals.clear();
        if self.status == TxStatus::InTransaction {
            self.status = TxStatus::Failed;
        }
    }

    fn query(&mut self, sql: String, step: &mut Step) {
        if sql == "copy t from stdin" && self.status != TxStatus::Failed {
            self.copying = true;
            step.replies.push(Reply::Bare(b'G'));
            return;
        }
        let outcome = match sql.as_str() {
            "" => {
                step.replies.push(Reply::Bare(b'I'));
                Ok(())
            }
            sql => Self::parse(sql).and_then(|()| self.run(sql, true, step)),
        };
        if let Err(code) = outcome {
            self.fail(code, step);
        }
        let behind = if step.fault.is_some() { &mut step.rest } else { &mut step.replies };
        behind.push(Reply::Ready(self.status));
    }

    fn take_copy(&mut self, tag: u8, step: &mut Step) {
        if !self.copying || tag == b'd' {
            return;
        }
        self.copying = false;
        if tag == b'c' {
            step.replies.push(Reply::Complete("COPY 1".to_owned()));
        } else {
            self.fail("57014", step);
        }
        step.replies.push(Reply::Ready(self.status));
    }

    fn extended(&mut self, tag: u8, body: &[u8], step: &mut Step) -> Result<(), &'static str> {
        match tag {
            b'P' => {
                let [name, sql] = strings(body);
                let sql = text(sql);
                if name.is_empty() {
                    self.statements.remove(&name); // before it looks at the text
                }
                Self::parse(&sql)?;
                self.admit(&sql)?;
                if !name.is_empty() && self.statements.contains_key(&name) {
                    return Err("42P05");
                }
                self.statements.insert(name, sql);
                step.replies.push(Reply::Bare(b'1'));
            }
            b'B' => {
                let [portal, name] = strings(body);
                let text = self.statements.get(&name).ok_or("26000")?.clone();
                self.admit(&text)?;
                self.portals.insert(portal, Portal { text, is_done: false });
                step.replies.push(Reply::Bare(b'2'));
            }
            b'D' => self.describe(body, step)?,
            b'E' => {
                let [portal] = strings(body);
                let portal = self.portals.get_mut(&portal).ok_or("34000")?;
                if portal.is_done {
                    step.replies.push(Reply::Complete("SELECT 0".to_owned()));
                    return Ok(());
                }
                portal.is_done = true;
                let text = portal.text.clone();
                self.run(&text, false, step)?;
            }
            b'C' => {
                let [name] = strings(body.get(1..).unwrap_or_default());
                if body.first() == Some(&b'P') {
                    self.portals.remove(&name);
                } else {
                    self.statements.remove(&name);
                }
                step.replies.push(Reply::Bare(b'3'));
            }
            _ => return Err("08P01"),
        }
        Ok(())
    }

    fn describe(&mut self, body: &[u8], step: &mut Step) -> Result<(), &'static str> {
        let [name] = strings(body.get(1..).unwrap_or_default());
        let text = if body.first() == Some(&b'S') {
            let text = self.statements.get(&name).ok_or("26000")?;
            self.admit(text)?;
            step.replies.push(Reply::Bare(b't'));
            text
        } else {
            &self.portals.get(&name).ok_or("34000")?.text
        };
        let has_rows = text.starts_with("select");
        step.replies.push(Reply::Bare(if has_rows { b'T' } else { b'n' }));
        Ok(())
    }

    fn parse(sql: &str) -> Result<(), &'static str> {
        if sql.starts_with("selec ") { Err("42601") } else { Ok(()) }
    }

    /// A failed transaction takes nothing but its end.
    fn admit(&self, sql: &str) -> Result<(), &'static str> {
        let ends = matches!(sql, "commit" | "rollback");
        if self.status == TxStatus::Failed && !ends { Err("25P02") } else { Ok(()) }
    }

    /// `select '<tag>' from <what>`, `insert into <what> values ('<tag>')`, and the ends of transactions.
    fn run(&mut self, sql: &str, describe: bool, step: &mut Step) -> Result<(), &'static str> {
        self.admit(sql)?;
        let complete = |text: &str| Reply::Complete(text.to_owned());
        let tag = sql.split('\'').nth(1).unwrap_or_default();
        match sql {
            "begin" => self.status = TxStatus::InTransaction,
            "commit" | "rollback" => {
                let failed = self.status == TxStatus::Failed;
                self.status = TxStatus::Idle;
                self.portals.clear();
                let word = if sql == "rollback" || failed { "ROLLBACK" } else { "COMMIT" };
                step.replies.push(complete(word));
                return Ok(());
            }
            _ => {}
        }
        if sql == "begin" {
            step.replies.push(complete("BEGIN"));
            return Ok(());
        }
        let is_select = sql.starts_with("select");
        if describe && is_select {
            step.replies.push(Reply::Bare(b'T'));
        }
        if is_select {
            step.replies.push(Reply::Row(tag.to_owned()));
        }
        let completion = complete(if is_select { "SELECT 1" } else { "INSERT 0 1" });
        for (word, fault) in [("hangs", Fault::Hangs), ("dies", Fault::Dies), ("breaks", Fault::Breaks)] {
            if sql.contains(word) {
                step.fault = Some((fault, tag.to_owned()));
                step.rest.push(completion);
                return Ok(());
            }
        }
        if sql.contains("fails") {
            return Err("22012");
        }
        step.replies.push(completion);
        Ok(())
    }
}
