//! A server that answers without allocating: what is counted is the proxy's own.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
};

use wire::message::{
    backend::{
        Authentication, ColumnType, TxStatus, backend_key_data, bare, command_complete, data_row,
        parameter_status, ready_for_query, row_description,
    },
    startup::{Startup, body_len},
};

/// Listens on a free port and serves each connection on a thread of its own; gives the port.
pub(crate) fn start() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            // It ends with the connection, and an error means no more than that.
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// Ready-made answers.
struct Answers {
    row: Vec<u8>,
    description: Vec<u8>,
    status: TxStatus,
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    admit(&mut stream)?;
    let mut answers = Answers { row: Vec::new(), description: Vec::new(), status: TxStatus::Idle };
    row_description(&[("value", ColumnType::Text)], &mut answers.description);
    data_row([Some(&b"a value of some length"[..])].into_iter(), &mut answers.row);
    let mut input = vec![0; 256 * 1024];
    let mut out = Vec::with_capacity(1024 * 1024);
    let mut filled = 0;
    loop {
        let read = stream.read(&mut input[filled..])?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut at = 0;
        while let Some(length) = whole(&input[at..filled]) {
            answers.answer(input[at], &input[at + 5..at + length], &mut out);
            at += length;
        }
        input.copy_within(at..filled, 0);
        filled -= at;
        if at > 0 {
            stream.write_all(&out)?;
            out.clear();
        }
    }
}

/// Length of the message at the head of `input`, if it is whole.
fn whole(input: &[u8]) -> Option<usize> {
    let &[_, a, b, c, d] = input.first_chunk()?;
    let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
    (input.len() >= length).then_some(length)
}

fn admit(stream: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; body_len(length).map_err(io::Error::other)?];
        stream.read_exact(&mut body)?;
        if matches!(Startup::read(&body), Ok(Startup::Session { .. })) {
            break;
        }
        stream.write_all(b"N")?;
    }
    let mut out = Vec::new();
    Authentication::Ok.write(&mut out);
    for (name, value) in [("server_version", "16.0"), ("client_encoding", "UTF8"), ("in_hot_standby", "off")]
    {
        parameter_status(name.as_bytes(), value.as_bytes(), &mut out);
    }
    backend_key_data(1, b"fake", &mut out);
    ready_for_query(TxStatus::Idle, &mut out);
    stream.write_all(&out)
}

impl Answers {
    fn answer(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) {
        match tag {
            b'Q' => {
                match body.first() {
                    Some(b'b') => {
                        self.status = TxStatus::InTransaction;
                        command_complete("BEGIN", out);
                    }
                    Some(b'c') => {
                        self.status = TxStatus::Idle;
                        command_complete("COMMIT", out);
                    }
                    Some(b'm') => {
                        out.extend_from_slice(&self.description);
                        for _ in 0..1000 {
                            out.extend_from_slice(&self.row);
                        }
                        command_complete("SELECT 1000", out);
                    }
                    _ => {
                        out.extend_from_slice(&self.description);
                        out.extend_from_slice(&self.row);
                        command_complete("SELECT 1", out);
                    }
                }
                ready_for_query(self.status, out);
            }
            b'P' => bare(b'1', out),
            b'B' => bare(b'2', out),
            b'C' => bare(b'3', out),
            b'D' => out.extend_from_slice(&self.description),
            b'E' => {
                out.extend_from_slice(&self.row);
                command_complete("SELECT 1", out);
            }
            b'S' => ready_for_query(self.status, out),
            _ => {}
        }
    }
}
