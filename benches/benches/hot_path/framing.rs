//! Walking over message heads: one message is one element, so a time per element is ns per message.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use wire::{
    frame::{Direction, MESSAGE_LIMIT, Peek, peek},
    message::backend::{TxStatus, command_complete, data_row, finish, ready_for_query},
};

/// About what one read from a socket brings.
const BUFFER_LEN: usize = 64 * 1024;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("framing");
    let inputs = [("rows_of_27_bytes", small_rows()), ("mixed", mixed()), ("rows_of_1_KiB", large_rows())];
    for (name, input) in inputs {
        group.throughput(Throughput::Elements(walk(&input).0));
        group.bench_function(name, |bencher| bencher.iter(|| walk(black_box(&input))));
    }
    group.finish();
}

/// Messages and the sum of their tags, so that every head is read.
fn walk(input: &[u8]) -> (u64, u64) {
    let (mut at, mut messages, mut tags) = (0, 0, 0);
    while let Ok(Peek::Whole { header, .. }) = peek(&input[at..], Direction::Backend, MESSAGE_LIMIT) {
        at += header.total_len();
        messages += 1;
        tags += u64::from(header.tag);
    }
    (messages, tags)
}

fn small_rows() -> Vec<u8> {
    repeat(|out| data_row([Some(b"1234567".as_slice()), Some(b"12345")].into_iter(), out))
}

fn large_rows() -> Vec<u8> {
    let value = [b'x'; 1017];
    repeat(|out| data_row([Some(value.as_slice())].into_iter(), out))
}

/// The answers to prepared `pgbench -S` transactions.
fn mixed() -> Vec<u8> {
    repeat(|out| {
        finish(out, b'2', |_| {});
        finish(out, b'T', |out| out.extend_from_slice(&[0; 28]));
        data_row([Some(b"0".as_slice())].into_iter(), out);
        command_complete("SELECT 1", out);
        ready_for_query(TxStatus::Idle, out);
    })
}

fn repeat(part: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(BUFFER_LEN + 2048);
    while out.len() < BUFFER_LEN {
        part(&mut out);
    }
    out
}
