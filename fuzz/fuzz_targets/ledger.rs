//! The ledger of replies against a server that keeps the protocol, and against one that does not.
//!
//! Input: one byte that chooses the server, then a byte for each step: what the client or the proxy asks, or how the
//! server goes on. Of an honest server every message must find its request and its owner, however requests and
//! answers interleave; a hostile one may be refused at any message, but never breaks the books.
#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::fuzz_target;
use protocol::{Ledger, Local, Origin, Owed, Owner, Unowed, Verdict};

const OWED: [Owed; 10] = [
    Owed::Parse,
    Owed::Bind,
    Owed::DescribeStatement,
    Owed::DescribePortal,
    Owed::Execute,
    Owed::Close,
    Owed::Sync,
    Owed::Query,
    Owed::FunctionCall,
    Owed::CopyEnd,
];
const LOCAL: [Local; 3] = [Local::ParseComplete, Local::CloseComplete, Local::Deallocated];

fuzz_target!(|input: &[u8]| {
    let Some((choice, steps)) = input.split_first() else { return };
    if choice & 1 == 0 {
        honest(steps);
    } else {
        hostile(steps);
    }
});

/// Any sequence of calls.
fn hostile(steps: &[u8]) {
    let mut ledger = Ledger::default();
    let mut bound = 0;
    for &step in steps {
        let low = usize::from(step & 0x1f);
        match step >> 5 {
            0 | 1 => {
                let origin = match (step >> 5, step & 0x10) {
                    (0, 0) => Origin::Client,
                    (0, _) => Origin::Commit,
                    _ => Origin::Proxy,
                };
                ledger.owe(OWED[low % OWED.len()], origin);
                bound += 1;
            }
            2 => {
                ledger.answer_locally(LOCAL[low % LOCAL.len()]);
                bound += 1;
            }
            3 => drop(ledger.take_local()),
            4 if low == 0 => {
                let ready = ledger.ready_owed();
                let abandoned = ledger.abandon();
                assert!(abandoned.ready_owed <= ready && ledger.is_settled() && ledger.ready_owed() == 0);
            }
            4 if low == 1 => {
                let (ready, len) = (ledger.ready_owed(), ledger.len());
                let owed = ledger.owed_commit();
                assert_eq!(owed.is_some(), ledger.owes_commit());
                ledger.settle_commit();
                assert!(ledger.ready_owed() <= ready && (ledger.len() < len) == owed.is_some());
            }
            _ => {
                // the letters and digits that tags are
                let tag = if step & 0x80 == 0 { b'0' + step % 16 } else { b'A' + step % 58 };
                check_asynchronous(&mut ledger, tag);
            }
        }
        assert!(ledger.len() <= bound && ledger.ready_owed() <= ledger.len());
        assert_eq!(ledger.is_empty(), ledger.len() == 0);
        assert!(!ledger.is_settled() || ledger.is_empty());
    }
}

fn check_asynchronous(ledger: &mut Ledger, tag: u8) {
    let before = (ledger.len(), ledger.ready_owed(), ledger.status());
    match ledger.receive(tag, b"I") {
        Ok(Verdict::Asynchronous) => {
            assert!(matches!(tag, b'N' | b'S' | b'A'));
            assert_eq!(before, (ledger.len(), ledger.ready_owed(), ledger.status()));
        }
        Ok(Verdict::Ready(_)) => assert_eq!(tag, b'Z'),
        Ok(Verdict::Error(_)) => assert_eq!(tag, b'E'),
        // the answer to a Sync that a failed COPY did not read is nobody's
        Ok(Verdict::Reply(Owner::Proxy)) => assert!(tag != b'E'),
        Ok(Verdict::Reply(Owner::Client)) => assert!(!matches!(tag, b'Z' | b'E')),
        Err(Unowed { tag: refused }) => assert_eq!(refused, tag),
    }
}

/// Client, proxy and an honest server, in an order that the steps choose.
fn honest(steps: &[u8]) {
    let mut scene = Scene::default();
    for &step in steps {
        match step >> 6 {
            0 => {
                let origin = if step & 0x20 == 0 { Origin::Client } else { Origin::Commit };
                scene.client_sends(OWED[usize::from(step & 0x3f) % OWED.len()], origin);
            }
            1 if step & 1 == 0 => {
                scene.client_sends([Owed::Parse, Owed::Close][usize::from(step >> 1) % 2], Origin::Proxy);
            }
            1 => scene.answer_locally(LOCAL[usize::from(step >> 1) % LOCAL.len()]),
            2 => scene.server.take_one(step & 0x3f),
            _ => scene.deliver(),
        }
        if scene.server.state == State::Gone {
            return;
        }
    }
    scene.end();
}

#[derive(Default)]
struct Scene {
    ledger: Ledger,
    server: Server,
}

impl Scene {
    fn client_sends(&mut self, owed: Owed, origin: Origin) {
        // Once it knows that COPY goes in, a client sends data and their end: who sends a Sync between the data, as no
        // driver does, may be cut off, since it depends on the moment of an error whether the server heeds it. The
        // proxy asks nothing of its own meanwhile.
        if self.ledger.is_copy_in() && (owed, origin) != (Owed::CopyEnd, Origin::Client) {
            return;
        }
        self.ledger.owe(owed, origin);
        self.server.requests.push_back((owed, origin));
    }

    fn answer_locally(&mut self, local: Local) {
        if !self.ledger.is_copy_in() {
            self.ledger.answer_locally(local);
        }
    }

    /// The next message of the server arrives.
    fn deliver(&mut self) {
        while self.ledger.take_local().is_some() {}
        let Some((tag, origin)) = self.server.answers.pop_front() else { return };
        let owner = if origin == Origin::Proxy { Owner::Proxy } else { Owner::Client };
        let expected = match tag {
            b'Z' => Verdict::Ready(owner),
            b'E' => Verdict::Error(owner),
            b'N' => Verdict::Asynchronous,
            _ => Verdict::Reply(owner),
        };
        assert_eq!(self.ledger.receive(tag, b"I"), Ok(expected), "{} {:?}", char::from(tag), self.ledger);
        assert!(self.ledger.ready_owed() <= self.ledger.len());
    }

    /// The client ends its COPY and its unit, the server answers all, and nothing is left.
    fn end(&mut self) {
        self.settle();
        if self.ledger.is_copy_in() {
            self.client_sends(Owed::CopyEnd, Origin::Client);
        }
        self.client_sends(Owed::Sync, Origin::Client);
        self.settle();
        // after a COPY that failed only one more answer shows that no other comes
        if self.server.state != State::Gone && self.ledger.is_answered() && !self.ledger.is_settled() {
            self.client_sends(Owed::Query, Origin::Proxy);
            self.settle();
        }
        while self.ledger.take_local().is_some() {}
        if self.server.state != State::Gone {
            assert!(self.ledger.is_settled() && self.ledger.ready_owed() == 0, "{:?}", self.ledger);
        }
    }

    fn settle(&mut self) {
        while self.server.state != State::Gone && !self.server.requests.is_empty() {
            self.server.take_one(0);
        }
        while !self.server.answers.is_empty() {
            self.deliver();
        }
    }
}

/// A PostgreSQL that takes one request at a time (manual, "Message Flow").
#[derive(Default)]
struct Server {
    requests: VecDeque<(Owed, Origin)>,
    answers: VecDeque<(u8, Origin)>,
    state: State,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Takes requests.
    #[default]
    Ready,
    /// Skips requests up to a Sync.
    Skipping,
    /// Reads COPY data for a simple query or an Execute.
    CopyIn { simple: bool, origin: Origin },
    /// Closed the connection: a request came where COPY data had to.
    Gone,
}

impl Server {
    /// Takes the next request; the bits of `how` choose the answer.
    fn take_one(&mut self, how: u8) {
        let fails = how & 0x30 == 0x30;
        let told =
            self.answers.is_empty() && matches!(self.requests.front(), None | Some((Owed::CopyEnd, _)));
        if let (State::CopyIn { simple, origin }, true) = (self.state, told && how & 0xf == 0xf) {
            // A row is wrong that the client sent when it knew that the COPY had begun.
            return self.copy_ends(b"E", simple, origin);
        }
        let Some((owed, origin)) = self.requests.pop_front() else { return };
        match (self.state, owed) {
            (State::Gone, _) => {}
            (State::CopyIn { .. }, Owed::Sync) => {}
            (State::CopyIn { simple, origin }, Owed::CopyEnd) => {
                self.copy_ends(if fails { b"E" } else { b"C" }, simple, origin);
            }
            (State::CopyIn { .. }, _) => self.state = State::Gone,
            (State::Skipping, Owed::Sync) => {
                self.state = State::Ready;
                self.say(b"Z", origin);
            }
            (State::Skipping, _) | (State::Ready, Owed::CopyEnd) => {}
            (State::Ready, Owed::Sync) => self.say(if fails { b"EZ" } else { b"Z" }, origin),
            (State::Ready, Owed::Query) => self.query(how, fails, origin),
            (State::Ready, Owed::FunctionCall) => self.say(if fails { b"EZ" } else { b"VZ" }, origin),
            (State::Ready, Owed::Execute) => self.execute(how, fails, origin),
            (State::Ready, _) if fails => {
                self.state = State::Skipping;
                self.say(b"E", origin);
            }
            (State::Ready, Owed::Parse) => self.say(b"N1", origin),
            (State::Ready, Owed::Bind) => self.say(b"2", origin),
            (State::Ready, Owed::DescribeStatement) => {
                self.say([&b"tT"[..], b"tn"][usize::from(how % 2)], origin)
            }
            (State::Ready, Owed::DescribePortal) => self.say([b"T", b"n"][usize::from(how % 2)], origin),
            (State::Ready, Owed::Close) => self.say(b"3", origin),
        }
    }

    fn query(&mut self, how: u8, fails: bool, origin: Origin) {
        let parts: [&[u8]; 8] = [b"C", b"TDDC", b"I", b"HdcC", b"TDCNTDC", b"T", b"G", b"CG"];
        let part = parts[usize::from(how) % parts.len()];
        self.say(part, origin);
        match part.last() {
            Some(b'G') => self.state = State::CopyIn { simple: true, origin },
            _ if fails || part == b"T" => self.say(b"EZ", origin),
            _ => self.say(b"Z", origin),
        }
    }

    fn execute(&mut self, how: u8, fails: bool, origin: Origin) {
        let parts: [&[u8]; 8] = [b"C", b"DDC", b"I", b"HddcC", b"DDs", b"NC", b"G", b"D"];
        let part = parts[usize::from(how) % parts.len()];
        match part {
            b"G" => {
                self.say(b"G", origin);
                self.state = State::CopyIn { simple: false, origin };
            }
            _ if fails || part == b"D" => {
                self.say(if part == b"DDC" { b"DE" } else { b"E" }, origin);
                self.state = State::Skipping;
            }
            _ => self.say(part, origin),
        }
    }

    fn copy_ends(&mut self, tag: &[u8], simple: bool, origin: Origin) {
        self.say(tag, origin);
        self.state = if simple || tag == b"C" { State::Ready } else { State::Skipping };
        if simple {
            self.say(b"Z", origin);
        }
    }

    fn say(&mut self, tags: &[u8], origin: Origin) {
        self.answers.extend(tags.iter().map(|tag| (*tag, origin)));
    }
}
